"""Case `autoscale`: nodes that come and go with the load, by Ray's own autoscaler, from our signal alone.

Workers over a Redis that syncs each write, on fake nodes of this machine (`bench.fake_nodes`), one worker a node, and a
twin in a process of its own. Since all share the machine's cores, what bounds a worker is the provider's latency: the
twin takes 50 ms for each of three replies of a mail, and a worker may open 20 connections to it, which is what a
provider allows one source; one source a worker. Mails are of 27 KB, signed with RSA-2048.

    alone       one worker has more than it can send, and nobody looks after scaling: what one gets done
    1x, 4x, 1x  a load that one carries, four times as much, the same as before
    throttled   the same, and a backlog for a provider whose rate is limited: it must not add a node

The bench never says how many workers or nodes there should be: `actors.instance.scaling` does, as in an instance, and
asks Ray's autoscaler for room. What four nodes get done is measured while they work off what had gathered until they
came. Lost and duplicates are counted by `bench.chaos_count` from two files.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from actors.backend import Arrival
from actors.cluster.placing import PlacementView
from actors.cluster.running import Cluster
from actors.cluster.views import Use
from actors.instance.backend import ClusterBackend
from actors.instance.scaling import Scaling, keep_scaled
from actors.worker.wire import WorkerStatus
from bench.autoscale_watch import Step, Watch, figures, timeline
from bench.chaos_count import count
from bench.content import holes
from bench.deployment import Sender, configure, worker_settings
from bench.fake_nodes import FakeNodes
from bench.frame import Measured, say
from bench.mailing import Variant, publish_variants
from bench.redis_server import RedisServer
from bench.twin_process import TwinProcess
from engine.config import Config, Limits, Store
from engine.errors import CapacityError, StoreError, VeredusError
from engine.redis_config import Redis
from engine.settings_cluster import Scaling as ScalingSettings
from engine.store.format import settle
from engine.store.redis_format import settle_in
from engine.vocabulary import ConsentGiven, ContactPut, Event

TENANT = "default"
SENDER = Sender(TENANT, "shop.example", "rsa-sha256")
PARTITIONS = 64
NODES = 4
CONNECTIONS = 20
REPLY_MS = 50
LOAD = 110.0
"""Mails a second of 1x: one worker can do 133, 20 connections at three replies of 50 ms a mail."""

ALONE = 200.0
THROTTLED = "throttled.example"
THROTTLED_PER_S = 40
LOT_S = 0.1
LOT_MAX = 200
"""What wasn't taken in time is given in lots of so many."""

FILL = 400
DRAIN_S = 120.0
BEGIN_S = 120.0
BUSY = 0.9
"""A machine of which so much is busy measures itself."""

TWIN = f"""\
[[provider]]
name = "far"
pace = {{ at_least_ms = {REPLY_MS}, at_most_ms = {REPLY_MS}, phases = ["rcpt", "data", "dot"] }}
"""


class Settings(msgspec.Struct, frozen=True):
    """How long each step is, s; and how large the backlog is that a provider throttles."""

    alone_s: float
    before_s: float
    high_s: float
    after_s: float
    throttled_s: float
    throttled: int
    quiet_s: float

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        if quick:
            return cls(6.0, 6.0, 32.0, 24.0, 12.0, 600, 4.0)
        return cls(12.0, 20.0, 90.0, 60.0, 40.0, 2000, 10.0)


