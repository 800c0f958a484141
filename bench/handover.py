"""Case `handover`: how long intake of a partition pauses when the partition moves, under load, with real processes.

Two workers on Ray over a Redis that syncs each write. For some partitions a client each gives one input after the
other, each when the one before is acknowledged and a moment has passed, while one worker after the other is drained and
gets its share back. The *pause* of a partition that moved is its longest wait for an acknowledgement during the move:
what a client feels, the way there and back and the sync included. Beside it: waits while nothing moves.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import uvloop

from actors.backend import Arrival
from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from bench.chaos import contact_each
from bench.deployment import Sender, configure, worker_settings
from bench.frame import Measured, plain, say
from bench.mailing import Variant, publish_variants
from bench.redis_server import RedisServer
from bench.twin_process import TwinProcess
from engine.config import Config, Store
from engine.errors import CapacityError, StoreError
from engine.redis_config import Redis
from engine.store.format import settle
from engine.store.redis_format import settle_in
from engine.vocabulary import ContactPut

SENDER = Sender("default", "shop.example", "ed25519-sha256")
WORKERS = 2
PARTITIONS = 32
ASKED = 8
"""So many partitions have a client: more would be a load that makes everything wait."""
BETWEEN_S = 0.02
"""Between an acknowledgement and the next input of a partition: the pause is known to about that."""

SETTLE_S = 60.0


class Clients:
    """One client for each partition; `waits` has (when it ended, how long it took) in s."""

    def __init__(self, backend: ClusterBackend, names: list[str]) -> None:
        self._backend = backend
        self.waits: list[list[tuple[float, float]]] = [[] for _ in names]
        self._tasks = [
            asyncio.get_running_loop().create_task(self._give(number, name))
            for number, name in enumerate(names)
        ]

    async def _give(self, number: int, name: str) -> None:
        turn = 0
        while True:
            turn += 1
            began = time.perf_counter()
            await self._insist(Arrival(SENDER.tenant, name, f"n{turn}", 0, ContactPut({})))
            now = time.perf_counter()
            self.waits[number].append((now, now - began))
            await asyncio.sleep(BETWEEN_S)

    async def _insist(self, arrival: Arrival) -> None:
        while True:
            with contextlib.suppress(CapacityError, StoreError):
                await self._backend.admit([arrival])
                return
            await asyncio.sleep(0.01)

    def longest(self, number: int, begin: float, end: float) -> float:
        """Give the longest wait of a partition that overlaps a time, in s."""
        waits = self.waits[number]
        return max((took for at, took in waits if at > begin and at - took < end), default=0.0)

    def calm(self, begin: float, end: float) -> list[float]:
        """Give all waits between two times, in s."""
        return [
            took for waits in self.waits for at, took in waits if begin < at - took and at < end
        ]

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        for told in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(told, Exception):
                raise told


async def _measured(config: Config, port: int, turns: int) -> tuple[list[float], list[float]]:
    """Returns pauses of partitions that moved, and waits while nothing moved, in s."""
    settings = [msgspec.structs.replace(one, placed=True) for one in worker_settings(config, port)]
    cluster = Cluster(settings)
    await cluster.start()
    try:
        backend = ClusterBackend(config, cluster, "bench")
        clients = Clients(backend, contact_each(PARTITIONS)[:ASKED])
        await asyncio.sleep(2.0)
        began = time.perf_counter()
        await asyncio.sleep(3.0)
        calm = clients.calm(began, time.perf_counter())
        pauses: list[float] = []
        for turn in range(turns):
            name = f"w{turn % WORKERS}"
            for back in (False, True):
                pauses += await _moved(cluster, clients, name, back=back)
            say(f"  turn {turn + 1} of {turns}: {len(pauses)} partitions moved")
        await clients.stop()
    finally:
        await cluster.stop()
    return pauses, calm


async def _moved(cluster: Cluster, clients: Clients, name: str, *, back: bool) -> list[float]:
    """Drain a worker, or let it have its share again; wait until that is done. Returns the pauses."""
    before = await _owners(cluster)
    began = time.perf_counter()
    await cluster.drain(name, back=back)
    if back:
        await cluster.rebalance()
    deadline = began + SETTLE_S
    while True:
        view = await cluster.placement()
        assert view is not None, "partitions move here"
        if not view.in_motion and view.table.owners != before:
            break
        if time.perf_counter() > deadline:
            raise StoreError(f"partitions {view.in_motion} didn't come to their owners")
        await asyncio.sleep(0.02)
    await asyncio.sleep(1.0)  # the last ones are given again
    end = time.perf_counter()
    moved = [
        n for n, (old, new) in enumerate(zip(before, view.table.owners, strict=True)) if old != new
    ]
    return [clients.longest(number, began, end) for number in moved if number < ASKED]


async def _owners(cluster: Cluster) -> list[str]:
    view = await cluster.placement()
    assert view is not None, "partitions move here"
    return view.table.owners


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    del seed  # nothing is drawn
    folder = Path(tempfile.mkdtemp(prefix="veredus-handover-"))
    server = RedisServer(folder / "redis")
    try:
        server.start()
        config = _configured(folder, server)
        # standard output is for results; Ray says there what becomes of workers
        with TwinProcess(folder / "twin") as twin, contextlib.redirect_stdout(sys.stderr):
            pauses, calm = uvloop.run(_measured(config, twin.port, 2 if quick else 8))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return _figures(pauses, calm)


def _figures(pauses: list[float], calm: list[float]) -> Measured:
    told: dict[str, Any] = {"partitions": PARTITIONS, "workers": WORKERS, "moves": len(pauses)}
    cut = quantiles(pauses, n=20, method="inclusive")[-1]
    return Measured(
        [
            plain("pause_p50", "ms", [1000 * quantiles(pauses, n=2, method="inclusive")[0]]),
            plain("pause_p95", "ms", [1000 * cut]),
            plain("pause_max", "ms", [1000 * max(pauses)]),
            plain("calm_p50", "ms", [1000 * quantiles(calm, n=2, method="inclusive")[0]]),
            plain("calm_p95", "ms", [1000 * quantiles(calm, n=20, method="inclusive")[-1]]),
        ],
        told | {"between_ms": 1000 * BETWEEN_S},
    )


def _configured(folder: Path, server: RedisServer) -> Config:
    made = configure(folder, [SENDER], WORKERS)
    redis = Redis(addresses=(server.address,), timeout_ms=3000)
    store = Store(kind="redis", partitions=PARTITIONS, free_mb_min=0, redis=redis)
    config = msgspec.structs.replace(made, store=store)
    settle(Path(config.data_dir), PARTITIONS, WORKERS, kind="redis")
    settle_in(store.redis, PARTITIONS)
    publish_variants(config, {SENDER: [Variant("small", 10)]})
    return config
