"""Part of case `wake`: a million journeys due within the same second, while intake goes on at a steady rate.

The store is filled as `contacts` does it, all timers in one second of the worker's clock. The worker meets that second
while requests come on a schedule, whether or not earlier ones were acknowledged; how long each took is measured before
it, and from then until the last of the journeys has gone on.
"""

from __future__ import annotations

__all__ = ("mass_wake_results",)

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Final

import msgspec
import uvloop

from actors.worker.assembly import Ports, catalog_compilers
from actors.worker.collector import tune_collector
from actors.worker.wire import WorkerSettings
from actors.worker.worker import Worker
from bench.contacts_people import BASE_MS, SCENARIO, SCENARIO_NAME, TENANT, Events, fill
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.events import Door
from bench.frame import Result, plain, say
from bench.scenarios import LatenessHost
from engine.catalog import Catalog
from engine.entities import Machines
from engine.keyspace import Keyspace
from engine.store.catalog_files import CatalogFiles
from engine.store.format import store_path
from engine.store.rocksdb import RocksStore
from scenarios.contact import ContactMachine

REQUEST_EVENTS: Final = 10
LEAD_S: Final = 8.0
"""How long intake alone is measured before the second comes."""
DRAIN_S_MAX: Final = 400.0


class Size(msgspec.Struct, frozen=True):
    """How many journeys are due, and how many events a second come meanwhile."""

    journeys: int
    events_s: int


def mass_wake_results(*, quick: bool, seed: int) -> list[Result]:
    """Measure; takes some minutes, quick half a minute."""
    size = Size(60_000, 1_000) if quick else Size(1_000_000, 1_000)
    with tempfile.TemporaryDirectory(prefix="veredus-bench-wake-") as folder:
        settings = _filled(Path(folder), size)
        tune_collector()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measured(settings, size, seed))


def _filled(folder: Path, size: Size) -> WorkerSettings:
    """Make a deployment whose journeys are all due in the second from `LEAD_S` after `BASE_MS` on."""
    config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
    publish_all(config, {TENANT: {"quiet.yaml": SCENARIO}}, {})
    catalogs = CatalogFiles(Path(config.data_dir) / "catalog")
    catalog = Catalog(catalogs.head(), catalogs.load(catalogs.head()), catalog_compilers({}))
    version = catalog.find("scenario", TENANT, SCENARIO_NAME).version
    store = RocksStore(store_path(Path(config.data_dir), 0, 1), config.store.cache_mb)
    try:
        machines, keyspace = Machines((ContactMachine(),)), Keyspace(config.store.partitions)
        due_at = BASE_MS + int(LEAD_S * 1000)
        fill(store, machines, keyspace, version, 0, size.journeys, due_at)
    finally:
        store.close()
    say(f"  {size.journeys:,} journeys are due within the same second")
    return worker_settings(config)[0]


async def _measured(settings: WorkerSettings, size: Size, seed: int) -> list[Result]:
    began = time.monotonic()

    def wall_ms() -> int:
        return BASE_MS + int((time.monotonic() - began) * 1000)

    worker = Worker(settings, Ports(wall_ms=wall_ms))
    await worker.start()
    seen = LatenessHost(worker.host, wall_ms)
    events = Events(size.journeys, seed)
    due_s = began + LEAD_S
    alone = await _intake(worker, events, size, wall_ms, lambda: time.monotonic() < due_s)
    cpu = time.process_time()

    over_ms = (
        BASE_MS + int(LEAD_S * 1000) + 1000
    )  # what is due later is of those who ordered meanwhile

    def goes_on() -> bool:
        first = worker.host.next_due()
        waits = time.monotonic() < due_s + 1 or (first is not None and first < over_ms)
        return waits and time.monotonic() < due_s + DRAIN_S_MAX

    beside = await _intake(worker, events, size, wall_ms, goes_on)
    cpu = time.process_time() - cpu
    drained_s = time.monotonic() - due_s
    woken = len(seen.late_ms)
    await worker.stop()
    say(f"  {woken:,} journeys went on in {drained_s:.1f} s")
    late = quantiles(seen.late_ms, n=100, method="inclusive")
    return [
        plain("mass_wake_intake_p99", "ms", [_p99(beside)]),
        plain("mass_wake_intake_alone_p99", "ms", [_p99(alone)]),
        plain("mass_wake_rate", "1/s", [woken / drained_s]),
        plain("mass_wake_cpu", "µs", [cpu / (woken + len(beside) * REQUEST_EVENTS) * 1e6]),
        plain("mass_wake_lateness_p50", "s", [late[49] / 1000]),
        plain("mass_wake_lateness_p99", "s", [late[98] / 1000]),
    ]


async def _intake(
    worker: Worker,
    events: Events,
    size: Size,
    wall_ms: Callable[[], int],
    goes_on: Callable[[], bool],
) -> list[float]:
    """Give requests on a schedule while it goes on. Returns how long each took from when it was due, in ms."""
    door, loop = Door(worker), asyncio.get_running_loop()
    begin, number = loop.time(), 0
    async with asyncio.TaskGroup() as tasks:
        while goes_on():
            due = begin + number * REQUEST_EVENTS / size.events_s
            number += 1
            body = events.make(REQUEST_EVENTS, wall_ms())
            if (
                due > loop.time()
            ):  # what is overdue goes at once: the loop may have been busy meanwhile
                await asyncio.sleep(due - loop.time())
            tasks.create_task(door.take(body, due))
    return door.take_latencies()


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]
