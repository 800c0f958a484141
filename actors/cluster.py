"""The only module that speaks with Ray: which actors there are, with which options, and typed handles to them.

A method of an actor takes and returns bytes, one Struct each (`actors.worker.wire`). No call waits for the credit
or durability of another worker. Calls aren't retried by Ray (`max_task_retries=0`): our ids make repetition
harmless, and the caller decides. A worker that died is restarted by Ray; the caller hears `WorkerLostError`, says
`start` again, and goes on.
"""

from __future__ import annotations

__all__ = ("Cluster", "WorkerHandle", "WorkerLostError")

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from actors.cluster_views import NodeView, Use
from actors.controller import Controller, ControllerView, Registration, Role
from actors.governing import GoverningDesk, budgets_of
from actors.pacing_desk import PacingQuestion, pacing_desk_of
from actors.pacing_rules import is_paced, options_of, rules_of
from actors.pacing_views import PacingView
from actors.placing import PlacementView, PlacingDesk
from actors.planning.records import (
    DecisionAnswer,
    DecisionQuestion,
    StoryAnswer,
    StoryQuestion,
)
from actors.planning.walking import WalkAnswer, WalkQuestion
from actors.worker import wire
from actors.worker.assembly import Ports, limits_of, senders_of
from actors.worker.holding import Holding, Placed
from actors.worker.leases import LeaseDesk, ask_for_ever
from actors.worker.pacing import PaceDesk, ask_pacer_for_ever
from deliverability.governor import Limit
from deliverability.leasing.terms import Ask
from deliverability.pacing.exchange import PaceAsk
from deliverability.pacing.pacer import Pacer
from engine.config import Config
from engine.errors import RefusedError, VeredusError
from engine.placement.steward import Report, Table
from engine.tick import Repair

if TYPE_CHECKING:
    from actors.worker.worker import Worker

log = structlog.get_logger()

RESTART_WAIT_S = 30.0
REGISTER_TIMEOUT_S = 2.0
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}

WORKER_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,  # one a core by our own count; Ray's accounting would only refuse what fits
    "max_restarts": -1,
    "max_task_retries": 0,
    "max_concurrency": 1000,
    "max_pending_calls": 2000,
}


class WorkerLostError(VeredusError):
    """The worker died or couldn't be reached: the call may have happened. Say `start`, then call again."""


class WorkerShell:
    """What Ray runs: a `Worker` behind methods that decode and encode."""

    def __init__(self, settings: bytes, controller: Any) -> None:
        from actors.worker.worker import Worker

        made = _prepared(settings)
        self._leases = _leases(made, "w") if made.config.workers.roles == "fused" else None
        self._leasing: asyncio.Task[None] | None = None
        self._pace = _pace(made, "w") if made.config.workers.roles == "fused" else None
        self._worker = Worker(made, Ports(leases=self._leases, pace=self._pace))
        self._reporting: asyncio.Task[None] | None = None
        self._role: Role = "state" if made.config.workers.roles == "split" else "fused"
        self._controller = controller

    async def start(self) -> bytes:
        """Start, or say hello again. Idempotent."""
        hello = await self._worker.start(self._known)
        if self._leasing is None:
            self._leasing = _keep_asking(self._leases, self._pace, self._controller)
        if self._worker.holding is not None and self._reporting is None:
            reporting = _keep_reporting(self._worker, self._worker.holding, self._controller)
            self._reporting = asyncio.get_running_loop().create_task(reporting)
        return wire.encode(hello)

    async def _known(self, hello: wire.Hello) -> None:
        await _register(self._controller, self._role, hello)

    async def connect(self, handles: list[Any], index: int, egress: Any) -> None:
        """Hear of the other workers, which of them this is, and the egress, if it is another actor. Idempotent."""
        peers = {n: _peer(handle) for n, handle in enumerate(handles)}
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
        return wire.encode(await self._worker.state(wire.decode(wire.StateQuestion, raw)))

    async def states(self, raw: bytes) -> bytes:
        """Show several entities."""
        return wire.encode(await self._worker.states(wire.decode(wire.StatesQuestion, raw)))

    async def feed(self, raw: bytes) -> bytes:
        """Read the feed."""
        return wire.encode(await self._worker.feed(wire.decode(wire.FeedQuestion, raw)))

    async def quarantine(self, raw: bytes) -> bytes:
        """List or show inputs in quarantine."""
        question = wire.decode(wire.QuarantineQuestion, raw)
        return wire.encode(await self._worker.quarantine(question))

    async def repair(self, raw: bytes) -> bytes:
        """Replay or drop an input in quarantine; asking again is harmless."""
        return wire.encode(await self._worker.repair(wire.decode(Repair, raw)))

    async def recount(self, start: int) -> bytes:
        """Count everything anew, or tell how that stands. Idempotent."""
        return wire.encode(await self._worker.recount(start=bool(start)))

    async def queues(self, tenant: str) -> bytes:
        """List queues of a tenant."""
        return wire.encode(await self._worker.queues(tenant))

    async def selected(self, raw: bytes) -> bytes:
        """Tell what a selection of queued messages meets."""
        question = wire.decode(wire.QueueQuestion, raw)
        return wire.encode(await self._worker.selected(question))

    async def doubts(self, tenant: str, limit: int) -> bytes:
        """List messages held in doubt."""
        return wire.encode(await self._worker.doubts(tenant, limit))

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
        return wire.encode(await self._worker.decisions(question))

    async def stories(self, raw: bytes) -> bytes:
        """Give some contacts with their events."""
        return wire.encode(await self._worker.stories(wire.decode(StoryQuestion, raw)))

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


