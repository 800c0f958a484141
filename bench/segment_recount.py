"""Part of case `wake`: segments counted anew over all contacts, in another process, while intake goes on.

A store is filled with waiting contacts (`contacts_people`); a worker over it takes events at a steady rate, alone and
while the recount runs. Latency is from when a request was due to its answer, so that a loop that stands still shows.
"""

from __future__ import annotations

__all__ = ("recount_results",)

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from actors.gateway.bodies import decode_items
from actors.gateway.wire import EventIn, event_arrival
from actors.planning.recount import Done, Job, recounted
from actors.worker import wire
from actors.worker.assembly import catalog_compilers
from actors.worker.worker import Worker
from bench.contacts_people import BASE_MS, HOUR_MS, SCENARIO, SCENARIO_NAME, TENANT, Events, fill
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.frame import Result, plain, say
from engine.catalog import Catalog
from engine.entities import Machines
from engine.keyspace import Keyspace, contact_key
from engine.store.catalog_files import CatalogFiles
from engine.store.format import store_path
from engine.store.rocksdb import RocksStore
from scenarios.contact import ContactMachine
from scenarios.segments import Segment

EVENTS_A_REQUEST: Final = 10
REQUESTS_A_S: Final = 100
ALONE_S: Final = 10.0
SEGMENTS: Final = (
    Segment("gold", "contact.tier == 'gold'"),
    Segment("spenders", "contact.spent > 500000 && contact.orders >= 10"),
    Segment("active", "contact.count('order.placed', '90d') >= 1"),
)


def recount_results(*, quick: bool, seed: int) -> list[Result]:
    """Measure; takes some minutes, quick half a minute."""
    contacts = 100_000 if quick else 5_000_000
    with tempfile.TemporaryDirectory(prefix="veredus-bench-wake-") as folder:
        settings = _filled(Path(folder), contacts)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(settings, contacts, seed))


def _filled(folder: Path, contacts: int) -> wire.WorkerSettings:
    """Make a deployment whose store is filled."""
    config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
    publish_all(config, {TENANT: {"quiet.yaml": SCENARIO}}, {})
    settings = msgspec.structs.replace(worker_settings(config)[0], log_time=BASE_MS)
    catalogs = CatalogFiles(Path(config.data_dir) / "catalog")
    catalog = Catalog(catalogs.head(), catalogs.load(catalogs.head()), catalog_compilers({}))
    version = catalog.find("scenario", TENANT, SCENARIO_NAME).version
    store = RocksStore(store_path(Path(config.data_dir), 0, 1), config.store.cache_mb)
    began = time.monotonic()
    try:
        keyspace = Keyspace(config.store.partitions)
        fill(store, Machines((ContactMachine(),)), keyspace, version, 0, contacts)
    finally:
        store.close()
    say(f"  filled {contacts:,} contacts in {time.monotonic() - began:.0f} s")
    return settings


async def _measure(settings: wire.WorkerSettings, contacts: int, seed: int) -> list[Result]:
    worker = Worker(settings)
    await worker.start()
    door = _Door(worker, Events(contacts, seed))
    store = str(store_path(Path(settings.data_dir), 0, 1))
    partitions = list(range(settings.config.store.partitions))
    job = Job([(store, partitions)], TENANT, list(SEGMENTS), BASE_MS + HOUR_MS)
    try:
        alone = await door.during(asyncio.sleep(ALONE_S))
        began = time.monotonic()
        counting = asyncio.create_task(recounted(job))
        beside = await door.during(counting)
        took = time.monotonic() - began
    finally:
        await worker.stop()
    done: Done = counting.result()
    assert done.contacts >= contacts, f"{done.contacts} of {contacts} contacts were counted"
    say(f"  recount: {took:.1f} s, {done.cpu_s / done.contacts * 1e6:.1f} µs of CPU a contact")
    name = f"segment_recount_{contacts // 10**6}m" if contacts >= 10**6 else "segment_recount_quick"
    return [
        plain(name, "s", [took]),
        plain(f"{name}_cpu", "µs", [done.cpu_s / done.contacts * 1e6]),
        plain(f"{name}_intake_p99", "ms", [_p99(beside)]),
        plain(f"{name}_intake_p99_alone", "ms", [_p99(alone)]),
    ]


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)] * 1000


class _Door:
    """Events for random contacts, at a steady rate."""

    def __init__(self, worker: Worker, events: Events) -> None:
        self._worker = worker
        self._events = events
        self._decoder = msgspec.json.Decoder(EventIn)
        self._latencies: list[float] = []

    async def during(self, work: asyncio.Future[Done] | object) -> list[float]:
        """Give latencies of requests (s) while something goes on; a request doesn't wait for the one before."""
        self._latencies = []
        working: asyncio.Future[object] = asyncio.ensure_future(work)  # type: ignore[arg-type] # awaitable
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            while not working.done():
                due += 1 / REQUESTS_A_S
                await asyncio.sleep(max(due - loop.time(), 0.0))
                group.create_task(self._ask(due))
        return self._latencies

    async def _ask(self, due: float) -> None:
        body = self._events.make(EVENTS_A_REQUEST, BASE_MS)
        found = decode_items(body, "application/x-ndjson", self._decoder, EVENTS_A_REQUEST)
        items = []
        for item, raw in zip(found.items, found.raws, strict=True):
            one = event_arrival(item, TENANT, BASE_MS, raw)
            key = contact_key(TENANT, one.contact)
            items.append(wire.WireArrival(key, one.body, one.input_id.encode(), one.at, one.raw))
        await self._worker.admit(wire.AdmitBatch(items))
        self._latencies.append(asyncio.get_running_loop().time() - due)
