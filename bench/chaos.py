"""Case `chaos`: what operators fear, on purpose, under load: nothing acknowledged is lost, and how long it takes.

Workers on a Ray of several nodes whose GCS lies in Redis, over a Redis that syncs each write and its replica that is
awaited, behind a Sentinel; a twin in a process of its own; proxies before Redis and twin; and events at a steady rate,
each of which sends one mail to a recipient of its own. Every few seconds something is killed, stopped, cut, slowed,
filled or moved (`bench.chaos_faults`). A fault's *recovery* is the time until an input for each partition is
acknowledged again. In the end everything must have arrived: lost and duplicates are counted by `bench.chaos_count`
from what the intake acknowledged and what the twin accepted, and the law must hold, by counters and by a recount of
everything stored.

The ceiling of `duplicates` is what may have been in the air: connections x messages in flight on each, for each death
of a worker and each time its sockets were cut. The governor lives in the controller's process.
"""

from __future__ import annotations

__all__ = ("contact_each", "run")

import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import uvloop

from actors.backend import Arrival, Conservation
from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from bench.chaos_count import count
from bench.chaos_faults import Faults, Scene
from bench.chaos_world import MASTER, RayNodes, RedisPair, SmallDisk
from bench.content import holes
from bench.deployment import Sender, configure, worker_settings
from bench.frame import Measured, Result, plain, say
from bench.mailing import Variant, publish_variants
from bench.proxy import Proxy
from bench.twin_process import TwinProcess
from engine.config import Config, Store
from engine.errors import CapacityError, StoreError, VeredusError
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
DATA_MB, REDIS_MB = 256, 4096
WATCH_S = 1.0
DRAIN_S = 180.0


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    messages: int
    rate: float
    rounds: int  # of all faults
    calm_s: float  # between two faults

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        return cls(6_000, 40.0, 1, 1.0) if quick else cls(200_000, 300.0, 2, 3.0)


class Chaos:
    """One run."""

    def __init__(self, folder: Path, settings: Settings, seed: int) -> None:
        self._folder = folder
        self._settings = settings
        self._random = random.Random(seed)
        self._begin = time.perf_counter()
        self.given = 0
        self._striking = True
        self.faults: list[tuple[str, float, float]] = []
        """What was done, when (s), and how long until all partitions were served again (s)."""
        self.doubts = 0
        """How often all that was in the air of one worker may have come to be in doubt."""

    async def run(self, config: Config, world: World) -> dict[str, object]:
        """Load, faults, and the end."""
        settings = [
            msgspec.structs.replace(one, placed=True)
            for one in worker_settings(config, world.smtp.port)
        ]
        cluster = Cluster(settings)
        await cluster.start()
        myself = asyncio.current_task()
        assert myself is not None, "this runs as a task"
        # whoever ends us lets us end what we began; Ray has just set a handler of its own
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, myself.cancel)
        try:
            self._cluster = cluster
            self._backend = ClusterBackend(config, cluster, "bench")
            self._probes = contact_each(config.store.partitions)
            await self._served()
            scene = Scene(cluster, self._backend, config, *world, WORKERS)
            faults = Faults(scene, self._random)
            watching = asyncio.get_running_loop().create_task(self._watch())
            loading = asyncio.get_running_loop().create_task(self._load())
            await self._strike(faults)
            self.doubts = faults.doubts
            self._striking = False
            await loading
            told = await self._settled()
            watching.cancel()
            return told
        finally:
            await cluster.stop()

    async def _watch(self) -> None:
        """Look at all workers as `up` does: one that was restarted begins when it is asked."""
        while True:
            with contextlib.suppress(VeredusError):
                await self._backend.statuses()
            await asyncio.sleep(WATCH_S)

    # ---- load

    async def _load(self) -> None:
        """Give events at a steady rate, as long as there are faults; again until they are acknowledged.

        Writes down those that are.
        """
        settings = self._settings
        with (self._folder / "acknowledged").open("a", encoding="ascii") as file:
            begin = time.perf_counter()
            while self.given < settings.messages or self._striking:
                ahead = self.given / settings.rate - (time.perf_counter() - begin)
                if ahead > 0:
                    await asyncio.sleep(ahead)
                numbers = range(self.given, self.given + LOT)
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

    async def _strike(self, faults: Faults) -> None:
        kinds = faults.kinds()
        names = list(kinds)
        for number in range(self._settings.rounds * len(names)):
            await asyncio.sleep(self._settings.calm_s)
            name = names[number % len(names)]
            at = time.perf_counter()
            await kinds[name]()
            await self._served()
            took = time.perf_counter() - at
            self.faults.append((name, at - self._begin, took))
            say(f"  {number + 1}: {name}: served again after {took:.2f} s")
        await faults.over()

    # ---- the end

    async def _settled(self) -> dict[str, object]:
        """Wait until nothing is queued, then hold counters and a recount against the law."""
        deadline = time.perf_counter() + DRAIN_S
        while True:
            law = (await self._backend.conservation("no")).law
            queued = sum(counts.get("queued", 0) for counts in law.values())
            accepted = sum(counts.get("accepted", 0) for counts in law.values())
            if not queued and accepted >= self.given:
                break
            if time.perf_counter() > deadline:
                say(f"  {queued} of {accepted} messages are still queued after {DRAIN_S:.0f} s")
                break
            await asyncio.sleep(0.5)
        told = await self._counted("start")
        while told.recount.state == "running":
            await asyncio.sleep(0.2)
            told = await self._counted("last")
        return {"law_holds": told.holds, "recount_agrees": told.recount.agrees, "law": str(law)}

    async def _counted(self, recount: Literal["last", "start"]) -> Conservation:
        """Ask for law and recount, again while nobody can be asked."""
        while True:
            try:
                return await self._backend.conservation(recount)
            except (CapacityError, StoreError):
                say(f"  nobody counts; owners are {sorted(set(self._owners()))}")
                await asyncio.sleep(0.5)

    def _owners(self) -> list[str]:
        table = self._cluster.table
        return [] if table is None else table.owners


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="vr-"))  # short: sockets lie below some
    try:
        with contextlib.ExitStack() as ending:
            twin = ending.enter_context(TwinProcess(folder / "twin"))
            world = _world(folder, ending, twin.port)
            config = _configured(folder, world)
            chaos = Chaos(folder, settings, seed)
            # standard output is for results; Ray says there what becomes of workers
            with contextlib.redirect_stdout(sys.stderr):
                told = uvloop.run(chaos.run(config, world))
        found = count(folder / "acknowledged", twin.received)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _measured(chaos, found, told, config)