class EgressShell:
    """What Ray runs: an `EgressWorker`. Whichever call comes first starts it, in each life."""

    def __init__(self, settings: bytes, controller: Any) -> None:
        from actors.worker.egress_worker import EgressWorker

        made = _prepared(settings)
        self._leases = _leases(made, "e")
        self._pace = _pace(made, "e")
        self._leasing: asyncio.Task[None] | None = None
        self._worker = EgressWorker(made, self._leases, self._pace)
        self._controller = controller
        self._registered: asyncio.Task[None] | None = None

    async def start(self) -> bytes:
        """Start, or say hello again. Idempotent."""
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
        return await self._worker.call(raw)

    async def publish(self) -> int:
        """Look for a newer catalog. Idempotent."""
        return self._worker.publish()

    async def status(self) -> bytes:
        """Tell where the egress stands."""
        return wire.encode(self._worker.status())

    async def stop(self) -> None:
        """Drain and close. Idempotent."""
        await self._worker.stop()


class ControllerShell:
    """What Ray runs: the `Controller`, and the governor beside it."""

    def __init__(
        self,
        folder: str,
        run: int,
        partitions: int,
        owners: int,
        senders: int,
        limits: bytes,
        *,
        placed: bool,
        config: bytes = b"",
    ) -> None:
        self._controller = Controller(Path(folder), run, partitions, owners, senders)
        budget_of = budgets_of(wire.decode(list[Limit], limits))
        mono_ms = lambda: time.monotonic_ns() // 1_000_000  # noqa: E731
        self._governor = GoverningDesk(Path(folder), run, budget_of, mono_ms)
        wall_ms = lambda: time.time_ns() // 1_000_000  # noqa: E731
        decoded = msgspec.msgpack.decode(config, type=Config) if config else None
        self._pacing = pacing_desk_of(Path(folder), decoded, wall_ms) if decoded else None
        names = [f"w{number}" for number in range(owners)]
        self._placing = PlacingDesk(Path(folder), partitions, names, mono_ms) if placed else None

    async def report(self, raw: bytes) -> bytes:
        """Hear what a worker holds; answer with orders. Repeated or late ones have no effect."""
        report, version = wire.decode(tuple[Report, int], raw)
        return wire.encode(self._placer().report(report, version))

    async def placement(self) -> bytes:
        """Tell who owns what."""
        placing = self._placing
        if placing is None:
            return wire.encode(None)
        placing.look()
        return wire.encode(placing.view())

    async def drain(self, worker: str, back: int) -> None:
        """Take all partitions from a worker, or let it have some again. Idempotent."""
        self._placer().drain(worker, back=bool(back))

    async def rebalance(self) -> int:
        """Place by load. Returns how many partitions will move."""
        return self._placer().rebalance()

    def _placer(self) -> PlacingDesk:
        if self._placing is None:
            raise RefusedError(
                "partitions of this instance don't move: each worker has a store of its own",
                mend='store.kind = "redis" lets them',
            )
        return self._placing

    async def lease(self, raw: bytes) -> bytes:
        """Answer an egress that asks for leases. A repeated or late question has no answer and no effect."""
        return wire.encode(self._governor.ask(wire.decode(Ask, raw)))

    async def pace(self, raw: bytes) -> bytes:
        """Answer a sender that asks for messages to start. A repeated or late question has no answer and no effect."""
        assert self._pacing is not None, "who asks is paced"
        return wire.encode(self._pacing.ask(wire.decode(PaceAsk, raw)))

    async def pacing(self, raw: bytes) -> bytes:
        """Tell how lanes are doing, and hear what feedback says of them."""
        question = wire.decode(PacingQuestion, raw)
        view = self._pacing.tell(question) if self._pacing is not None else PacingView(on=False)
        return wire.encode(view)

    async def budgets(self) -> bytes:
        """Tell how much of each limit is promised."""
        return wire.encode(self._governor.uses())

    async def register(self, raw: bytes, workers: list[Any]) -> bytes:
        """Hear of a worker's life, with its handle. Idempotent."""
        registration = wire.decode(Registration, raw)
        worker = workers[0]
        self._governor.begins(registration.name, registration.incarnation)

        async def publish() -> int:
            version: int = await worker.publish.remote()
            return version

        return wire.encode(self._controller.register(registration, publish))

    async def publish(self, version: int) -> dict[str, int]:
        """Let all workers look for a catalog. Idempotent."""
        return await self._controller.publish(version)

    async def view(self) -> bytes:
        """Tell everything."""
        return wire.encode(self._controller.view())


