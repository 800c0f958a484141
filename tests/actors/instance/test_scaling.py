"""The number of workers: what is seen of them becomes a number, and what isn't seen becomes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec

from actors.cluster.placing import PlacementView
from actors.cluster.views import Use
from actors.instance.scaling import Scaling, loads_of
from actors.worker.wire import LaneStatus, WorkerStatus
from engine.config import Config, Store, Workers
from engine.placement.steward import Table
from engine.settings_cluster import Scaling as Settings

ROUTE = "default/inbox.example"
SETTINGS = Settings(workers_max=4, patience_s=2.0, pause_s=0.1, quiet_s=5.0)


class FakeCluster:
    """Workers by number, who come and go at once."""

    def __init__(self, workers: int) -> None:
        self.workers: list[Any] = [type("Handle", (), {"index": n}) for n in range(workers)]
        self.feeds = workers

    async def grow(self, number: int, timeout_s: float) -> list[int]:
        """Add workers."""
        fresh = range(len(self.workers), len(self.workers) + number)
        self.workers += [type("Handle", (), {"index": n}) for n in fresh]
        return list(fresh)

    async def retire(self, index: int, timeout_s: float) -> bool:
        """Let one go."""
        self.workers = [one for one in self.workers if one.index != index]
        return True


class World:
    """A clock, a cluster and who scales it."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.now = 1000
        self.cluster = FakeCluster(workers)
        config = Config(
            data_dir=str(folder),
            store=Store(kind="redis"),
            workers=Workers(connections_max=20),
            scaling=SETTINGS,
        )
        self.config = config
        self.scaling = Scaling(config, cast("Any", self.cluster), lambda: self.now)

    async def look(self, statuses: list[WorkerStatus], uses: list[Use] | None = None) -> None:
        """Look a second later, and let what follows happen."""
        self.now += 1000
        view = PlacementView(Table(1, []), [], [])
        self.scaling.see(statuses, view, uses or [])
        for _ in range(20):
            await asyncio.sleep(0)

    def status(self, index: int, *, late_ms: int = 0, full: bool = False, done: int = 0) -> Any:
        """Make what a worker says."""
        lanes = [LaneStatus(1, ROUTE, self.now - late_ms)] if late_ms else []
        return WorkerStatus(
            index=index,
            incarnation=1,
            pid=1,
            role="fused",
            partitions=8,
            now=self.now,
            next_due=None,
            quiet=False,
            waiting=0,
            in_hand=0,
            lanes=lanes,
            law={"default\0x": {"accepted": 2 * done, "queued": done}},
            connections={ROUTE: 20 if full else 1},
            connections_full=[ROUTE] if full else [],
        )


def test_a_worker_that_doesnt_answer_sends_nobody_away(tmp_path: Path) -> None:
    """It begins, moves or restarts: the others alone would look like a cluster of fewer."""

    async def story() -> None:
        world = World(tmp_path, 4)
        for _ in range(20):
            await world.look([world.status(0, late_ms=900, full=True)])
        assert len(world.cluster.workers) == 4
        for _ in range(3):
            await world.look([world.status(n) for n in range(4)])
        assert len(world.cluster.workers) == 4, "not quiet for long enough yet"
        for _ in range(4):
            await world.look([world.status(n) for n in range(4)])
        assert len(world.cluster.workers) == 3

    asyncio.run(story())


def test_full_and_late_workers_get_as_many_as_the_load_asks_for(tmp_path: Path) -> None:
    """Twice as much comes as is got done; what the first complete look shows isn't taken for inflow."""

    async def story() -> None:
        world = World(tmp_path, 1)
        await world.look([])
        for n in range(1, 5):
            await world.look([world.status(0, late_ms=900, full=True, done=1000 + 100 * n)])
        assert len(world.cluster.workers) == 2
        assert world.scaling.wanted == 2

    asyncio.run(story())


def test_what_a_limit_holds_up_isnt_late(tmp_path: Path) -> None:
    """All of the limit is promised, so another worker would get none of it."""
    world = World(tmp_path, 1)
    before = [world.status(0, done=10)]
    seen = [world.status(0, late_ms=60_000, full=True, done=20)]
    free = Use(ROUTE, 10, 20, 0, None)
    taken = msgspec.structs.replace(free, connections=20)
    (late,) = loads_of(seen, before, 1000, [free], world.config)
    (held,) = loads_of(seen, before, 1000, [taken], world.config)
    assert (late.urgent_late_ms, late.connections) == (60_000, 1.0)
    assert held.urgent_late_ms == 0
    assert held.connections < 1.0
