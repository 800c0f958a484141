"""A store that fails: nothing that a lost tick decided is told, and nothing of it is taken for doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.worker import wire
from actors.worker.assembly import Ports, machines_of, open_store
from actors.worker.injected import Blobs, InjectedRenderer
from actors.worker.queueing import Queueing
from actors.worker.worker import Worker
from deliverability.marks import Mark, Marks
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import LedgerFile
from engine.catalog import Catalog, Head
from engine.errors import InputError, StoreError
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import Keyspace, contact_key, message_key
from engine.machine import Credit
from engine.rows import HELD
from engine.store.format import store_path
from engine.store.protocol import Batch, Rows, Stand, Store
from engine.store.rocksdb import RocksStore
from engine.tick import Answer, CreditOffer, Repair, TickInputs
from engine.vocabulary import SendDirect
from tests.actors.operations.living import config_of, living, publish_hello
from tests.actors.operations.sink import Sink
from tests.deliverability.test_sweep import TENANT, Town

NOW = 1_800_000_000_000


class Frail:
    """A store whose commits, reads and reopenings fail as a test says."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.commits = 0
        self.fails_at: set[int] = set()  # numbers of commits, from 1
        self.written_all_the_same = False
        self.down = False
        self.blind = False
        self.blind_to = b""  # an index of rows
        self.blinded = False

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.inner.get(keys)

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        if self.blind or (self.blind_to and start[2:3] == self.blind_to):
            self.blinded = True
            raise StoreError("told to be blind")
        return self.inner.scan(start, end, limit)

    def stand(self, partition: int) -> Stand:
        return self.inner.stand(partition)

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        self.commits += 1
        if self.commits not in self.fails_at:
            return self.inner.commit(batches)
        if self.written_all_the_same:
            self.inner.commit(batches)
        raise StoreError("told to fail")

    def reopen(self) -> None:
        if self.down:
            raise StoreError("told to be down")
        self.inner.reopen()

    def close(self) -> None:
        self.inner.close()


def frail(made: list[Frail], first: int = 0) -> Ports:
    """Give a world with such a store; `first`: the commit that fails in each life."""

    async def opened(settings: wire.WorkerSettings) -> Store:
        made.append(Frail(await open_store(settings)))
        made[-1].fails_at.add(first)
        return made[-1]

    return Ports(open_store=opened)


def test_what_a_lost_tick_decided_is_told_to_nobody(tmp_path: Path) -> None:
    """While it isn't known what became of a commit, questions are refused, not answered from memory."""

    async def story() -> None:
        made: list[Frail] = []
        async with living(config_of(tmp_path), frail(made)) as here:
            assert await here.send(["ann"]) == ["accepted"]
            await here.until(lambda: here.ends() == {"delivered": 1})
            made[0].down = True
            made[0].fails_at.add(made[0].commits + 1)
            with pytest.raises(StoreError, match="told to fail"):
                await here.send(["bob"])
            with pytest.raises(StoreError, match="its store fails: told to fail; ask again"):
                await here.worker.durable()
            made[0].down = False
            await here.until(lambda: not here.worker.status().trouble)
            assert await here.worker.durable() is here.worker
            assert here.state("bob") == "absent"
            assert await here.send(["bob"]) == ["accepted"]
            await here.until(lambda: here.ends() == {"delivered": 2})

    asyncio.run(story())


def test_a_worker_that_ends_while_its_store_fails_leaves_no_doubt(tmp_path: Path) -> None:
    """Its ledger stays: it alone says that what the lost tick handed over was never begun."""

    async def story() -> None:
        made: list[Frail] = []
        config = config_of(tmp_path)
        async with living(config, frail(made)) as here:
            await here.send(["ann"])
            await here.until(lambda: here.ends() == {"delivered": 1})
            made[0].written_all_the_same = made[0].down = True
            made[0].fails_at.add(made[0].commits + 1)
            with pytest.raises(StoreError):
                await here.send(["bob"])  # with a credit in advance: handed over at once
        sink = Sink()
        port = await sink.start()
        worker = Worker(wire.WorkerSettings(0, 1, config.data_dir, config, twin_port=port))
        hello = await worker.start()
        try:
            assert (hello.held, hello.in_the_air, hello.never_begun) == (1, 0, 1)
        finally:
            await worker.stop()
            await sink.close()

    asyncio.run(story())