def _leases(settings: wire.WorkerSettings, role: str) -> LeaseDesk | None:
    """Make what asks for leases; None for one alone, which has all, and in a replay, where shares are equal."""
    senders = senders_of(settings) if role == "e" else settings.count
    if senders < 2 or settings.log_time is not None:
        return None
    return LeaseDesk(f"{role}{settings.index}")


def _pace(settings: wire.WorkerSettings, role: str) -> PaceDesk | None:
    """Make what asks the pacer; in a replay each sender has a part of one, on the log's time."""
    if not is_paced(settings.config):
        return None
    name = f"{role}{settings.index}"
    if settings.log_time is None:
        return PaceDesk(name, None)
    senders = senders_of(settings) if role == "e" else settings.count
    options = options_of(settings.config, senders)
    return PaceDesk(name, Pacer(rules_of(settings.config), options, settings.log_time).ask)


def _keep_asking(
    leases: LeaseDesk | None, pace: PaceDesk | None, controller: Any
) -> asyncio.Task[None]:
    """Ask governor and pacer as long as this process lives."""

    async def lease(raw: bytes) -> bytes:
        answer: bytes = await _called(controller.lease.remote(raw), "the governor")
        return answer

    async def paced(raw: bytes) -> bytes:
        answer: bytes = await _called(controller.pace.remote(raw), "the pacer")
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
                answer = await _called(controller.report.remote(raw), "the controller")
                worker.place(wire.decode(Placed, answer))
        except (TimeoutError, VeredusError) as error:
            log.info("controller_away", error=repr(error)[:200])
            await asyncio.sleep(0.5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(holding.beat_s):
                await worker.changed()


def _prepared(settings: bytes) -> wire.WorkerSettings:
    """Read a worker's settings and make its process ready: log, garbage collector."""
    from actors.log import configure
    from actors.worker.collector import tune_collector

    made: wire.WorkerSettings = wire.decode(wire.WorkerSettings, settings)
    configure(made.config.log.level, "json")
    tune_collector()
    return made


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


class WorkerHandle:
    """A typed handle to one worker. Every call may raise `WorkerLostError`."""

    def __init__(self, actor: Any, index: int) -> None:
        self.actor = actor
        self.index = index

    async def start(self) -> wire.Hello:
        """Start it, or hear hello from its present life; waits for a restart under way."""
        deadline = asyncio.get_running_loop().time() + RESTART_WAIT_S
        while True:
            try:
                hello: wire.Hello = await self._ask(wire.Hello, self.actor.start)
            except WorkerLostError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return hello

    async def connect(self, handles: Sequence[WorkerHandle], egress: WorkerHandle | None) -> None:
        """Tell it of its peers, and of its egress if that is another actor."""
        sender = egress.actor if egress is not None else None
        peers = [handle.actor for handle in handles]
        await self._call(self.actor.connect, peers, self.index, sender)

    async def admit(self, items: list[wire.WireArrival]) -> wire.AdmitAnswer:
        """Give it inputs; answers when durable."""
        batch = wire.AdmitBatch(items)
        answer: wire.AdmitAnswer = await self._ask(
            wire.AdmitAnswer, self.actor.admit, wire.encode(batch)
        )
        return answer

    async def pass_time(self, now: int, items: list[wire.WireArrival]) -> wire.WorkerStatus:
        """In a replay: give it inputs at a time, and let all happen that is due then."""
        raw = wire.encode(wire.AdmitBatch(items)) if items else b""
        status: wire.WorkerStatus = await self._ask(
            wire.WorkerStatus, self.actor.pass_time, now, raw
        )
        return status

    async def state(self, key: bytes, *, story: bool = False) -> bytes:
        """Give an entity's view as JSON, of a message with its whole story if wanted; empty when there is none."""
        raw = wire.encode(wire.StateQuestion(key, story))
        answer: wire.StateAnswer = await self._ask(wire.StateAnswer, self.actor.state, raw)
        return answer.body

    async def states(self, keys: Sequence[bytes]) -> list[bytes]:
        """Give the views of several entities as JSON; empty where there is none."""
        raw = wire.encode(wire.StatesQuestion(list(keys)))
        answer: wire.StatesAnswer = await self._ask(wire.StatesAnswer, self.actor.states, raw)
        return answer.bodies

    async def feed(self, position: int, n: int, limit: int) -> wire.FeedAnswer:
        """Read its feed behind a place."""
        raw = wire.encode(wire.FeedQuestion(position, n, limit))
        answer: wire.FeedAnswer = await self._ask(wire.FeedAnswer, self.actor.feed, raw)
        return answer

    async def quarantine(self, question: wire.QuarantineQuestion) -> wire.QuarantineAnswer:
        """List or show inputs in its quarantine."""
        answer: wire.QuarantineAnswer = await self._ask(
            wire.QuarantineAnswer, self.actor.quarantine, wire.encode(question)
        )
        return answer

    async def repair(self, repair: Repair) -> str:
        """Replay or drop an input in quarantine; answers when durable: "" or why not."""
        answer: wire.RepairAnswer = await self._ask(
            wire.RepairAnswer, self.actor.repair, wire.encode(repair)
        )
        return answer.told

    async def recount(self, *, start: bool) -> wire.RecountAnswer:
        """Let it count everything anew, or ask how that stands."""
        answer: wire.RecountAnswer = await self._ask(
            wire.RecountAnswer, self.actor.recount, int(start)
        )
        return answer

    async def queues(self, tenant: str) -> wire.QueuesAnswer:
        """List its queues of a tenant."""
        answer: wire.QueuesAnswer = await self._ask(wire.QueuesAnswer, self.actor.queues, tenant)
        return answer

    async def selected(self, question: wire.QueueQuestion) -> wire.SelectedAnswer:
        """Ask what a selection of its queued messages meets."""
        answer: wire.SelectedAnswer = await self._ask(
            wire.SelectedAnswer, self.actor.selected, wire.encode(question)
        )
        return answer

    async def doubts(self, tenant: str, limit: int) -> wire.DoubtsAnswer:
        """List its messages that are held in doubt."""
        answer: wire.DoubtsAnswer = await self._ask(
            wire.DoubtsAnswer, self.actor.doubts, tenant, limit
        )
        return answer

    async def status(self) -> wire.WorkerStatus:
        """Ask where it stands."""
        status: wire.WorkerStatus = await self._ask(wire.WorkerStatus, self.actor.status)
        return status

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        """Let it look at some contacts for a run."""
        answer: WalkAnswer = await self._ask(WalkAnswer, self.actor.walk, wire.encode(question))
        return answer

    async def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        """Ask what it decided about an entity."""
        raw = wire.encode(question)
        answer: DecisionAnswer = await self._ask(DecisionAnswer, self.actor.decisions, raw)
        return answer

    async def stories(self, question: StoryQuestion) -> StoryAnswer:
        """Ask for some contacts with their events."""
        answer: StoryAnswer = await self._ask(
            StoryAnswer, self.actor.stories, wire.encode(question)
        )
        return answer

    async def publish(self) -> None:
        """Let it look for a newer catalog."""
        await self._call(self.actor.publish)

    async def home(self) -> str:
        """Name the node of Ray that it runs on."""
        return str(await self._call(self.actor.home))

    async def stop(self) -> None:
        """Drain and close it."""
        await self._call(self.actor.stop)

    async def _ask(self, kind: Any, method: Any, *args: Any) -> Any:
        return wire.decode(kind, await self._call(method, *args))

    async def _call(self, method: Any, *args: Any) -> Any:
        import ray.exceptions

        try:
            called = method.remote(*args)
        except ray.exceptions.PendingCallsLimitExceeded as error:
            raise WorkerLostError(f"worker {self.index}: too many calls wait") from error
        return await _called(called, f"worker {self.index}")


async def _called(call: Any, whom: str) -> Any:
    """Await a call's answer; what Ray raises becomes what we say."""
    import ray.exceptions

    try:
        return await call
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise WorkerLostError(f"{whom}: {type(error).__name__}") from error
    except ray.exceptions.PendingCallsLimitExceeded as error:
        raise WorkerLostError(f"{whom}: too many calls wait") from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, wire.NotStartedError):
            raise WorkerLostError(f"{whom}: in a new life") from error
        raise (cause if isinstance(cause, Exception) else error) from None


