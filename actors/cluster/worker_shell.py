"""The actors that hold partitions and send: `Worker` and `EgressWorker` behind methods that decode and encode.

A method takes and returns bytes, one Struct each (`actors.worker.wire`). Nothing is decided here.
"""

from __future__ import annotations

__all__ = ("EgressShell", "WorkerShell")

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog

from actors.cluster.calls import called
from actors.cluster.controller import Registration, Role
from actors.cluster.node_list import NodeList, node_list_of
from actors.pacing_rules import flows_of, is_paced, options_of, rules_of
from actors.planning.records import DecisionQuestion, StoryQuestion
from actors.planning.walking import WalkQuestion
from actors.worker import wire
from actors.worker.assembly import Ports, senders_of
from actors.worker.holding import Holding, Placed
from actors.worker.leases import LeaseDesk, ask_for_ever
from actors.worker.pacing import PaceDesk, ask_pacer_for_ever
from deliverability.pacing.pacer import Pacer
from engine.errors import VeredusError
from engine.other_versions import decode_known
from engine.tick import Repair

if TYPE_CHECKING:
    from actors.worker.worker import Worker

log = structlog.get_logger()

REGISTER_TIMEOUT_S = 2.0


class WorkerShell:
    """What Ray runs: a `Worker` behind methods that decode and encode."""

    def __init__(self, settings: bytes, controller: Any) -> None:
        from actors.worker.worker import Worker

        made, self._list = _prepared(settings, controller)
        self._leases = _leases(made, "w") if made.config.workers.roles == "fused" else None
        self._leasing: asyncio.Task[None] | None = None
        self._pace = _pace(made, "w") if made.config.workers.roles == "fused" else None
        self._worker = Worker(made, Ports(leases=self._leases, pace=self._pace))
        self._reporting: asyncio.Task[None] | None = None
        self._role: Role = "state" if made.config.workers.roles == "split" else "fused"
        self._controller = controller

    async def start(self) -> bytes:
        """Start, or say hello again. Idempotent."""
        if self._list is not None:
            await self._list.ready()
        hello = await self._worker.start(self._known)
        if self._leasing is None:
            self._leasing = _keep_asking(self._leases, self._pace, self._controller)
        if self._worker.holding is not None and self._reporting is None:
            reporting = _keep_reporting(self._worker, self._worker.holding, self._controller)
            self._reporting = asyncio.get_running_loop().create_task(reporting)
        return wire.encode(hello)

    async def _known(self, hello: wire.Hello) -> None:
        await _register(self._controller, self._role, hello)

    async def connect(self, handles: dict[int, Any], index: int, egress: Any) -> None:
        """Hear of the other workers, which of them this is, and the egress, if it is another actor. Idempotent."""
        peers = {n: _peer(handle) for n, handle in handles.items()}
        calls = _EgressByRay(egress, handles[index]) if egress is not None else None
        await self._worker.connect(peers, calls)

    async def outcomes(self, raw: bytes) -> None:
        """Take outcomes of the egress; answers at once, before they are durable. Idempotent."""
        self._worker.hear(raw)

    async def admit(self, raw: bytes) -> bytes:
        """Take inputs; idempotent by input id."""
        return wire.encode(await self._worker.admit(wire.decode(wire.AdmitBatch, raw)))

    async def tell(self, raw: bytes) -> bytes:
        """Take Tells; idempotent by number."""
        return wire.encode(await self._worker.tell(wire.decode(wire.Tells, raw)))

    async def state(self, raw: bytes) -> bytes:
        """Show an entity."""
        return wire.encode(
            (await self._worker.durable()).reading.state(wire.decode(wire.StateQuestion, raw))
        )

    async def states(self, raw: bytes) -> bytes:
        """Show several entities."""
        return wire.encode(
            (await self._worker.durable()).reading.states(wire.decode(wire.StatesQuestion, raw))
        )

    async def feed(self, raw: bytes) -> bytes:
        """Read the feed."""
        return wire.encode(
            (await self._worker.durable()).reading.feed(wire.decode(wire.FeedQuestion, raw))
        )

    async def quarantine(self, raw: bytes) -> bytes:
        """List or show inputs in quarantine."""
        question = wire.decode(wire.QuarantineQuestion, raw)
        return wire.encode((await self._worker.durable()).reading.quarantine(question))

    async def repair(self, raw: bytes) -> bytes:
        """Replay or drop an input in quarantine; asking again is harmless."""
        return wire.encode(await self._worker.repair(wire.decode(Repair, raw)))

    async def recount(self, start: int) -> bytes:
        """Count everything anew, or tell how that stands. Idempotent."""
        return wire.encode(await self._worker.recount(start=bool(start)))

    async def blobs(self, start: int) -> bytes:
        """Look which blobs are needed, or tell how that stands. Idempotent."""
        return wire.encode(await self._worker.blobs(start=bool(start)))

    async def queues(self, tenant: str) -> bytes:
        """List queues of a tenant."""
        return wire.encode(await (await self._worker.durable()).reading.queues(tenant))

    async def selected(self, raw: bytes) -> bytes:
        """Tell what a selection of queued messages meets."""
        question = wire.decode(wire.QueueQuestion, raw)
        return wire.encode(await (await self._worker.durable()).reading.selected(question))

    async def doubts(self, tenant: str, limit: int) -> bytes:
        """List messages held in doubt."""
        return wire.encode((await self._worker.durable()).reading.doubts(tenant, limit))

    async def pass_time(self, now: int, raw: bytes) -> bytes:
        """In a replay: take inputs at a time, and let all happen that is due then. Idempotent."""
        batch = wire.decode(wire.AdmitBatch, raw) if raw else None
        return wire.encode(await self._worker.pass_time(now, batch))

    async def walk(self, raw: bytes) -> bytes:
        """Look at some contacts for a run; asking again is harmless."""
        return wire.encode(await self._worker.walk(wire.decode(WalkQuestion, raw)))

    async def decisions(self, raw: bytes) -> bytes:
        """Tell what was decided about an entity."""
        question = wire.decode(DecisionQuestion, raw)
        return wire.encode((await self._worker.durable()).reading.decisions(question))

    async def stories(self, raw: bytes) -> bytes:
        """Give some contacts with their events."""
        return wire.encode(
            (await self._worker.durable()).reading.stories(wire.decode(StoryQuestion, raw))
        )

    async def publish(self) -> int:
        """Look for a newer catalog. Idempotent."""
        return await self._worker.publish()

    async def home(self) -> str:
        """Name the node that this runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    async def status(self) -> bytes:
        """Tell where the worker stands."""
        return wire.encode(self._worker.status())

    async def stop(self) -> None:
        """Drain and close. Idempotent."""
        await self._worker.stop()
        if self._list is not None:
            self._list.stop()


class EgressShell:
    """What Ray runs: an `EgressWorker`. Whichever call comes first starts it, in each life."""

    def __init__(self, settings: bytes, controller: Any) -> None:
        from actors.worker.egress_worker import EgressWorker

        made, self._list = _prepared(settings, controller)
        self._leases = _leases(made, "e")
        self._pace = _pace(made, "e")
        self._leasing: asyncio.Task[None] | None = None
        self._worker = EgressWorker(made, self._leases, self._pace)
        self._controller = controller
        self._registered: asyncio.Task[None] | None = None

    async def start(self) -> bytes:
        """Start, or say hello again. Idempotent."""
        await self._list_is_here()
        hello = self._worker.start()
        if self._registered is None:
            made = _register(self._controller, "egress", hello)
            self._registered = asyncio.get_running_loop().create_task(made)
        # what a death left is known before anybody builds on it
        await asyncio.shield(self._registered)
        if self._leasing is None:
            self._leasing = _keep_asking(self._leases, self._pace, self._controller)
        return wire.encode(hello)

    async def greet(self, raw: bytes, owner: Any) -> bytes:
        """Say which life this is; tell the owner outcomes from now on. Idempotent."""
        await self.start()

        async def push(news: bytes) -> None:
            await owner.outcomes.remote(news)

        return await self._worker.greet(raw, push)

    async def call(self, raw: bytes) -> bytes:
        """Answer a request of a state worker at once; one that failed may have happened."""
        await self._list_is_here()
        return await self._worker.call(raw)

    async def publish(self) -> int:
        """Look for a newer catalog. Idempotent."""
        await self._list_is_here()
        return self._worker.publish()

    async def status(self) -> bytes:
        """Tell where the egress stands."""
        await self._list_is_here()
        return wire.encode(self._worker.status())

    async def stop(self) -> None:
        """Drain and close. Idempotent."""
        await self._worker.stop()
        if self._list is not None:
            self._list.stop()

    async def _list_is_here(self) -> None:
        """Whichever call comes first begins the copy of the suppression list too."""
        if self._list is not None:
            await self._list.ready()


def _leases(settings: wire.WorkerSettings, role: str) -> LeaseDesk | None:
    """Make what asks for leases; None for one alone, which has all, and in a replay, where shares are equal."""
    senders = senders_of(settings) if role == "e" else settings.count
    alone = senders < 2 and not settings.placed  # where partitions move, others may come
    if alone or settings.log_time is not None:
        return None
    return LeaseDesk(f"{role}{settings.index}", settings.config.workers.connections_max)


def _pace(settings: wire.WorkerSettings, role: str) -> PaceDesk | None:
    """Make what asks the pacer; in a replay each sender has a part of one, on the log's time."""
    if not is_paced(settings.config):
        return None
    name = f"{role}{settings.index}"
    if settings.log_time is None:
        return PaceDesk(name, None, flows_of(settings.config))
    senders = senders_of(settings) if role == "e" else settings.count
    options = options_of(settings.config, senders)
    pacer = Pacer(rules_of(settings.config), options, settings.log_time)
    return PaceDesk(name, pacer.ask, options.flows)