def test_a_store_that_fails_again_while_hand_overs_are_read_is_asked_until_it_answers(
    tmp_path: Path,
) -> None:
    """The worker goes on afterwards, and who asked it something meanwhile is answered."""

    async def story() -> None:
        made: list[Frail] = []
        config = config_of(tmp_path)
        async with living(config, frail(made)) as here:
            await here.send(["ann"])
            await here.until(lambda: here.ends() == {"delivered": 1})
            made[0].blind_to = HELD
            made[0].fails_at.add(made[0].commits + 1)
            with pytest.raises(StoreError):
                await here.send(["bob"])
            asked = asyncio.create_task(here.worker.repair(Repair(0, 1, "drop")))
            await here.until(lambda: made[0].blinded)
            made[0].blind_to = b""
            await here.until(lambda: not here.worker.status().trouble)
            assert "quarantine" in (await asked).told
            assert await here.send(["bob"]) == ["accepted"]
            await here.until(lambda: here.ends() == {"delivered": 2})

    asyncio.run(story())


def test_ledgers_of_holders_that_are_gone_are_asked_again_after_a_failed_commit(
    tmp_path: Path,
) -> None:
    """Else what they say was delivered would be in doubt, and sent again."""
    config = config_of(tmp_path)
    settings = wire.WorkerSettings(0, 1, config.data_dir, config)
    publish_hello(config)
    contact = contact_key("default", "ann")
    message_id = contact[:4] + bytes(12)
    store = RocksStore(store_path(tmp_path, 0, 1), 8)
    host = Host(store, machines_of(config), Keyspace(4), Catalog(Head(), {}, {}), range(4))
    body = SendDirect(message_id, "hello", {}, address="ann@inbox.example")
    host.tick(
        NOW,
        TickInputs(
            arrivals=[Arrival(contact, body, b"send")],
            credits=[CreditOffer(b"1default/inbox.example", 1, Credit(b"e0", 7, 1))],
        ),
    )
    store.close()
    ledger = LedgerFile(tmp_path / "ledgers" / "e0-7.ledger")
    ledger.begin(message_id, 1)
    ledger.conclude(message_id, 1, AttemptOutcome(1, "delivered"))
    ledger.close()

    async def story() -> str:
        made: list[Frail] = []
        worker = Worker(settings, frail(made, first=2))  # the first claims the partitions
        await worker.start()
        key = message_key("default", message_id)
        try:
            while (state := str(worker.host.entry(key)[0].status)) == "attempting":
                await asyncio.sleep(0)
            assert made[0].commits > 2
            return state
        finally:
            await worker.stop()

    assert asyncio.run(story()) == "delivered"


def test_a_sweep_goes_on_when_the_store_answers_again(tmp_path: Path) -> None:
    """A read that failed, or a tick that was lost with nothing else to do, ends it no more than it ends the worker."""

    async def story() -> None:
        town = Town()
        store = Frail(town.store)
        for number in range(5):
            town.send(0, 0, number % 2)
        town.host.store = store
        given: list[list[Answer]] = []
        queueing = Queueing(town.host, [TENANT], lambda: town.now, given.append)
        marks = Marks(1, (Mark(1, "cancel"),))
        town.shelf = type(town.shelf)(town.shelf.version + 1, marks)
        town.host.publish(town.shelf)
        store.blind = True
        queueing.look(town.shelf)
        running = asyncio.ensure_future(queueing.run())
        await asyncio.sleep(0)
        store.blind = False
        await _until(lambda: len(given) == 1)
        queueing.decide()
        queueing.again(town.shelf)  # the tick was lost
        await _until(lambda: len(given) == 2)
        queueing.decide()
        town.tick(TickInputs(answers=given[-1]))
        queueing.ticked()
        await _until(lambda: queueing.swept == {TENANT: 1})
        assert {town.state(one).status for one in town.arrived} == {"cancelled"}
        running.cancel()

    asyncio.run(story())


def test_content_that_cant_be_read_now_ends_no_message(tmp_path: Path) -> None:
    """For want of file descriptors, say: it is tried again. What is gone or isn't itself any more won't come back."""
    (reference,) = Blobs(tmp_path).segments.put([b"Subject: hello\r\n\r\nhello"])
    (segment,) = (one for one in (tmp_path / "blobs" / "segments").iterdir() if one.is_file())
    message: Any = SimpleNamespace(template=f"raw:{reference}", tenant="default", date=NOW)
    letter: Any = None

    def rendered() -> bytes:
        renderer = InjectedRenderer(Blobs(tmp_path), _nothing, _nothing)
        return renderer.render(message, letter, ()).content

    assert rendered().endswith(b"hello")
    aside = segment.rename(tmp_path / "aside")
    segment.mkdir()
    with pytest.raises(StoreError):
        rendered()
    segment.rmdir()
    with pytest.raises(InputError, match="can't be read"):
        rendered()
    segment.write_bytes(aside.read_bytes().upper())
    with pytest.raises(InputError, match="holds something else"):
        rendered()


def _nothing(*_: object) -> Any:
    raise AssertionError("nothing is compiled")


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0)
