"""Case `scenarios`: journeys of the library, by the machine alone and through a durable worker; how late timers are.

A *transition* is one journey that moved: it opened or went on until it stood at a waiting step, or it ended. Decisions
that interest no journey are made too, and not counted.

- `interpreter`: transitions a second of CPU time, the contact machine alone, one core, with the collector of cycles set
  as in a worker, and a batch of a worker at a time.
- `transitions`: durable transitions a second through one worker (RocksDB) in log time, events and the timers that come
  due meanwhile. The ceiling writes the very rows that the worker wrote into the same store, without any logic.
- `timer_lateness_p50`, `timer_lateness_p99`: on the wall clock, at 0.8 of the rate that was sustained just before (from
  the first event to the decision of the last timer), each event opening a journey with a timer a few seconds away:
  from when a timer was due until its decision was durable.

Contacts have no address, so that every send is decided up to where it can't go: mail is measured by `pipeline`.
"""

from __future__ import annotations

__all__ = ("LatenessHost", "deployment", "run")

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles

import msgspec
import uvloop

from actors.worker.assembly import catalog_compilers
from actors.worker.collector import tune_collector
from actors.worker.wire import AdmitBatch, WireArrival
from actors.worker.worker import Worker
from bench.ceilings.store import measure_store
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.events import TracingStore, best_size
from bench.frame import Measured, Result, Sample, plain, rates, rounds, say
from bench.library_events import ATTRIBUTES, EventMaker, endpoints_of, library
from engine.catalog import Catalog, Head, Item, digest_of
from engine.config import Config
from engine.host import Host
from engine.keyspace import EntityKey, contact_key
from engine.machine import At, Context, Record, Transition, Wake
from engine.rows import RECORD
from engine.tick import Released, TickInputs
from engine.vocabulary import ContactPut, Event
from scenarios.contact import ContactMachine

