"""Case `events`: durable events a second through one worker, and how long an acknowledgement takes.

From the JSON bytes of a request (NDJSON, 400 octets or more an event), decoded and validated as the gateway does, to
the verdicts: the real worker with the real contact machine, no call of Ray. Each event is read, restarts a journey
(new state), moves its timer, leaves a seen id, a record and an entry on the feed. Contacts are more than the cache
holds.

The ceiling writes the very rows that the worker wrote (recorded in this run) into the same store, without any logic, in
batches of the size that suits it best. `events_libraries` adds the library calls without which none can be made:
what is left between it and `events_cpu` is the interpreter running our logic.
"""

from __future__ import annotations

__all__ = ("Door", "TracingStore", "best_size", "run")

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import uvloop

from actors.gateway.bodies import decode_items
from actors.gateway.wire import EventIn, event_arrival
from actors.worker.collector import tune_collector
from actors.worker.wire import AdmitBatch, WireArrival
from actors.worker.worker import Worker
from bench.ceilings.libraries import Calls, measure_calls
from bench.ceilings.store import measure_store
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.events_redis import Drive, Full, events_over_redis
from bench.frame import Measured, Result, Sample, costs, plain, rates, rounds, say
from engine.feed import entries_of
from engine.keyspace import contact_key
from engine.rows import ENTITY, FEED_INDEX, RECORD, open_envelope
from engine.store.protocol import STAND, Batch, Rows, Stand, Store, encode_stand, partition_prefix
from engine.vocabulary import ContactPut

TENANT = "shop"
NDJSON = "application/x-ndjson"
SCENARIO = """\
scenario: quiet
entry:
  event: order.placed
  when: event.value >= 0
reentry: restart
steps:
  - id: told
    notify: crm
  - id: quiet
    wait: 45d
  - id: miss-you
    send: {template: miss-you, topic: offers}
"""
BODY_EVENTS = 100
"""Events in one request."""
IN_FLIGHT = 10
"""Requests that wait for their acknowledgement at full rate."""
CEILING_EVENTS = (250, 500, 1000, 2000, 4000)
"""Batch sizes that the ceiling may choose from, in events."""


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    contacts: int
    rounds: int
    seconds: float
    traced: int

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        return cls(20_000, 2, 2.0, 6_000) if quick else cls(200_000, 5, 8.0, 30_000)


class TracingStore:
    """A store that remembers the rows of each commit while `rows` is a list."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: list[tuple[bytes, bytes | None]] | None = None

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read."""
        return self._store.get(keys)

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read in order."""
        return self._store.scan(start, end, limit)

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come."""
        return self._store.stand(partition)

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write, and remember what."""
        if self.rows is not None:
            for batch in batches:
                stand = (partition_prefix(batch.partition) + STAND, encode_stand(batch.stand))
                self.rows += [stand, *batch.puts]
                self.rows += [(key, None) for key in batch.deletes]
        return self._store.commit(batches)

    def reopen(self) -> None:
        """Open again."""
        self._store.reopen()

    def close(self) -> None:
        """Close."""
        self._store.close()


class Door:
    """One worker behind the decoding of the gateway, in this process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.latencies: list[float] = []
        self._decoder = msgspec.json.Decoder(EventIn)

    async def take(self, body: bytes, since: float) -> None:
        """Take one request; returns when its events are durable. `since` is when it was due, on the loop's clock."""
        now = time.time_ns() // 1_000_000
        found = decode_items(body, NDJSON, self._decoder, 10_000)
        items = []
        for item, raw in zip(found.items, found.raws, strict=True):
            one = event_arrival(item, TENANT, now, raw)
            key = contact_key(TENANT, one.contact)
            items.append(WireArrival(key, one.body, one.input_id.encode(), one.at, one.raw))
        answer = await self.worker.admit(AdmitBatch(items))
        self.latencies.append(asyncio.get_running_loop().time() - since)
        assert answer.verdicts == ["accepted"] * len(items), "every event of the bench is new"

    def take_latencies(self) -> list[float]:
        """Give the latencies since the last call, in ms."""
        taken, self.latencies = self.latencies, []
        return [1000 * one for one in taken]


