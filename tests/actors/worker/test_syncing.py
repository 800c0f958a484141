"""A sync in a thread of its own: mail goes on meanwhile, and nothing that it is to make durable is told before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from actors.worker import wire
from actors.worker.assembly import Ports, open_store
from actors.worker.syncing import LOOK_EVERY, Syncing
from engine.errors import StoreError
from engine.inputs import TellOut
from engine.store.memory import MemoryStore
from engine.store.protocol import Batch, LazyStore, Rows, Stand, Store
from tests.actors.operations.living import Living, config_of, living


class Gated:
    """A store of which a sync waits for a gate, and may fail."""

    def __init__(self, inner: Store) -> None:
        assert isinstance(inner, LazyStore)
        self.inner = inner
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.failures = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.inner.get(keys)

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        return self.inner.scan(start, end, limit)

    def stand(self, partition: int) -> Stand:
        return self.inner.stand(partition)

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        return self.inner.commit(batches)

    @property
    def unsynced(self) -> bool:
        return self.inner.unsynced

    def defer(self) -> None:
        self.inner.defer()

    def sync(self) -> None:
        self.waiting.set()
        assert self.gate.wait(20)
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk didn't answer")
        self.inner.sync()

    def reopen(self) -> None:
        self.inner.reopen()

    def close(self) -> None:
        self.inner.close()


def test_mail_goes_on_while_a_sync_is_waited_for(tmp_path: Path) -> None:
    """One message ends while the tick that decides another waits; of that one nobody hears anything before its sync."""

    async def story() -> None:
        made: list[Gated] = []
        async with living(
            config_of(tmp_path), Ports(open_store=_gating(made), sync_slow_s=0)
        ) as here:
            here.sink.manner = "holds the dot"
            assert await here.send(["ann"]) == ["accepted"]
            await here.until(lambda: here.sink.dots == 1)
            store = made[0]
            store.waiting.clear()
            store.gate.clear()
            bob = asyncio.ensure_future(here.send(["bob"]))
            await here.until(store.waiting.is_set)
            reader = asyncio.ensure_future(here.worker.durable())
            here.sink.manner = "good"
            here.sink.dot.set()
            await here.until(lambda: here.worker.status().in_hand == 0)
            assert here.sink.taken == ["ann@inbox.example"], "she has her mail meanwhile"
            assert not bob.done(), "he is acknowledged once it is durable"
            assert not reader.done(), "and so is what anybody reads"
            assert not here.worker.status().quiet
            store.gate.set()
            assert await bob == ["accepted"]
            assert await reader is here.worker
            await here.until(lambda: here.ends() == {"delivered": 2})
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())


def test_a_tell_that_comes_during_a_sync_waits_for_the_next(tmp_path: Path) -> None:
    """It isn't part of what is being made durable, so it is confirmed after the tick that decides it."""

    async def story() -> None:
        made: list[Gated] = []
        async with living(
            config_of(tmp_path), Ports(open_store=_gating(made), sync_slow_s=0)
        ) as here:
            here.sink.manner = "holds the dot"
            await here.send(["ann"])
            await here.until(lambda: here.sink.dots == 1)
            store = made[0]
            store.waiting.clear()
            store.gate.clear()
            bob = asyncio.ensure_future(here.send(["bob"]))
            await here.until(store.waiting.is_set)
            told = asyncio.ensure_future(here.worker.tell(wire.Tells([_tell(here, "cid")])))
            await asyncio.sleep(0)
            here.sink.manner = "good"
            here.sink.dot.set()
            store.gate.set()
            assert len((await told).confirmed) == 1
            assert await bob == ["accepted"]
            await here.until(lambda: here.ends() == {"delivered": 3})

    asyncio.run(story())


def _tell(here: Living, name: str) -> TellOut:
    """What another worker's partition would tell."""
    arrival = here.arrival(name)
    target = here.worker.host.keyspace.partition(arrival.key)
    return TellOut(4000, target, 1, arrival.key, msgspec.msgpack.encode(arrival.body))


