"""Case `chaos`: what operators fear, on purpose, under load: nothing acknowledged is lost, and how long it takes.

Workers over a Redis that syncs each write, a twin in a process of its own, and events at a steady rate, each of which
sends one mail to a recipient of its own. Every few seconds something is killed, stopped or moved. A fault's *recovery*
is the time until an input for each partition is acknowledged again. In the end everything must have arrived: lost and
duplicates are counted by `bench.chaos_count` from what the intake acknowledged and what the twin accepted, and the law
must hold, by counters and by a recount of everything stored.

The ceiling of `duplicates` is what may have been in the air: connections x messages in flight on each, for each death
of a worker.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from actors.backend import Arrival
from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from bench.chaos_count import count
from bench.content import holes
from bench.deployment import Sender, configure, worker_settings
from bench.frame import Measured, Result, plain, say
from bench.mailing import Variant, publish_variants
from bench.redis_server import RedisServer
from bench.twin_process import TwinProcess
from engine.config import Config, Store
from engine.errors import CapacityError, StoreError
from engine.keyspace import Keyspace, contact_key
from engine.redis_config import Redis
from engine.store.format import settle
from engine.store.redis_format import settle_in
from engine.vocabulary import ConsentGiven, ContactPut, Event

TENANT = "default"
SENDER = Sender(TENANT, "shop.example", "ed25519-sha256")
PARTITIONS = 32
WORKERS = 2
LOT = 50
PAUSE_S = 6.0
"""Longer than the controller waits for a worker: its partitions go elsewhere while it still believes to own them."""

DRAIN_S = 180.0


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    messages: int
    rate: float
    faults: int
    calm_s: float  # between two faults

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        return cls(1_500, 60.0, 9, 1.0) if quick else cls(200_000, 450.0, 36, 3.0)


class Chaos:
    """One run."""

    def __init__(self, folder: Path, config: Config, settings: Settings, seed: int) -> None:
        self._folder = folder
        self._config = config
        self._settings = settings
        self._random = random.Random(seed)
        self._begin = time.perf_counter()
        self.given = 0
        self.faults: list[tuple[str, float, float]] = []
        """What was done, when (s), and how long until all partitions were served again (s)."""
        self.deaths = 0

    async def run(self, server: RedisServer, port: int) -> dict[str, object]:
        """Load, faults, and the end."""
        config = self._config
        settings = [
            msgspec.structs.replace(one, placed=True) for one in worker_settings(config, port)
        ]
        cluster = Cluster(settings)
        self._cluster, self._server = cluster, server
        await cluster.start()
        try:
            self._backend = ClusterBackend(config, cluster, "bench")
            self._probes = _a_contact_each(config.store.partitions)
            await self._served()
            loading = asyncio.get_running_loop().create_task(self._load())
            await self._strike()
            await loading
            return await self._settled()
        finally:
            await cluster.stop()

    # ---- load

    async def _load(self) -> None:
        """Give events at a steady rate, again until they are acknowledged; write down those that are."""
        settings = self._settings
        with (self._folder / "acknowledged").open("a", encoding="ascii") as file:
            begin = time.perf_counter()
            while self.given < settings.messages:
                ahead = self.given / settings.rate - (time.perf_counter() - begin)
                if ahead > 0:
                    await asyncio.sleep(ahead)
                numbers = range(self.given, min(self.given + LOT, settings.messages))
                await self._insist([one for n in numbers for one in _inputs(n)])
                file.write("".join(f"{_recipient(n)}\n" for n in numbers))
                file.flush()
                self.given = numbers[-1] + 1

    async def _insist(self, arrivals: list[Arrival]) -> None:
        while True:
            try:
                results = await self._backend.admit(arrivals)
            except (CapacityError, StoreError):
                await asyncio.sleep(0.05)
                continue
            assert all(one.status in ("accepted", "duplicate") for one in results), results
            return

    async def _served(self) -> None:
        """Wait until an input for each partition is acknowledged."""
        told = f"probe{time.time_ns()}"
        await self._insist(
            [Arrival(TENANT, name, told, 0, ContactPut({})) for name in self._probes]
        )

    # ---- faults

    async def _strike(self) -> None:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "worker killed": self._kill_worker,
            "Redis killed, started in place": self._kill_redis,
            "worker stopped for 6 s": self._stop_worker,
            "controller killed": self._kill_controller,
            "Redis stopped for 2 s": self._stop_redis,
            "worker drained": self._drain,
            "worker added": self._grow,
            "two workers killed at once": self._kill_both,
            "worker taken away": self._shrink,
        }
        names = list(kinds)
        for number in range(self._settings.faults):
            await asyncio.sleep(self._settings.calm_s)
            name = names[number % len(names)]
            at = time.perf_counter()
            await kinds[name]()
            await self._served()
            took = time.perf_counter() - at
            self.faults.append((name, at - self._begin, took))
            say(
                f"  {number + 1} of {self._settings.faults}: {name}: served again after {took:.2f} s"
            )

    async def _pids(self) -> list[int]:
        """Give the processes of workers that have partitions: the death of another would be none."""
        return [one.pid for one in await self._backend.statuses() if one.partitions]

    async def _kill_worker(self) -> None:
        os.kill(self._random.choice(await self._pids()), signal.SIGKILL)
        self.deaths += 1

    async def _kill_both(self) -> None:
        for pid in (await self._pids())[:2]:
            os.kill(pid, signal.SIGKILL)
            self.deaths += 1

    async def _stop_worker(self) -> None:
        """Stop one until others have its partitions, and let it go on: it must find itself fenced, and end."""
        pid = self._random.choice(await self._pids())
        os.kill(pid, signal.SIGSTOP)
        self.deaths += 1
        asyncio.get_running_loop().call_later(PAUSE_S, os.kill, pid, signal.SIGCONT)

    async def _kill_controller(self) -> None:
        os.kill(await self._cluster.controller_pid(), signal.SIGKILL)

    async def _kill_redis(self) -> None:
        self._server.kill()
        await asyncio.to_thread(self._server.start)

    async def _stop_redis(self) -> None:
        pid = self._server.pid
        os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(2.0, os.kill, pid, signal.SIGCONT)

    async def _drain(self) -> None:
        await self._cluster.drain("w0", back=False)
        await asyncio.sleep(1.0)
        await self._cluster.drain("w0", back=True)

    async def _grow(self) -> None:
        index = len(self._cluster.workers)
        settle(Path(self._config.data_dir), PARTITIONS, index + 1, kind="redis")
        await self._cluster.grow(1, 60.0)

    async def _shrink(self) -> None:
        if len(self._cluster.workers) > WORKERS:
            await self._cluster.retire(self._cluster.workers[-1].index, 60.0)

    # ---- the end

    async def _settled(self) -> dict[str, object]:
        """Wait until nothing is queued, then hold counters and a recount against the law."""
        deadline = time.perf_counter() + DRAIN_S
        while True:
            law = (await self._backend.conservation("no")).law
            queued = sum(counts.get("queued", 0) for counts in law.values())
            accepted = sum(counts.get("accepted", 0) for counts in law.values())
            if not queued and accepted >= self._settings.messages:
                break
            if time.perf_counter() > deadline:
                say(f"  {queued} of {accepted} messages are still queued after {DRAIN_S:.0f} s")
                break
            await asyncio.sleep(0.5)
        told = await self._backend.conservation("start")
        while told.recount.state == "running":
            await asyncio.sleep(0.2)
            told = await self._backend.conservation("last")
        return {"law_holds": told.holds, "recount_agrees": told.recount.agrees, "law": str(law)}


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="veredus-chaos-"))
    server = RedisServer(folder / "redis")
    try:
        server.start()
        config = _configured(folder, server)
        chaos = Chaos(folder, config, settings, seed)
        # standard output is for results; Ray says there what becomes of workers
        with TwinProcess(folder / "twin") as twin, contextlib.redirect_stdout(sys.stderr):
            told = uvloop.run(chaos.run(server, twin.port))
        found = count(folder / "acknowledged", twin.received)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return _measured(chaos, found, told, config)


def _measured(
    chaos: Chaos, found: dict[str, int], told: dict[str, object], config: Config
) -> Measured:
    in_flight = config.limits_of("default").connections_max * config.delivery.in_doubt_max
    duplicates = plain("duplicates", "mails", [found["duplicates"]])
    results = [
        plain("faults", "", [len(chaos.faults)]),
        plain("lost", "mails", [found["lost"]]),
        msgspec.structs.replace(duplicates, ceiling=float(in_flight * chaos.deaths)),
        plain("recovery", "s", [took for _, _, took in chaos.faults]),
        *_by_kind(chaos.faults),
    ]
    log = {
        f"fault {number}, at {at:.0f} s": f"{name}: {took:.2f} s"
        for number, (name, at, took) in enumerate(chaos.faults, 1)
    }
    return Measured(results, found | told | log | {"partitions": PARTITIONS, "workers": WORKERS})


def _by_kind(faults: list[tuple[str, float, float]]) -> list[Result]:
    kinds: dict[str, list[float]] = {}
    for name, _, took in faults:
        kinds.setdefault(name, []).append(took)
    return [plain(f"recovery: {name}", "s", some) for name, some in sorted(kinds.items())]


def _configured(folder: Path, server: RedisServer) -> Config:
    host, _, port = server.address.rpartition(":")
    made = configure(folder, [SENDER], WORKERS)
    store = Store(
        kind="redis",
        partitions=PARTITIONS,
        free_mb_min=0,
        redis=Redis(addresses=(f"{host}:{port}",), timeout_ms=3000),
    )
    config = msgspec.structs.replace(made, store=store)
    settle(Path(config.data_dir), PARTITIONS, WORKERS, kind="redis")
    settle_in(store.redis, PARTITIONS)
    publish_variants(config, {SENDER: [Variant("small", 10)]})
    return config


def _inputs(number: int) -> list[Arrival]:
    """Make what brings about one mail: a contact with address and consent, and its order."""
    contact, now = f"c{number}", time.time_ns() // 1_000_000
    put = ContactPut({"email": _recipient(number), "name": f"Ann {number}"})
    return [
        Arrival(TENANT, contact, f"put{number}", 0, put),
        Arrival(TENANT, contact, f"consent{number}", 0, ConsentGiven("orders", True, 1, "bench")),
        Arrival(TENANT, contact, f"order{number}", now, Event("order.small", now, holes(number))),
    ]


def _recipient(number: int) -> str:
    return f"c{number}@d{number % 8}.example"


def _a_contact_each(partitions: int) -> list[str]:
    """Name a contact of each partition."""
    keyspace = Keyspace(partitions)
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"probe{number}"
        found.setdefault(keyspace.partition(contact_key(TENANT, name)), name)
        number += 1
    return [found[partition] for partition in sorted(found)]
