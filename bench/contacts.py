"""Case `contacts`: does a worker stay as small and as fast when ten million contacts wait in it?

One fill in three steps; at each size a worker of its own process is measured on a clone of the store (hard links, so
that every measurement meets the same state):

- disk: octets of the settled store for each contact, agenda included;
- memory: the most that was resident in the worker under a minute of load;
- events: the rate with random contacts, with timers that come due on the way, against the rate with the first size's
  store, in turns;
- minute: rate, and CPU time of the worker's loop, in the last quarter of that minute against the first, to see that
  agenda and seen ids don't slow it;
- start: from the start of a process to its first durable event, after a SIGKILL under load. Cold: with no page of the
  store in the system's cache.

Processes run without Ray, whose import alone would add 36 MB to each.
"""

from __future__ import annotations

__all__ = ("Plan", "measured", "run", "size_name")

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from actors.worker import wire
from bench.contacts_people import BASE_MS, SCENARIO, TENANT
from bench.contacts_worker import Filled, Job, Loaded, Slice, Started
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.frame import Measured, Result, Sample, costs, plain, rates, rounds, say
from engine.errors import CapacityError

T = TypeVar("T", Filled, Started, Loaded)

OCTETS_FREE = 1500
"""Disk to have free for each contact: the store, what compaction needs beside it, clones."""
QUARTERS = 4


class Plan(msgspec.Struct, frozen=True):
    """How large a run is. The first of `sizes` is the ceiling of the others."""

    sizes: tuple[int, ...]
    rounds: int
    warm_s: float
    round_s: float
    minute_s: float
    starts: int

    @classmethod
    def of(cls, *, quick: bool) -> Plan:
        """Choose the size; quick is too small for the bounds, it shows that all of it works."""
        if quick:
            return cls((100_000, 300_000), 2, 1.0, 2.0, 6.0, 2)
        return cls((1_000_000, 5_000_000, 10_000_000), 3, 5.0, 10.0, 60.0, 3)


def run(*, quick: bool, seed: int) -> Measured:
    """Measure; takes about twenty minutes, quick a minute. Raises: CapacityError: too little disk is free."""
    return measured(Plan.of(quick=quick), seed)


def measured(plan: Plan, seed: int) -> Measured:
    """Measure at the sizes of a plan. Raises: CapacityError: too little disk is free."""
    with _folder() as folder:
        free, wanted = shutil.disk_usage(folder).free, plan.sizes[-1] * OCTETS_FREE
        if free < wanted:
            raise CapacityError(
                f"disk: {free >> 20:,} MB free in {folder}, {wanted >> 20:,} needed"
            )
        return _Case(folder, plan, seed).measured()


def size_name(contacts: int) -> str:
    """Name a size as results do: 300k, 10m."""
    return f"{contacts // 10**6}m" if contacts % 10**6 == 0 else f"{contacts // 1000}k"


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder that goes away, also when somebody ends us politely."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-contacts-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


