"""Slow and strange surroundings over real sockets: bounded memory, no lost order, and it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.worker import wire
from actors.worker.assembly import Ports, open_store
from engine.store.protocol import Batch, Rows, Stand, Store
from tests.actors.operations.living import config_of, living

HOUR = 3_600_000


def names(count: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def test_a_peer_that_stops_reading_holds_up_nothing_else(tmp_path: Path) -> None:
    """Intake goes on, hands stay within their bound, and all mail arrives once, when it reads again."""

    async def story() -> None:
        config = config_of(tmp_path, timeouts={"mail_s": 1, "greeting_s": 1})
        async with living(config) as here:
            here.sink.manner = "stops reading"
            assert await here.send(names(300)) == ["accepted"] * 300
            await here.until(lambda: here.sink.connections > 0)
            bound = 2 * 64 + 4 * 20  # credits of a lane, and what connections may carry
            assert here.worker.status().in_hand <= bound
            assert await here.send(names(50, "q")) == ["accepted"] * 50
            await here.until(lambda: any(one.kind == "deferred" for one in here.outcomes()))
            status = here.worker.status()
            assert status.in_hand <= bound
            deferred = [one for one in here.outcomes() if one.kind == "deferred"]
            assert {one.cause for one in deferred} == {"connection"}
            here.sink.manner = "good"
            await here.until(lambda: here.ends() == {"delivered": 350})
            assert sorted(here.sink.taken) == sorted(
                f"{name}@inbox.example" for name in names(300) + names(50, "q")
            )

    asyncio.run(story())


def test_a_held_dot_is_doubt_and_is_told_as_that(tmp_path: Path) -> None:
    """What reached the dot may have arrived: it is in doubt, counted, and sent again at that price alone."""

    async def story() -> None:
        config = config_of(tmp_path, timeouts={"dot_s": 1})
        async with living(config) as here:
            here.sink.manner = "holds the dot"
            await here.send(names(5))
            await here.until(lambda: any(one.kind == "in_doubt" for one in here.outcomes()))
            begun = here.sink.dots
            here.sink.manner = "good"
            await here.until(lambda: here.ends() == {"delivered": 5})
            doubts = [one for one in here.outcomes() if one.kind == "in_doubt"]
            assert 1 <= len(doubts) <= begun
            assert len(here.sink.taken) == 5
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())


class Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_jumps_never_takes_time_back(tmp_path: Path, jump: int) -> None:
    """The time in use goes on or stands still; what waits for an hour is due when the clock says so."""

    async def story() -> None:
        clock = Clock()
        async with living(config_of(tmp_path), Ports(wall_ms=clock)) as here:
            before = here.worker.now()
            await here.send(["now"])
            await here.send(["later"], due=before + HOUR // 2)
            clock.ahead_ms = jump
            await here.until(lambda: here.state("now") == "delivered")
            assert before <= here.worker.now()
            status = here.worker.status()
            if jump < 0:
                assert HOUR - 60_000 < status.clock_behind_ms <= HOUR
                assert here.state("later") == "scheduled"
                clock.ahead_ms = 0
                await here.send(["again"])
                await here.until(lambda: here.state("again") == "delivered")
                assert here.worker.status().clock_behind_ms == 0
            else:
                await here.until(lambda: here.state("later") == "delivered")
                clock.ahead_ms = 0
                assert here.worker.now() >= before + HOUR
                await here.send(["again"])
                await here.until(lambda: here.state("again") == "delivered")
            times = [one.at for one in here.outcomes()]
            assert times == sorted(times)

    asyncio.run(story())


def test_time_doesnt_go_back_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        clock.ahead_ms = HOUR
        async with living(config_of(tmp_path), Ports(wall_ms=clock)) as here:
            await here.send(["ann"])
            latest = here.worker.now()
        clock.ahead_ms = 0
        async with living(config_of(tmp_path), Ports(wall_ms=clock)) as here:
            assert here.worker.now() >= latest - 1000
            assert here.worker.status().clock_behind_ms > HOUR - 60_000

    asyncio.run(story())


class SlowSync:
    """A store whose syncs take a second; it counts them."""

    def __init__(self, inner: Store, sync_s: float) -> None:
        self.inner = inner
        self.sync_s = sync_s
        self.syncs = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.inner.get(keys)

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        return self.inner.scan(start, end, limit)

    def stand(self, partition: int) -> Stand:
        return self.inner.stand(partition)

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        self.syncs += 1
        time.sleep(self.sync_s)  # as a disk does: the whole process waits
        return self.inner.commit(batches)

    def reopen(self) -> None:
        self.inner.reopen()

    def close(self) -> None:
        self.inner.close()


def test_a_store_whose_sync_takes_a_second_makes_larger_batches_not_longer_queues(
    tmp_path: Path,
) -> None:
    """Inputs that come meanwhile share the next sync; intake beyond its bound is refused."""

    async def story() -> None:
        made: list[SlowSync] = []

        async def slow(settings: wire.WorkerSettings) -> Store:
            made.append(SlowSync(await open_store(settings), 0.0))
            return made[0]

        async with living(config_of(tmp_path), Ports(open_store=slow)) as here:
            store = made[0]
            store.sync_s = 1.0
            before = store.syncs
            asked = [asyncio.ensure_future(here.send([name])) for name in names(500)]
            answers = await asyncio.gather(*asked)
            assert answers == [["accepted"]] * 500
            assert store.syncs - before <= 3
            store.sync_s = 0.0
            await here.until(lambda: here.ends() == {"delivered": 500})
            assert len(set(here.sink.taken)) == len(here.sink.taken) == 500
            too_many = here.worker._settings.config.workers.intake_pending_max + 1
            assert (await here.send(names(too_many, "x")))[0].startswith("refused")

    asyncio.run(story())