class Cluster:
    """A local Ray with the workers of one deployment. Use `start` and `stop`; one in a process."""

    def __init__(self, settings: Sequence[wire.WorkerSettings]) -> None:
        self._settings = settings
        self.workers: list[WorkerHandle] = []
        """The owners of partitions, by number."""
        self.table: Table | None = None
        """Who owns what, as of the last look; None where each worker has its own for good."""
        self.egresses: list[WorkerHandle] = []
        """Those that only send, by number; none when the workers send themselves."""

    async def start(self) -> list[wire.Hello]:
        """Start Ray and all workers. Returns what the owners of partitions found of former lives."""
        import ray

        first = self._settings[0]
        senders = senders_of(first) if first.config.workers.roles == "split" else 0
        _start_ray(len(self._settings) + senders)
        controlling = ray.remote(**WORKER_OPTIONS)(ControllerShell)
        self._controller: Any = controlling.remote(
            first.data_dir,
            time.time_ns(),
            first.config.store.partitions,
            first.count,
            senders,
            wire.encode(list(limits_of(first.config))),
            placed=first.placed,
            config=msgspec.msgpack.encode(first.config) if first.log_time is None else b"",
        )
        sending = ray.remote(**WORKER_OPTIONS)(EgressShell)
        for index in range(senders):
            raw = msgspec.msgpack.encode(msgspec.structs.replace(first, index=index))
            self.egresses.append(WorkerHandle(sending.remote(raw, self._controller), index))
        actor_class = ray.remote(**WORKER_OPTIONS)(WorkerShell)
        for settings in self._settings:
            raw = msgspec.msgpack.encode(settings)
            handle = actor_class.remote(raw, self._controller)
            self.workers.append(WorkerHandle(handle, settings.index))
        await asyncio.gather(*(egress.start() for egress in self.egresses))
        hellos = list(await asyncio.gather(*(worker.start() for worker in self.workers)))
        await self.introduce()
        if first.placed:
            await self._wait_until_placed()
        return hellos

    async def placement(self) -> PlacementView | None:
        """Ask who owns what; None where nothing moves. Raises: WorkerLostError: the controller is restarting."""
        raw: bytes = await _called(self._controller.placement.remote(), "the controller")
        view: PlacementView | None = wire.decode(PlacementView | None, raw)
        if view is not None:
            self.table = view.table
        return view

    async def drain(self, worker: str, *, back: bool) -> None:
        """Take all partitions from a worker, or let it have some again. Raises: UserError; WorkerLostError."""
        await _called(self._controller.drain.remote(worker, int(back)), "the controller")

    async def rebalance(self) -> int:
        """Place by load; returns how many partitions will move. Raises: UserError; WorkerLostError."""
        moving: int = await _called(self._controller.rebalance.remote(), "the controller")
        return moving

    async def nodes(self) -> list[NodeView]:
        """List Ray's nodes, and which workers are on each."""
        import ray

        told = await asyncio.to_thread(ray.nodes)
        homes = await asyncio.gather(
            *(worker.home() for worker in self.workers), return_exceptions=True
        )
        found = []
        for node in told:
            here = [f"w{n}" for n, home in enumerate(homes) if home == node["NodeID"]]
            cpus = float(node["Resources"].get("CPU", 0.0))
            found.append(
                NodeView(node["NodeID"], node["NodeManagerAddress"], node["Alive"], cpus, here)
            )
        return found

    def index_of(self, partition: int) -> int:
        """Give the number of the worker that owns a partition, as far as known here."""
        if self.table is None:
            return partition % len(self.workers)
        owner = self.table.owners[partition]
        return int(owner[1:]) if owner and int(owner[1:]) < len(self.workers) else 0

    async def reroute(self) -> None:
        """Look again who owns what: an answer said that it is another."""
        with contextlib.suppress(WorkerLostError):
            await self.placement()

    async def _wait_until_placed(self) -> None:
        deadline = asyncio.get_running_loop().time() + RESTART_WAIT_S
        while asyncio.get_running_loop().time() < deadline:
            view = await self.placement()
            if view is None or not view.in_motion:
                return
            await asyncio.sleep(0.05)

    async def introduce(self) -> None:
        """Tell the workers of each other; again after a restart."""
        await asyncio.gather(*(self._introduce(worker) for worker in self.workers))

    async def _introduce(self, worker: WorkerHandle) -> None:
        senders = len(self.egresses)
        await worker.connect(
            self.workers, self.egresses[worker.index % senders] if senders else None
        )

    async def controller(self) -> ControllerView:
        """Ask the controller for all that it knows. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await _called(self._controller.view.remote(), "the controller")
        view: ControllerView = wire.decode(ControllerView, raw)
        return view

    async def budgets(self) -> list[Use]:
        """Ask the governor how much of each limit is promised. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await _called(self._controller.budgets.remote(), "the governor")
        uses: list[Use] = wire.decode(list[Use], raw)
        return uses

    async def pacing(self, question: PacingQuestion) -> PacingView:
        """Ask the pacer how lanes are doing. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await _called(
            self._controller.pacing.remote(wire.encode(question)), "the pacer"
        )
        view: PacingView = wire.decode(PacingView, raw)
        return view

    async def publish(self, version: int) -> dict[str, int]:
        """Let all workers take a newer catalog. Returns the version that each uses then.

        Raises: WorkerLostError: the controller is restarting; call again.
        """
        used: dict[str, int] = await _called(
            self._controller.publish.remote(version), "the controller"
        )
        return used

    async def revive(self, worker: WorkerHandle) -> wire.Hello:
        """Wait for a lost worker's next life, and introduce it."""
        deadline = asyncio.get_running_loop().time() + RESTART_WAIT_S
        while True:
            try:
                hello = await worker.start()
                await self._introduce(worker)
            except WorkerLostError:  # it died once more, or Ray can't reach it yet
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return hello

    async def stop(self) -> None:
        """Drain all workers, then shut Ray down."""
        import ray

        for some in (self.workers, self.egresses):  # owners first: they wait for their outcomes
            for result in await asyncio.gather(
                *(worker.stop() for worker in some), return_exceptions=True
            ):
                if isinstance(result, Exception) and not isinstance(result, WorkerLostError):
                    raise result
        await asyncio.to_thread(ray.shutdown)


def _start_ray(workers: int) -> None:
    import ray

    os.environ.update(RAY_ENVIRONMENT)
    root = str(Path(__file__).resolve().parent.parent)  # workers import what we are
    path = os.environ.get("PYTHONPATH", "")
    if root not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = root + (os.pathsep + path if path else "")
    try:
        ray.init(
            num_cpus=max(workers, 1),
            include_dashboard=False,
            object_store_memory=100 << 20,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
        )
    except Exception as error:  # Ray raises this very class for a node that doesn't come up
        told = f"Ray didn't start on this machine: {error} Try again when it is less busy."
        raise VeredusError(told) from error