class World(NamedTuple):
    """What the workers stand on."""

    redis: RedisPair
    nodes: RayNodes
    smtp: Proxy
    data_disk: SmallDisk
    redis_disk: SmallDisk


def _world(folder: Path, ending: contextlib.ExitStack, twin_port: int) -> World:
    data = ending.enter_context(SmallDisk(folder / "data", DATA_MB))
    disk = ending.enter_context(SmallDisk(folder / "redis-0", REDIS_MB))
    say(f"  disks of their own: {data.there and disk.there}")
    places = (folder / "redis-0" / "server", folder / "redis-1")
    redis = ending.enter_context(RedisPair(places, folder / "sentinel"))
    nodes = ending.enter_context(RayNodes(folder / "gcs", WORKERS + 1))
    return World(redis, nodes, ending.enter_context(Proxy(twin_port)), data, disk)


def _measured(
    chaos: Chaos, found: dict[str, int], told: dict[str, object], config: Config
) -> Measured:
    in_flight = config.limits_of("default").connections_max * config.delivery.in_doubt_max
    duplicates = plain("duplicates", "mails", [found["duplicates"]])
    results = [
        plain("faults", "", [len(chaos.faults)]),
        plain("lost", "mails", [found["lost"]]),
        msgspec.structs.replace(duplicates, ceiling=float(in_flight * chaos.doubts)),
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


def _configured(folder: Path, world: World) -> Config:
    made = configure(folder, [SENDER], WORKERS)
    redis = Redis(
        topology="sentinel",
        addresses=(world.redis.address,),
        sentinel_master=MASTER,
        replicas_min=1,
        timeout_ms=3000,
    )
    store = Store(kind="redis", partitions=PARTITIONS, free_mb_min=0, redis=redis)
    workers = msgspec.structs.replace(made.workers, ray_address=world.nodes.address)
    config = msgspec.structs.replace(made, store=store, workers=workers)
    settle(Path(config.data_dir), PARTITIONS, WORKERS, kind="redis")
    world.redis.whole()
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


def contact_each(partitions: int) -> list[str]:
    """Name a contact of each partition."""
    keyspace = Keyspace(partitions)
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"probe{number}"
        found.setdefault(keyspace.partition(contact_key(TENANT, name)), name)
        number += 1
    return [found[partition] for partition in sorted(found)]