class Bodies:
    """Makes requests; no two events have the same id."""

    def __init__(self, contacts: int, seed: int) -> None:
        self._contacts = contacts
        self._draw = random.Random(seed)
        self._number = 0

    def make(self, number: int) -> list[bytes]:
        """Make so many requests."""
        return [b"\n".join(self._event() for _ in range(BODY_EVENTS)) for _ in range(number)]

    def _event(self) -> bytes:
        self._number += 1
        number, draw = self._number, self._draw
        event = {
            "id": f"shop-7-order-{number:012}",
            "name": "order.placed",
            "contact": f"c{draw.randrange(self._contacts):09}",
            "at": time.time_ns() // 1_000_000,
            "data": {
                "value": draw.randrange(500, 50_000),
                "currency": "EUR",
                "order": f"2026-{number:09}",
                "channel": draw.choice(("web", "app", "store")),
                "items": [
                    {
                        "sku": f"LP-{draw.randrange(10**6):06}",
                        "title": "Salt Flats at Noon",
                        "n": 1,
                    },
                    {"sku": f"CD-{draw.randrange(10**6):06}", "title": "Świt nad Wisłą", "n": 2},
                ],
                "shipping": {"country": "PL", "city": "Kraków", "method": "parcel locker"},
                "url": f"https://shop.example/orders/2026-{number:09}",
            },
        }
        raw = msgspec.json.encode(event)
        assert len(raw) >= 400, "an event of the bench has 400 octets or more"
        return raw


def run(*, quick: bool, seed: int, store: str = "rocksdb") -> Measured:
    """Measure; with store "redis" over a Redis too."""
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return _measured(runner, folder, Settings.of(quick=quick), seed, store)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(
    runner: asyncio.Runner, folder: Path, settings: Settings, seed: int, kind: str
) -> Measured:
    config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
    publish_all(config, {TENANT: {"quiet.yaml": SCENARIO}}, {})
    bodies = Bodies(settings.contacts, seed)
    door, store = runner.run(_open(Worker(worker_settings(config)[0])))
    say(f"  {settings.contacts:,} contacts")
    runner.run(_fill(door.worker, settings.contacts))
    trace = folder / "trace"
    rows_each, rows = runner.run(_traced(door, store, bodies, settings))
    trace.write_bytes(rows)
    best = best_size(trace, folder, rows_each, 0.7)
    stores = iter(range(10**6))

    def ceiling() -> Sample:
        place = folder / f"ceiling-{next(stores)}"
        written = measure_store(trace, place, settings.seconds, int(best * rows_each))
        shutil.rmtree(place)
        return {
            "ceiling": written.per_second / rows_each,
            "ceiling_cpu": written.cpu_us * rows_each,
        }

    calls = _calls(msgspec.msgpack.decode(rows, type=list[tuple[bytes, bytes | None]]), bodies)

    def libraries() -> Sample:
        return {"libraries": measure_calls(calls, settings.seconds / 2)}

    def full() -> Sample:
        return runner.run(_full_rate(door, bodies, settings.seconds))

    found = rounds(settings.rounds, ceiling, libraries, full)
    floor = [a + b for a, b in zip(found["libraries"], found["ceiling_cpu"], strict=True)]
    full_ms = door.take_latencies()
    rate = min(found["events"])
    runner.run(_steady(door, bodies, rate / 2, settings.seconds * settings.rounds / 2))
    half_ms = door.take_latencies()
    runner.run(door.worker.stop())
    results = [
        rates("events", "1/s", found["events"], found["ceiling"]),
        costs("events_cpu", "µs", found["events_cpu"], found["ceiling_cpu"]),
        costs("events_libraries", "µs", floor, found["ceiling_cpu"]),
        *_latencies("events_half", half_ms),
        *_latencies("events_full", full_ms),
    ]
    over_redis: dict[str, Any] = {}
    if kind == "redis":
        traced = msgspec.msgpack.decode(rows, type=list[tuple[bytes, bytes | None]])
        redis = events_over_redis(
            runner, folder, config, settings.rounds, rows_each, traced, _driven(bodies, settings)
        )
        results += redis.results
        over_redis = redis.settings
    octets = len(bodies.make(1)[0]) // BODY_EVENTS
    return Measured(
        results,
        {
            **msgspec.to_builtins(settings),
            "octets_an_event": octets,
            "events_a_request": BODY_EVENTS,
            "events_in_flight": BODY_EVENTS * IN_FLIGHT,
            "partitions": config.store.partitions,
            "ceiling_rows_an_event": rows_each,
            "ceiling_batch_events": best,
            "half_rate": round(rate / 2),
            **over_redis,
        },
    )