def test_a_sync_that_fails_releases_nothing(tmp_path: Path) -> None:
    """Who waited isn't told that it is durable, and asks again; each mail arrives once."""

    async def story() -> None:
        made: list[Gated] = []
        async with living(
            config_of(tmp_path), Ports(open_store=_gating(made), sync_slow_s=0)
        ) as here:
            here.sink.manner = "holds the dot"
            await here.send(["ann"])
            await here.until(lambda: here.sink.dots == 1)
            store = made[0]
            store.waiting.clear()
            store.gate.clear()
            store.failures = 1
            bob = asyncio.ensure_future(here.send(["bob"]))
            await here.until(store.waiting.is_set)
            store.gate.set()
            with pytest.raises(StoreError, match="didn't answer"):
                await bob
            await here.until(lambda: not here.worker.status().trouble)
            here.sink.manner = "good"
            here.sink.dot.set()
            assert await here.send(["bob"]) in (["accepted"], ["duplicate"])
            await here.until(lambda: here.ends() == {"delivered": 2})
            assert sorted(here.sink.taken) == ["ann@inbox.example", "bob@inbox.example"]
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())


def test_a_worker_that_ends_lets_its_sync_end_first(tmp_path: Path) -> None:
    async def story() -> None:
        made: list[Gated] = []
        async with living(
            config_of(tmp_path), Ports(open_store=_gating(made), sync_slow_s=0)
        ) as here:
            here.sink.manner = "holds the dot"
            await here.send(["ann"])
            await here.until(lambda: here.sink.dots == 1)
            here.sink.dot.set()
            made[0].waiting.clear()
            made[0].gate.clear()
            bob = asyncio.ensure_future(here.send(["bob"]))
            await here.until(made[0].waiting.is_set)
            asyncio.get_running_loop().call_later(0.05, made[0].gate.set)
        assert await bob == ["accepted"]

    asyncio.run(story())


class Disk(MemoryStore):
    """A store whose syncs take as long as a test says, and say in which thread they were."""

    def __init__(self) -> None:
        super().__init__()
        self.unsynced = True
        self.takes_s = 0.0
        self.threads: list[bool] = []

    def defer(self) -> None:
        pass

    def sync(self) -> None:
        threading.Event().wait(self.takes_s)
        self.threads.append(threading.current_thread() is not threading.main_thread())


def test_a_thread_is_for_slow_disks() -> None:
    """A quick sync is waited for; slow ones have a thread, but for one now and then: are they still?"""

    async def story() -> None:
        disk = Disk()
        syncing = Syncing(disk)
        for _ in range(10):
            await syncing.sync(aside=True)
        assert disk.threads == [False] * 10
        disk.takes_s = 0.02
        await syncing.sync(aside=True)
        disk.threads.clear()
        for _ in range(2 * LOOK_EVERY):
            await syncing.sync(aside=True)
        assert disk.threads.count(False) == 2
        disk.takes_s = 0.0
        disk.threads.clear()
        for _ in range(20 * LOOK_EVERY):
            await syncing.sync(aside=True)
        assert disk.threads[-LOOK_EVERY:] == [False] * LOOK_EVERY, "it is quick again"
        await syncing.sync(aside=False)
        syncing.close()

    asyncio.run(story())


def test_a_store_that_syncs_by_itself_is_left_alone() -> None:
    async def story() -> None:
        syncing = Syncing(MemoryStore())
        await syncing.sync(aside=True)
        assert not syncing.under_way
        await syncing.durable()
        syncing.close()

    asyncio.run(story())


def _gating(made: list[Gated]) -> Callable[[wire.WorkerSettings], Awaitable[Store]]:
    async def opened(settings: wire.WorkerSettings) -> Store:
        made.append(Gated(await open_store(settings)))
        return made[0]

    return opened