TENANT = "shop"
BEGIN_MS = 1_790_000_000_000
GAP_MS = 6 * 3_600_000
"""How long a contact has between two events, on average: waits of minutes, hours and days come due."""
BATCH = 1000
SHORT = """\
scenario: short
entry: order.placed
key: event.order
steps:
  - id: soon
    wait: 3s
  - id: noted
    tag: ordered
"""
SHORT_S = 3.0
"""The wait of that scenario."""
SUSTAINED = 0.8
MOVES = frozenset({"journey_waits", "journey_ended"})


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    contacts: int
    rounds: int
    seconds: float
    traced: int

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        return cls(5_000, 2, 2.0, 10_000) if quick else cls(50_000, 5, 8.0, 50_000)


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            alone = _Alone(settings, seed)
            tune_collector()
            found = rounds(settings.rounds, alone.sample)
            results = [plain("interpreter", "1/s", found["interpreter"])]
            durable, more = _durable(runner, folder / "durable", settings, seed)
            results += durable
            results += _lateness(runner, folder / "lateness", settings, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Measured(results, {**msgspec.to_builtins(settings), **more})


def _moves(transition: Transition) -> int:
    """Count the journeys that moved: each stands somewhere or has ended then, and that is on record."""
    return sum(isinstance(effect, Record) and effect.fact in MOVES for effect in transition.effects)


# ---- the machine alone


class _Alone:
    """The contact machine with all of its states in memory, in virtual time."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._machine = ContactMachine()
        texts = {name.removesuffix(".yaml"): text.encode() for name, text in library().items()}
        items = [Item("scenario", TENANT, name, digest_of(text)) for name, text in texts.items()]
        contents = {digest_of(text): text for text in texts.values()}
        self._context = Context(Catalog(Head(1, tuple(items)), contents, catalog_compilers({})))
        contacts = min(settings.contacts, 5_000)
        self._events = EventMaker(contacts, seed)
        self._keys = [contact_key(TENANT, f"c{n:09}") for n in range(contacts)]
        self._step_ms = GAP_MS // contacts
        self._now = BEGIN_MS
        self._number = 0
        put = ContactPut(ATTRIBUTES)
        self._held: dict[EntityKey, Transition] = {
            key: self._decide(key, None, put, BEGIN_MS) for key in self._keys
        }
        self._run(4 * contacts)  # journeys are under way when the measurement begins

    def sample(self) -> Sample:
        """Measure for a while; only decisions are in the measured time."""
        moved, cpu = 0, 0.0
        while cpu < self._settings.seconds:
            part, took = self._run(BATCH)
            moved, cpu = moved + part, cpu + took
        return {"interpreter": moved / cpu}

    def _run(self, number: int) -> tuple[int, float]:
        """Give so many events, and all wakes that are due before each. Returns transitions, CPU time in s."""
        events = self._events.make(number)
        made: list[Transition] = []
        held, keys, step_ms, decide = self._held, self._keys, self._step_ms, self._decide
        began = time.process_time()
        for contact, event in events:
            self._now += step_ms
            key = keys[contact]
            last = held[key]
            while isinstance(last.place, At) and last.place.due <= self._now:
                last = decide(key, last.state, Wake(), last.place.due)
                made.append(last)
            held[key] = last = decide(key, last.state, event, self._now)
            made.append(last)
        took = time.process_time() - began
        return sum(map(_moves, made)), took

    def _decide(self, key: EntityKey, state: object, body: object, now: int) -> Transition:
        self._number += 1
        context = self._context
        context.now, context.key, context.input_id = now, key, self._number.to_bytes(8)
        return self._machine.decide(state, body, context)  # type: ignore[arg-type]  # they are its own


# ---- durable


def deployment(folder: Path) -> Config:
    """Make a deployment with all scenarios of the library, and the endpoints that they call."""
    sender = Sender(TENANT, "shop.example", "ed25519-sha256")
    config = configure(folder, [sender], 1, endpoints=endpoints_of(library()))
    publish_all(config, {TENANT: library()}, {})
    return config


def _durable(
    runner: asyncio.Runner, folder: Path, settings: Settings, seed: int
) -> tuple[list[Result], dict[str, float]]:
    """Measure transitions through a worker against the store's ceiling."""
    config = deployment(folder)
    worker_of = msgspec.structs.replace(worker_settings(config)[0], log_time=BEGIN_MS)
    load = runner.run(_opened(Worker(worker_of), settings, seed))
    share, decided_rows, rows = runner.run(load.traced(settings.traced))
    # what decisions without a transition wrote is part of its price
    rows_each = decided_rows / share
    say(f"  {share:.2f} transitions a decision, {rows_each:.1f} rows a transition")
    trace = folder / "trace"
    trace.write_bytes(rows)
    best = best_size(trace, folder, rows_each, 0.5)
    stores = iter(range(10**6))

    def ceiling() -> Sample:
        place = folder / f"ceiling-{next(stores)}"
        written = measure_store(trace, place, settings.seconds, int(best * rows_each))
        shutil.rmtree(place)
        return {"ceiling": written.per_second / rows_each}

    def transitions() -> Sample:
        decided, wall, cpu = runner.run(load.push(settings.seconds))
        return {
            "transitions": decided * share / wall,
            "transitions_cpu": cpu / decided / share * 1e6,
        }

    found = rounds(settings.rounds, ceiling, transitions)
    runner.run(load.worker.stop())
    results = [
        rates("transitions", "1/s", found["transitions"], found["ceiling"]),
        plain("transitions_cpu", "µs", found["transitions_cpu"]),
    ]
    return results, {
        "transitions_a_decision": round(share, 3),
        "rows_a_transition": round(rows_each, 2),
        "ceiling_batch_transitions": best,
    }


class _Load:
    """A worker in log time, and the events for it."""

    def __init__(self, worker: Worker, store: TracingStore, contacts: int, seed: int) -> None:
        self.worker = worker
        self._store = store
        self._events = EventMaker(contacts, seed)
        self._keys = [contact_key(TENANT, f"c{n:09}") for n in range(contacts)]
        self._step_ms = max(GAP_MS * BATCH // contacts, 1)
        self._now = BEGIN_MS
        self._number = 0

    async def fill(self) -> None:
        """Let all contacts exist, with journeys under way."""
        put = ContactPut(ATTRIBUTES)
        items = [WireArrival(key, put, b"put") for key in self._keys]
        for at in range(0, len(items), BATCH):
            await self.worker.admit(AdmitBatch(items[at : at + BATCH]))
        await self.give(3 * len(self._keys))

    async def give(self, number: int) -> tuple[int, float, float]:
        """Give events, a batch at a time, with the timers due between. Returns decisions, wall and CPU in s."""
        batches = [self._batch() for _ in range(max(number // BATCH, 1))]
        before = self.worker.status().inputs
        began, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            self._now += self._step_ms
            await self.worker.pass_time(self._now, batch)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return self.worker.status().inputs - before, wall, cpu

    async def push(self, seconds: float) -> tuple[int, float, float]:
        """Give events for a while."""
        decided, wall, cpu = 0, 0.0, 0.0
        while wall < seconds:
            part = await self.give(10 * BATCH)
            decided, wall, cpu = decided + part[0], wall + part[1], cpu + part[2]
        return decided, wall, cpu

    async def traced(self, number: int) -> tuple[float, float, bytes]:
        """Give the transitions of a decision, its rows, and all rows."""
        self._store.rows = []
        decided, _, _ = await self.give(number)
        rows, self._store.rows = self._store.rows, None
        records = [value for key, value in rows if key[2:3] == RECORD and value is not None]
        units = [unit for value in records for unit in msgspec.msgpack.decode(value)]
        moved = sum(fact[0] in MOVES for unit in units for fact in unit[5])
        return moved / decided, len(rows) / decided, msgspec.msgpack.encode(rows)

    def _batch(self) -> AdmitBatch:
        items = []
        for contact, event in self._events.make(BATCH):
            self._number += 1
            key, input_id = self._keys[contact], self._number.to_bytes(8)
            raw = msgspec.json.encode(event)
            text = Event(event.name, self._now, msgspec.json.encode(event.data))
            items.append(WireArrival(key, text, input_id, 0, raw))
        return AdmitBatch(items)


async def _opened(worker: Worker, settings: Settings, seed: int) -> _Load:
    tune_collector()
    await worker.start()
    store = TracingStore(worker.host.store)
    worker.host.store = store
    load = _Load(worker, store, settings.contacts, seed)
    await load.fill()
    return load


# ---- how late timers are


class LatenessHost:
    """Notes, tick by tick, how late the timers of a host were when their decision was durable (ms)."""

    def __init__(self, host: Host, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self.late_ms: list[int] = []
        self.last_woken_s = 0.0
        self._tick = host.tick
        host.tick = self.tick  # type: ignore[method-assign]  # the bench looks on

    def tick(self, now: int, inputs: TickInputs) -> Released:
        """Tick, and note."""
        released = self._tick(now, inputs)
        if released.woken_due:
            durable = self._wall_ms()
            self.late_ms += [durable - due for due in released.woken_due]
            self.last_woken_s = time.monotonic()
        return released


def _lateness(runner: asyncio.Runner, folder: Path, settings: Settings, seed: int) -> list[Result]:
    config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
    publish_all(config, {TENANT: {"short.yaml": SHORT}}, {})
    late, rate = runner.run(_timers(Worker(worker_settings(config)[0]), settings, seed))
    cuts = quantiles(late, n=100, method="inclusive")
    return [
        plain("timer_sustained", "1/s", [rate]),
        plain("timer_lateness_p50", "s", [cuts[49] / 1000]),
        plain("timer_lateness_p99", "s", [cuts[98] / 1000]),
    ]


async def _timers(worker: Worker, settings: Settings, seed: int) -> tuple[Sequence[int], float]:
    """Find the sustained rate of events with their timers, then note lateness at 0.8 of it."""
    await worker.start()
    seen = LatenessHost(worker.host, lambda: time.time_ns() // 1_000_000)
    orders = _Orders(settings.contacts, seed)
    seconds = max(settings.seconds * 2, 8.0)
    began, given = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        # in batches as below, so that it is the rate of the same work
        await asyncio.gather(*(worker.admit(orders.batch(50)) for _ in range(4)))
        given += 200
    await _drained(worker)  # the last timers are part of what was sustained
    rate = given / max(seen.last_woken_s - began, seconds)
    say(f"  sustained: {rate:,.0f} events with a timer each a second")
    seen.late_ms.clear()
    await _steady(worker, orders, SUSTAINED * rate, seconds)
    await _drained(worker)
    await worker.stop()
    return seen.late_ms, rate


async def _drained(worker: Worker) -> None:
    """Wait until no timer is left."""
    for _ in range(2_000):
        if worker.host.next_due() is None:
            return
        await asyncio.sleep(0.05)
    raise RuntimeError("timers are left after 100 s")


async def _steady(worker: Worker, orders: _Orders, rate: float, seconds: float) -> None:
    """Give events on a schedule, whether or not earlier ones were acknowledged."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for n in range(int(rate * seconds / 50)):
            await asyncio.sleep(max(begin + n * 50 / rate - loop.time(), 0))
            tasks.create_task(worker.admit(orders.batch(50)))


class _Orders:
    """Orders of random contacts, each of which opens a journey of its own."""

    def __init__(self, contacts: int, seed: int) -> None:
        self._contacts, self._number = contacts, seed * 10**9

    def batch(self, number: int) -> AdmitBatch:
        """Make some."""
        items = []
        for _ in range(number):
            self._number += 1
            key = contact_key(TENANT, f"c{self._number * 2_654_435_761 % self._contacts:09}")
            data = b'{"order":"%d","value":4200,"currency":"EUR"}' % self._number
            body = Event("order.placed", 0, data)
            items.append(WireArrival(key, body, self._number.to_bytes(8), 0, data))
        return AdmitBatch(items)