def _driven(bodies: Bodies, settings: Settings) -> Drive:
    """Make what fills another worker, warms it, and gives how it is measured at full rate."""

    async def drive(worker: Worker) -> Full:
        await _fill(worker, settings.contacts)
        door = Door(worker)
        await _push(door, bodies.make(settings.traced // BODY_EVENTS))

        async def full() -> Sample:
            return await _full_rate(door, bodies, settings.seconds)

        return full

    return drive


async def _open(worker: Worker) -> tuple[Door, TracingStore]:
    tune_collector()  # as in the process of a worker
    await worker.start()
    store = TracingStore(worker.host.store)
    worker.host.store = store
    return Door(worker), store


async def _fill(worker: Worker, contacts: int) -> None:
    """Let all contacts exist, with attributes such as they have."""
    for start in range(0, contacts, 1000):
        items = [
            WireArrival(
                contact_key(TENANT, f"c{n:09}"),
                ContactPut(
                    {
                        "email": f"c{n}@d{n % 8}.example",
                        "name": f"Anna {n}",
                        "city": "Kraków",
                        "tier": "b",
                    }
                ),
                b"fill" + n.to_bytes(4),
            )
            for n in range(start, min(start + 1000, contacts))
        ]
        await worker.admit(AdmitBatch(items))


async def _traced(
    door: Door, store: TracingStore, bodies: Bodies, settings: Settings
) -> tuple[float, bytes]:
    """Record the rows of some events, after some that aren't recorded. Returns how many an event has, and all."""
    warm = bodies.make(settings.traced // BODY_EVENTS)
    await _push(door, warm)
    store.rows = []
    traced = bodies.make(settings.traced // BODY_EVENTS)
    await _push(door, traced)
    rows, store.rows = store.rows, None
    door.take_latencies()
    return len(rows) / (len(traced) * BODY_EVENTS), msgspec.msgpack.encode(rows)


async def _push(door: Door, bodies: Sequence[bytes]) -> None:
    """Push requests through as fast as they are acknowledged, several in flight."""
    waiting = iter(bodies)
    loop = asyncio.get_running_loop()

    async def lane() -> None:
        for body in waiting:
            await door.take(body, loop.time())

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))


async def _full_rate(door: Door, bodies: Bodies, seconds: float) -> Sample:
    """Measure the rate when there is always more; requests are made beforehand, a part at a time."""
    events, wall, cpu = 0, 0.0, 0.0
    while wall < seconds:
        part = bodies.make(100)
        began, cpu_began = time.perf_counter(), time.process_time()
        await _push(door, part)
        wall += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        events += len(part) * BODY_EVENTS
    return {"events": events / wall, "events_cpu": cpu / events * 1e6}


async def _steady(door: Door, bodies: Bodies, rate: float, seconds: float) -> None:
    """Send requests on a schedule, whether or not earlier ones were acknowledged."""
    made = bodies.make(max(int(rate * seconds / BODY_EVENTS), 20))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for n, body in enumerate(made):
            due = begin + n * BODY_EVENTS / rate
            await asyncio.sleep(max(due - loop.time(), 0))
            tasks.create_task(door.take(body, due))


def _calls(rows: Sequence[tuple[bytes, bytes | None]], bodies: Bodies) -> Calls:
    """Find among rows of a trace what library calls are made with."""
    states, records, notices = [], [], []
    for key, value in rows:
        if value is None:
            continue
        if key[2:3] == ENTITY:
            states.append(open_envelope(key[3:], value)[-1])
        elif key[2:3] == RECORD:
            records += msgspec.msgpack.decode(value, type=list[msgspec.Raw])
        elif key[2:3] == FEED_INDEX:
            notices += [one.body for one in entries_of(value)]
    events = [line for body in bodies.make(20) for line in body.split(b"\n")]
    return Calls(events, states, [bytes(one) for one in records], [bytes(one) for one in notices])


def best_size(trace: Path, folder: Path, rows_each: float, seconds: float) -> float:
    """Let the ceiling try its batch sizes; returns the best, in events."""
    rates_of = {}
    for size in CEILING_EVENTS:
        place = folder / f"tuning-{size}"
        rates_of[size] = measure_store(trace, place, seconds, int(size * rows_each)).per_second
        shutil.rmtree(place)
    return max(rates_of, key=lambda size: rates_of[size])


def _latencies(name: str, values: Sequence[float]) -> list[Result]:
    cuts = quantiles(values, n=1000, method="inclusive")
    return [
        plain(f"{name}_{label}", "ms", [cuts[at - 1]])
        for label, at in (("p50", 500), ("p99", 990), ("p999", 999))
    ]