class Autoscale:
    """One run."""

    def __init__(self, folder: Path, config: Config, settings: Settings) -> None:
        self._folder = folder
        self._config = config
        self._settings = settings
        self._next = 0
        self._filled = 0
        self.watch = Watch()
        self.law_holds = False

    async def run(self, port: int, nodes: FakeNodes) -> None:
        """Begin with one worker, load it step by step, and wait for the end.

        Raises: VeredusError: the first node didn't come.
        """
        config = self._config
        made = [msgspec.structs.replace(one, placed=True) for one in worker_settings(config, port)]
        cluster = Cluster(made)
        try:
            async with asyncio.timeout(BEGIN_S):
                await cluster.start()
        except TimeoutError as error:
            raise VeredusError(f"no node came in {BEGIN_S:.0f} s; {nodes.told()}") from error
        try:
            self._backend = ClusterBackend(config, cluster, "bench")
            scaling = Scaling(config, cluster, lambda: time.monotonic_ns() // 1_000_000)
            looking = asyncio.create_task(self.watch.look(cluster, scaling))
            await self._fill()
            await self._alone()
            scaled = asyncio.create_task(keep_scaled(self._backend, cluster, scaling, self._seen))
            await self._steps()
            await self._settled()
            for task in (scaled, looking):
                task.cancel()
            await scaling.close()
        finally:
            await cluster.stop()

    def _seen(
        self,
        statuses: Sequence[WorkerStatus],
        placement: PlacementView | None,
        uses: Sequence[Use],
        wanted: int,
    ) -> None:
        moving = len(placement.in_motion) if placement is not None else 0
        self.watch.workers(statuses, moving, THROTTLED)

    # ---- steps

    async def _alone(self) -> None:
        """Give one worker more than it can send, and let it finish."""
        await self._step("alone", ALONE, self._settings.alone_s)
        self.watch.steps[-1].queued_until = await self._sent()

    async def _steps(self) -> None:
        settings = self._settings
        await self._step("1x", LOAD, settings.before_s)
        await self._step("4x", 4 * LOAD, settings.high_s)
        await self._step("1x again", LOAD, settings.after_s)
        backlog = asyncio.create_task(self._backlog(settings.throttled))
        await self._step("throttled", LOAD, settings.throttled_s)
        await backlog

    async def _step(self, name: str, per_s: float, seconds: float) -> None:
        """Give events at a steady rate for a time, again until they are acknowledged."""
        begin, given = time.perf_counter(), 0
        self.watch.begin(Step(name, self.watch.now(), per_s))
        say(f"  {name}: {per_s:.0f} mails/s for {seconds:.0f} s")
        with (self._folder / "acknowledged").open("a", encoding="ascii") as file:
            while (passed := time.perf_counter() - begin) < seconds:
                due = int(passed * per_s) - given
                numbers = range(self._next, self._next + min(due, LOT_MAX))
                self._next = numbers.stop
                given += len(numbers)
                await self._insist([_order(n) for n in numbers])
                self.watch.gave(numbers)
                file.write("".join(f"{_recipient(n)}\n" for n in numbers))
                file.flush()
                await asyncio.sleep(max(LOT_S - (time.perf_counter() - begin - passed), 0))
        self.watch.steps[-1].end = self.watch.now()

    async def _backlog(self, number: int) -> None:
        """Give mails for a provider whose rate is limited, all at once."""
        told = [f"t{n}" for n in range(number)]
        for at in range(0, number, FILL):
            some = told[at : at + FILL]
            await self._insist(
                [one for name in some for one in _contact(name, f"{name}@{THROTTLED}")]
            )
            await self._insist([_event(name, n) for n, name in enumerate(some, at)])
            with (self._folder / "acknowledged").open("a", encoding="ascii") as file:
                file.write("".join(f"{name}@{THROTTLED}\n" for name in some))

    async def _fill(self) -> None:
        """Let all contacts exist, so that a mail is one event."""
        settings = self._settings
        calm = settings.before_s + settings.after_s + settings.throttled_s + 4 * settings.high_s
        total = int(LOAD * calm + ALONE * settings.alone_s) + 1000
        say(f"  {total} contacts")
        for at in range(0, total, FILL):
            numbers = range(at, at + FILL)
            await self._insist([one for n in numbers for one in _contact(f"c{n}", _recipient(n))])

    async def _insist(self, arrivals: list[Arrival]) -> None:
        while arrivals:
            try:
                results = await self._backend.admit(arrivals)
            except (CapacityError, StoreError):
                await asyncio.sleep(0.05)
                continue
            assert all(one.status in ("accepted", "duplicate") for one in results), results
            return

    # ---- the end

    async def _sent(self) -> float:
        """Wait until nothing is queued. Returns when that was."""
        deadline = time.perf_counter() + DRAIN_S
        while True:
            law = (await self._backend.conservation("no")).law
            if not sum(counts.get("queued", 0) for counts in law.values()):
                return self.watch.now()
            if time.perf_counter() > deadline:
                say(f"  mails are still queued after {DRAIN_S:.0f} s")
                return self.watch.now()
            await asyncio.sleep(0.1)

    async def _settled(self) -> None:
        await self._sent()
        self.law_holds = (await self._backend.conservation("no")).holds


def run(*, quick: bool, seed: int) -> Measured:
    """Measure. `seed` has no effect: nothing here is left to chance."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="veredus-autoscale-"))
    server = RedisServer(folder / "redis")
    try:
        server.start()
        (folder / "twin.toml").write_text(TWIN, "utf-8")
        with FakeNodes(NODES, idle_s=3.0) as nodes:
            config = _configured(folder, server, nodes.address, settings)
            case = Autoscale(folder, config, settings)
            with TwinProcess(folder / "twin", config=folder / "twin.toml") as twin:
                case.watch.others = [twin.pid, server.pid]
                with contextlib.redirect_stdout(sys.stderr):  # where Ray says what becomes of nodes
                    uvloop.run(case.run(twin.port, nodes))
        found = count(folder / "acknowledged", twin.received)
        case.watch.read(twin.received, _recipient)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    facts: dict[str, object] = {**found, "law_holds": case.law_holds, "partitions": PARTITIONS}
    facts |= {"connections_a_worker": CONNECTIONS, "reply_ms": REPLY_MS, "mails_a_second": LOAD}
    facts |= {"scaling": msgspec.to_builtins(config.scaling)}
    results = figures(case.watch, NODES, found)
    if (share := case.watch.busy(NODES)) > BUSY:
        facts["warning"] = told = (
            f"{share:.0%} of the machine's cores were busy while all nodes worked: "
            "efficiency and seconds_to_capacity say what the cores allowed, not how it scales"
        )
        say(f"  {told}")
    return Measured(results, facts, timeline(case.watch))


def _configured(folder: Path, server: RedisServer, ray: str, settings: Settings) -> Config:
    made = configure(folder, [SENDER], 1)
    store = Store(
        kind="redis",
        partitions=PARTITIONS,
        free_mb_min=0,
        redis=Redis(addresses=(server.address,), timeout_ms=3000),
    )
    workers = msgspec.structs.replace(
        made.workers, ray_address=ray, connections_max=CONNECTIONS, memory_free_mb_min=0
    )
    scaling = ScalingSettings(workers_max=NODES, quiet_s=settings.quiet_s, pause_s=2.0, node_s=60.0)
    limits = {
        "default": Limits(messages_per_s=1e6, burst=1_000_000, connections_max=1000),
        THROTTLED: Limits(messages_per_s=THROTTLED_PER_S, burst=THROTTLED_PER_S),
    }
    # the twin takes its time for each mail of a connection: more of them in flight would only queue there
    delivery = msgspec.structs.replace(made.delivery, in_doubt_max=1)
    config = msgspec.structs.replace(
        made, store=store, workers=workers, scaling=scaling, limits=limits, delivery=delivery
    )
    settle(Path(config.data_dir), PARTITIONS, 1, kind="redis")
    settle_in(store.redis, PARTITIONS)
    more = ", stream: transactional"
    publish_variants(config, {SENDER: [Variant("far", 27, more)]})
    return config


def _contact(name: str, address: str) -> list[Arrival]:
    put = ContactPut({"email": address, "name": name})
    consent = ConsentGiven("orders", True, 1, "bench")
    return [
        Arrival(TENANT, name, f"put {name}", 0, put),
        Arrival(TENANT, name, f"consent {name}", 0, consent),
    ]


def _order(number: int) -> Arrival:
    """Make what brings about one mail."""
    return _event(f"c{number}", number)


def _event(contact: str, number: int) -> Arrival:
    now = time.time_ns() // 1_000_000
    return Arrival(TENANT, contact, f"order {contact}", now, Event("order.far", now, holes(number)))


def _recipient(number: int) -> str:
    return f"c{number}@inbox.example"
