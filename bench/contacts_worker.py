"""What case `contacts` does in processes of their own, so that their memory and their start are a worker's alone.

`python -m bench.contacts_worker` reads one `Job` as JSON from standard input, does it, prints one line of JSON, and
then waits until its input is closed, or it is killed: a measured worker ends by SIGKILL, as in a crash, so that the
next one finds a write-ahead log to read again.

- `fill` writes contacts into a new or filled store.
- `start` starts the real worker (without Ray) and says when its first event is durable.
- `load` pushes events through it, decoded from JSON as the gateway does, while timers come due.
"""

from __future__ import annotations

__all__ = ("Filled", "Job", "Loaded", "Slice", "Started", "do", "peak_memory")

import asyncio
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from actors.gateway.bodies import decode_items
from actors.gateway.wire import EventIn, event_arrival
from actors.worker import wire
from actors.worker.assembly import catalog_compilers
from actors.worker.collector import tune_collector
from actors.worker.worker import Worker
from bench.contacts_people import BASE_MS, HOUR_MS, SCENARIO_NAME, TENANT, WAIT_MS, Events, fill
from engine.catalog import Catalog
from engine.entities import Machines
from engine.keyspace import Keyspace, contact_key
from engine.store.catalog_files import CatalogFiles
from engine.store.rocksdb import RocksStore
from scenarios.contact import ContactMachine

STEP_EVENTS = 1000
"""Events between two steps of log time."""
STEP_TIMERS = 300
"""Timers that come due in such a step."""
PART_STEPS = 10
"""Steps whose events are made beforehand, outside the measurement."""


class Job(msgspec.Struct, frozen=True):
    """What to do. `settings` are the worker's, as msgpack; contacts `first` to `contacts` are filled in."""

    what: Literal["fill", "start", "load"]
    settings: bytes
    contacts: int
    first: int = 0
    seconds: tuple[
        float, ...
    ] = ()  # lengths of the slices to measure, after the first, which warms up
    seed: int = 1
    settle_s: float = 3.0  # a store whose size hasn't changed for so long has settled


class Filled(msgspec.Struct, frozen=True):
    """What a fill wrote, encoded; and what its store takes on disk, compacted as far as it wants to be."""

    state_octets: int
    store_octets: int


class Started(msgspec.Struct, frozen=True):
    """When all was imported, the worker started, its first event durable: on the clock of `time.monotonic`."""

    imported_s: float
    started_s: float
    durable_s: float


class Slice(msgspec.Struct, frozen=True):
    """A stretch of load; `cpu_s` of all threads, `loop_cpu_s` of the worker's."""

    events: int
    timers: int
    wall_s: float
    cpu_s: float
    loop_cpu_s: float


class Loaded(msgspec.Struct, frozen=True):
    """What a load found; memory is the most that was resident at any time."""

    slices: list[Slice]
    memory_octets: int


def do(job: Job) -> Filled | Started | Loaded:
    """Do a job in this process."""
    settings = wire.decode(wire.WorkerSettings, job.settings)
    if job.what == "fill":
        return _fill(settings, job)
    tune_collector()
    imported_s = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worker = Worker(settings)
        if job.what == "start":
            return runner.run(_start(worker, job, imported_s))
        return runner.run(_load(worker, job))


def _fill(settings: wire.WorkerSettings, job: Job) -> Filled:
    config, data = settings.config, Path(settings.data_dir)
    catalogs = CatalogFiles(data / "catalog")
    catalog = Catalog(catalogs.head(), catalogs.load(catalogs.head()), catalog_compilers({}))
    scenario = catalog.find("scenario", TENANT, SCENARIO_NAME)
    store = RocksStore(data / "store" / "0-of-1", config.store.cache_mb)
    try:
        machines = Machines((ContactMachine(),))
        keyspace = Keyspace(config.store.partitions)
        octets = fill(store, machines, keyspace, scenario.version, job.first, job.contacts)
        store.reopen()  # what is in the write-ahead log becomes a sorted table
        return Filled(octets, _settled_size(store, job.settle_s))
    finally:
        store.close()


def _settled_size(store: RocksStore, settle_s: float) -> int:
    """Wait until a store isn't compacting any more: its size hasn't changed for a while."""
    before, since = store.size_bytes(), time.monotonic()
    while time.monotonic() < since + settle_s:
        size = store.size_bytes()
        if size != before:
            before, since = size, time.monotonic()
        time.sleep(settle_s / 10)
    return before


async def _start(worker: Worker, job: Job, imported_s: float) -> Started:
    await worker.start()
    started_s = time.monotonic()
    await _Door(worker, BASE_MS).take(Events(job.contacts, job.seed).make(1, BASE_MS), 0)
    return Started(imported_s, started_s, time.monotonic())


async def _load(worker: Worker, job: Job) -> Loaded:
    await worker.start()
    events = Events(job.contacts, job.seed)
    door = _Door(worker, BASE_MS + HOUR_MS)
    step_ms = max(WAIT_MS * STEP_TIMERS // job.contacts, 1)
    slices = [await _stretch(door, events, seconds, step_ms) for seconds in job.seconds]
    return Loaded(slices[1:], peak_memory())


async def _stretch(door: _Door, events: Events, seconds: float, step_ms: int) -> Slice:
    """Push events for a while, a step of log time after the other; only the pushing is measured."""
    number, wall, cpu, loop_cpu = 0, 0.0, 0.0, 0.0
    decided = door.worker.status().inputs
    while wall < seconds:
        bodies = [events.make(STEP_EVENTS, door.now + n * step_ms) for n in range(PART_STEPS)]
        wall_began, cpu_began = time.perf_counter(), time.process_time()
        loop_began = time.thread_time()
        for body in bodies:
            await door.take(body, step_ms)
        wall += time.perf_counter() - wall_began
        cpu += time.process_time() - cpu_began
        loop_cpu += time.thread_time() - loop_began
        number += len(bodies) * STEP_EVENTS
    return Slice(number, door.worker.status().inputs - decided - number, wall, cpu, loop_cpu)


class _Door:
    """A worker behind the decoding of the gateway, in log time."""

    def __init__(self, worker: Worker, now: int) -> None:
        self.worker = worker
        self.now = now
        self._decoder = msgspec.json.Decoder(EventIn)

    async def take(self, body: bytes, step_ms: int) -> None:
        """Take a request; returns when its events are durable, and what is due by then has happened."""
        found = decode_items(body, "application/x-ndjson", self._decoder, STEP_EVENTS)
        items = []
        for item, raw in zip(found.items, found.raws, strict=True):
            one = event_arrival(item, TENANT, self.now, raw)
            key = contact_key(TENANT, one.contact)
            items.append(wire.WireArrival(key, one.body, one.input_id.encode(), one.at, one.raw))
        await self.worker.pass_time(self.now, wire.AdmitBatch(items))
        self.now += step_ms


def peak_memory() -> int:
    """Tell the most octets that were resident in this process at any time. proc(5), VmHWM."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("this system doesn't tell the peak of a process's memory")


if __name__ == "__main__":
    done = do(msgspec.json.decode(sys.stdin.buffer.readline(), type=Job))
    sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