class _Case:
    def __init__(self, folder: Path, plan: Plan, seed: int) -> None:
        self._folder = folder
        self._plan = plan
        self._seed = seed
        config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
        publish_all(config, {TENANT: {"quiet.yaml": SCENARIO}}, {})
        self._settings = msgspec.structs.replace(worker_settings(config)[0], log_time=BASE_MS)
        self._data = Path(config.data_dir)
        self._first = folder / "first"  # the store as it was at the first size
        self._filled = 0
        self._octets = 0

    def measured(self) -> Measured:
        results: list[Result] = []
        for contacts in self._plan.sizes:
            results += self._at(contacts)
            if contacts == self._plan.sizes[0]:
                _clone(self._data, self._first)
        config = self._settings.config
        settings = {
            **msgspec.to_builtins(self._plan),
            "octets_a_state": round(self._octets / self._filled),
            "partitions": config.store.partitions,
            "cache_mb": config.store.cache_mb,
        }
        return Measured(results, settings)

    def _at(self, contacts: int) -> list[Result]:
        """Fill up to a size and measure there."""
        name = f"contacts_{size_name(contacts)}"
        disk = self._fill(contacts) / contacts
        say(f"  {name}: {disk:.0f} octets a contact")
        found = self._rates(contacts)
        loaded, starts = self._minute_and_starts(contacts)
        first, last = loaded.slices[0], loaded.slices[-1]
        return [
            *_against_first(name, found),
            rates(f"{name}_minute", "1/s", [_rate(last)], [_rate(first)]),
            costs(f"{name}_minute_cpu", "µs", [_loop_cpu_us(last)], [_loop_cpu_us(first)]),
            plain(f"{name}_memory", "GB", [loaded.memory_octets / 1e9]),
            plain(f"{name}_start", "s", starts),
            plain(f"{name}_start_cold", "s", [self._cold_start(contacts)]),
            plain(f"{name}_disk", "bytes", [disk]),
        ]

    def _fill(self, contacts: int) -> int:
        """Fill up to a size. Returns the octets of the store."""
        began = time.monotonic()
        with self._process(Filled, Job("fill", b"", contacts, self._filled), self._data) as filled:
            self._octets += filled.state_octets
        say(f"  filled up to {contacts:,} contacts in {time.monotonic() - began:.0f} s")
        self._filled = contacts
        return filled.store_octets

    def _rates(self, contacts: int) -> dict[str, list[float]]:
        """Measure the rate here and with the first size's store, in turns."""
        plan = self._plan
        seconds = (plan.warm_s, plan.round_s)

        def here() -> Sample:
            sliced = self._load(self._data, contacts, seconds).slices[0]
            return {"events": _rate(sliced), "cpu": _cpu_us(sliced)}

        def ceiling() -> Sample:
            sliced = self._load(self._first, plan.sizes[0], seconds).slices[0]
            return {"ceiling": _rate(sliced), "ceiling_cpu": _cpu_us(sliced)}

        measures = [here] if contacts == plan.sizes[0] else [ceiling, here]
        return rounds(plan.rounds, *measures)

    def _load(self, data: Path, contacts: int, seconds: tuple[float, ...]) -> Loaded:
        job = Job("load", b"", contacts, seconds=seconds, seed=self._seed)
        with self._cloned(data) as clone, self._process(Loaded, job, clone) as loaded:
            return loaded

    def _minute_and_starts(self, contacts: int) -> tuple[Loaded, list[float]]:
        """Load for a minute, end that by SIGKILL, then start again and again, each time after a SIGKILL."""
        plan = self._plan
        seconds = (plan.warm_s, *[plan.minute_s / QUARTERS] * QUARTERS)
        load = Job("load", b"", contacts, seconds=seconds, seed=self._seed)
        with self._cloned(self._data) as clone:
            with self._process(Loaded, load, clone) as loaded:
                quarters = [
                    f"{_rate(one):.0f}/s, {_loop_cpu_us(one):.0f} of {_cpu_us(one):.0f} µs in the loop"
                    for one in loaded.slices
                ]
                say(f"  a minute by quarter: {'; '.join(quarters)}")
            starts = [self._start(contacts, clone, n) for n in range(plan.starts)]
        return loaded, starts

    def _start(self, contacts: int, data: Path, number: int) -> float:
        job = Job("start", b"", contacts, seed=self._seed + 1 + number)
        began = time.monotonic()
        with self._process(Started, job, data) as started:
            times = [t - began for t in (started.imported_s, started.started_s, started.durable_s)]
        say("  start: imported {:.2f} s, started {:.2f} s, durable {:.2f} s".format(*times))
        return times[-1]

    def _cold_start(self, contacts: int) -> float:
        with self._cloned(self._data) as clone:
            for file in clone.rglob("*"):
                if file.is_file():
                    _forget_pages(file)
            return self._start(contacts, clone, 0)

    @contextmanager
    def _process(self, kind: type[T], job: Job, data: Path) -> Iterator[T]:
        """Run a job in a process of its own; it lives until the block ends, then gets SIGKILL."""
        config = msgspec.structs.replace(self._settings.config, data_dir=str(data))
        settings = msgspec.structs.replace(self._settings, config=config, data_dir=str(data))
        job = msgspec.structs.replace(job, settings=wire.encode(settings))
        command = [sys.executable, "-m", "bench.contacts_worker"]
        root = Path(__file__).resolve().parent.parent
        process: subprocess.Popen[bytes] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the process of {job.what} ended with {process.wait()}")
            yield msgspec.json.decode(line, type=kind)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    @contextmanager
    def _cloned(self, data: Path) -> Iterator[Path]:
        clone = self._folder / "clone"
        _clone(data, clone)
        try:
            yield clone
        finally:
            shutil.rmtree(clone)


def _rate(sliced: Slice) -> float:
    return sliced.events / sliced.wall_s


def _cpu_us(sliced: Slice) -> float:
    """Give the CPU time of an event and what it brings along: its share of timers, RocksDB's own threads."""
    return sliced.cpu_s / sliced.events * 1e6


def _loop_cpu_us(sliced: Slice) -> float:
    """Give the CPU time of an event in the worker's own thread: without RocksDB's flushes and compactions."""
    return sliced.loop_cpu_s / sliced.events * 1e6


def _against_first(name: str, found: dict[str, list[float]]) -> list[Result]:
    """Make the results of the rate, held against the first size's where this isn't the first."""
    events, cpu = (f"{name}_events", "1/s", found["events"]), (f"{name}_cpu", "µs", found["cpu"])
    if "ceiling" not in found:
        return [plain(*events), plain(*cpu)]
    return [rates(*events, found["ceiling"]), costs(*cpu, found["ceiling_cpu"])]


def _clone(data: Path, clone: Path) -> None:
    """Copy a data directory whose store is closed; its sorted tables never change, so links to them will do."""

    def copy(source: str, target: str) -> Any:
        if source.endswith(".sst"):
            os.link(source, target)
            return target
        return shutil.copy2(source, target)

    shutil.copytree(data, clone, copy_function=copy)


def _forget_pages(file: Path) -> None:
    """Let the system forget what it holds of a file in memory. posix_fadvise(2)."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