def _keep_asking(
    leases: LeaseDesk | None, pace: PaceDesk | None, controller: Any
) -> asyncio.Task[None]:
    """Ask governor and pacer as long as this process lives."""

    async def lease(raw: bytes) -> bytes:
        answer: bytes = await called(controller.lease.remote(raw), "the governor")
        return answer

    async def paced(raw: bytes) -> bytes:
        answer: bytes = await called(controller.pace.remote(raw), "the pacer")
        return answer

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            if leases is not None:
                tasks.create_task(ask_for_ever(leases, lease))
            if pace is not None and not pace.is_alone:
                tasks.create_task(ask_pacer_for_ever(pace, paced))

    return asyncio.get_running_loop().create_task(both())


async def _keep_reporting(worker: Worker, holding: Holding, controller: Any) -> None:
    """Say what is held, and follow the answer; a controller that is away leaves everything as it is."""
    while True:
        raw = wire.encode((holding.report(), holding.table.version))
        try:
            async with asyncio.timeout(REGISTER_TIMEOUT_S):
                answer = await called(controller.report.remote(raw), "the controller")
                worker.place(wire.decode(Placed, answer))
        except (TimeoutError, VeredusError) as error:
            log.info("controller_away", error=repr(error)[:200])
            await asyncio.sleep(0.5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(holding.beat_s):
                await worker.changed()


def _prepared(settings: bytes, controller: Any) -> tuple[wire.WorkerSettings, NodeList | None]:
    """Read a worker's settings and make its process ready: log, garbage collector, the node's suppression list."""
    from actors.log import configure
    from actors.worker.collector import tune_collector

    made = decode_known(settings, wire.WorkerSettings)  # `up` may be newer, in a rolling upgrade
    configure(made.config.log.level, "json")
    tune_collector()
    node_list = node_list_of(made, controller)
    return (made if node_list is None else node_list.settings), node_list


async def _register(controller: Any, role: Role, hello: wire.Hello) -> None:
    """Tell the controller of a new life; a controller that is away doesn't keep anybody from working."""
    import ray

    one = Registration(
        role,
        hello.index,
        hello.incarnation,
        hello.pid,
        hello.in_the_air,
        hello.concluded,
        hello.never_begun,
    )
    myself = ray.get_runtime_context().current_actor
    try:
        async with asyncio.timeout(REGISTER_TIMEOUT_S):
            await controller.register.remote(wire.encode(one), [myself])
    except Exception as error:  # noqa: BLE001 -- whatever it was, the controller hears of the next life
        log.warning("not_registered", worker=one.name, error=repr(error)[:200])


class _EgressByRay:
    """Reaches an egress actor. Calls raise what Ray raises."""

    def __init__(self, egress: Any, owner: Any) -> None:
        self._egress = egress
        self._owner = owner

    async def greet(self, raw: bytes) -> bytes:
        answer: bytes = await self._egress.greet.remote(raw, self._owner)
        return answer

    async def call(self, raw: bytes) -> bytes:
        answer: bytes = await self._egress.call.remote(raw)
        return answer


def _peer(handle: Any) -> Any:
    async def tell(raw: bytes) -> bytes:
        answer: bytes = await handle.tell.remote(raw)
        return answer

    return tell
