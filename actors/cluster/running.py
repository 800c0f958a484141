"""A deployment's actors on Ray: which there are, with which options, started and stopped together.

No call waits for the credit or durability of another worker. Calls aren't retried by Ray (`max_task_retries=0`): our
ids make repetition harmless, and the caller decides. A worker that died is restarted by Ray; the caller hears
`WorkerLostError`, says `start` again, and goes on.
"""

from __future__ import annotations

__all__ = ("Cluster",)

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.cluster.calls import WorkerLostError, called
from actors.cluster.control_shell import ControllerShell
from actors.cluster.controller import ControllerView
from actors.cluster.handle import RESTART_WAIT_S, WorkerHandle
from actors.cluster.node_list import CONCURRENCY
from actors.cluster.placing import PlacementView
from actors.cluster.views import NodeView, Use
from actors.cluster.worker_shell import EgressShell, WorkerShell
from actors.pacing_desk import PacingQuestion
from actors.pacing_views import PacingView
from actors.worker import wire
from actors.worker.assembly import limits_of, senders_of
from engine.errors import VeredusError
from engine.placement.steward import Table

log = structlog.get_logger()

HOME_S = 2.0
STOP_S = 30.0
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray's own choice is 15, meant for computing jobs: what else runs on the machine would go before mail
    "RAY_worker_niceness": "0",
}

WORKER_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,  # one a core by our own count; Ray's accounting would only refuse what fits
    "max_restarts": -1,
    "max_task_retries": 0,
    "max_concurrency": 1000,
    "max_pending_calls": 2000,
}


class Cluster:
    """The workers of one deployment, on a Ray of their own or one that runs. Use `start` and `stop`; one in a process.

    Args:
        settings: of the workers that it begins with, by number; where partitions move, others come by `grow`.
        feeds: how many workers have ever written a feed; those that are gone are read by others.
    """

    def __init__(self, settings: Sequence[wire.WorkerSettings], feeds: int = 0) -> None:
        self._settings = settings
        self._by_number: dict[int, WorkerHandle] = {}
        self.feeds = max(feeds, len(settings))
        """How many workers have ever written a feed."""
        self.table: Table | None = None
        """Whom to ask for what, as of the last look; None where each worker has its own for good."""
        self.egresses: list[WorkerHandle] = []
        """Those that only send, by number; none when the workers send themselves."""

    async def start(self) -> list[wire.Hello]:
        """Start Ray and all workers. Returns what the owners of partitions found of former lives."""
        import ray

        first = self._settings[0]
        senders = senders_of(first) if first.config.workers.roles == "split" else 0
        address = first.config.workers.ray_address
        _start_ray(len(self._settings) + senders, address)
        if address:
            self._demand(len(self._settings) + senders)
            self._settings = [
                msgspec.structs.replace(one, desk_node=_node()) for one in self._settings
            ]
            first = self._settings[0]
        controlling = ray.remote(**WORKER_OPTIONS | {"concurrency_groups": CONCURRENCY})(
            ControllerShell
        )
        self._controller: Any = controlling.options(**_here(address)).remote(
            first.data_dir,
            time.time_ns(),
            first.config.store.partitions,
            first.count,
            senders,
            wire.encode(list(limits_of(first.config))),
            placed=first.placed,
            config=msgspec.msgpack.encode(first.config) if first.log_time is None else b"",
        )
        sending = ray.remote(**WORKER_OPTIONS | _spread(address))(EgressShell)
        for index in range(senders):
            raw = msgspec.msgpack.encode(msgspec.structs.replace(first, index=index))
            self.egresses.append(WorkerHandle(sending.remote(raw, self._controller), index))
        for settings in self._settings:
            self._by_number[settings.index] = self._made(settings)
        await asyncio.gather(*(egress.start() for egress in self.egresses))
        hellos = list(await asyncio.gather(*(worker.start() for worker in self.workers)))
        await self.introduce()
        if first.placed:
            await self._wait_until_placed()
        return hellos

    # ---- workers that come and go

    @property
    def workers(self) -> list[WorkerHandle]:
        """The owners of partitions, by number. Numbers may be missing where some have gone."""
        return [handle for _, handle in sorted(self._by_number.items())]

    def worker(self, number: int) -> WorkerHandle:
        """Give a worker by its number; any other when it has gone: it answers that it doesn't own what is asked for."""
        found = self._by_number.get(number)
        return found if found is not None else next(iter(self._by_number.values()))

    def has(self, worker: WorkerHandle) -> bool:
        """Whether a worker hasn't gone."""
        return self._by_number.get(worker.index) is worker

    def _made(self, settings: wire.WorkerSettings) -> WorkerHandle:
        import ray

        options = WORKER_OPTIONS | _spread(settings.config.workers.ray_address)
        actor_class = ray.remote(**options)(WorkerShell)
        raw = msgspec.msgpack.encode(settings)
        return WorkerHandle(actor_class.remote(raw, self._controller), settings.index)

    async def grow(self, number: int, timeout_s: float) -> list[int]:
        """Add workers, with the lowest numbers that are free. Returns the numbers of those that serve now.

        One that isn't there after the time (no node has room for it) is given up.
        """
        self._demand(len(self._by_number) + number)
        fresh: list[int] = []
        index = 0
        while len(fresh) < number:
            if index not in self._by_number:
                fresh.append(index)
            index += 1
        begun = [self._begin(index, timeout_s) for index in fresh]
        there = [index for index in await asyncio.gather(*begun) if index is not None]
        if len(there) < number:
            self._demand(len(self._by_number))
        if there:
            await self.introduce()
        return there

    async def _begin(self, index: int, timeout_s: float) -> int | None:
        first = self._settings[0]
        handle = self._made(msgspec.structs.replace(first, index=index))
        try:
            async with asyncio.timeout(timeout_s):
                await handle.start()
        except (TimeoutError, WorkerLostError) as error:
            log.warning("worker_not_added", worker=f"w{index}", error=repr(error)[:200])
            self._end(handle)
            return None
        self._by_number[index] = handle
        self.feeds = max(self.feeds, index + 1)
        return index

    async def retire(self, index: int, timeout_s: float) -> bool:
        """Let a worker go once others have its partitions. False: it couldn't be drained in time, and stays."""
        handle, name = self._by_number[index], f"w{index}"
        await self.drain(name, back=False)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while (view := await self.placement()) is not None and view.keeps(name):
            if asyncio.get_running_loop().time() > deadline:
                await self.drain(name, back=True)
                return False
            await asyncio.sleep(0.1)
        del self._by_number[index]
        with contextlib.suppress(WorkerLostError):
            await handle.stop()
        self._end(handle)
        await called(self._controller.forget.remote(name), "the controller")
        await self.introduce()
        self._demand(len(self._by_number))
        return True

    @staticmethod
    def _end(handle: WorkerHandle) -> None:
        import ray

        ray.kill(handle.actor, no_restart=True)

    def _demand(self, workers: int) -> None:
        """Tell Ray's autoscaler for how many workers there should be room."""
        if not self._settings[0].config.workers.ray_address:
            return
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"CPU": 1}] * workers)

    # ---- who owns what

    async def placement(self) -> PlacementView | None:
        """Ask who owns what; None where nothing moves. Raises: WorkerLostError: the controller is restarting."""
        raw: bytes = await called(self._controller.placement.remote(), "the controller")
        view: PlacementView | None = wire.decode(PlacementView | None, raw)
        if view is not None:
            table = view.table
            self.table = Table(table.version, view.serving or table.owners)
        return view

    async def drain(self, worker: str, *, back: bool) -> None:
        """Take all partitions from a worker, or let it have some again. Raises: UserError; WorkerLostError."""
        await called(self._controller.drain.remote(worker, int(back)), "the controller")

    async def rebalance(self) -> int:
        """Place by load; returns how many partitions will move. Raises: UserError; WorkerLostError."""
        moving: int = await called(self._controller.rebalance.remote(), "the controller")
        return moving

    async def nodes(self) -> list[NodeView]:
        """List Ray's nodes, and what is on each."""
        import ray

        told = await asyncio.to_thread(ray.nodes)
        workers = self.workers
        asking = [called(self._controller.home.remote(), "the controller")]
        asking += [worker.home() for worker in workers]
        asked = [asyncio.wait_for(one, HOME_S) for one in asking]
        controller, *homes = await asyncio.gather(*asked, return_exceptions=True)
        found = []
        for node in told:
            here = [
                f"w{worker.index}"
                for worker, home in zip(workers, homes, strict=True)
                if home == node["NodeID"]
            ]
            cpus = float(node["Resources"].get("CPU", 0.0))
            controls = controller == node["NodeID"]
            address, alive = node["NodeManagerAddress"], node["Alive"]
            found.append(NodeView(node["NodeID"], address, alive, cpus, here, controls))
        return found

    def index_of(self, partition: int) -> int:
        """Give the number of the worker that owns a partition, as far as known here."""
        if self.table is None:
            return partition % len(self._by_number)
        owner = self.table.owners[partition]
        number = int(owner[1:]) if owner else -1
        return number if number in self._by_number else next(iter(self._by_number))

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
        """Tell the workers of each other; one that is lost hears of the others when it is there again (`revive`)."""
        told = [self._introduce(worker) for worker in self.workers]
        for result in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, WorkerLostError):
                raise result

    async def _introduce(self, worker: WorkerHandle) -> None:
        senders = len(self.egresses)
        await worker.connect(
            self.workers, self.egresses[worker.index % senders] if senders else None
        )

    async def controller(self) -> ControllerView:
        """Ask the controller for all that it knows. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await called(self._controller.view.remote(), "the controller")
        view: ControllerView = wire.decode(ControllerView, raw)
        return view

    async def controller_pid(self) -> int:
        """Ask the controller for its process. Raises: WorkerLostError: it is restarting."""
        pid: int = await called(self._controller.pid.remote(), "the controller")
        return pid

    async def budgets(self) -> list[Use]:
        """Ask the governor how much of each limit is promised. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await called(self._controller.budgets.remote(), "the governor")
        uses: list[Use] = wire.decode(list[Use], raw)
        return uses

    async def pacing(self, question: PacingQuestion) -> PacingView:
        """Ask the pacer how lanes are doing. Raises: WorkerLostError: it is restarting."""
        raw: bytes = await called(
            self._controller.pacing.remote(wire.encode(question)), "the pacer"
        )
        view: PacingView = wire.decode(PacingView, raw)
        return view

    async def publish(self, version: int) -> dict[str, int]:
        """Let all workers take a newer catalog. Returns the version that each uses then.

        Raises: WorkerLostError: the controller is restarting; call again.
        """
        used: dict[str, int] = await called(
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
            ending = [asyncio.wait_for(worker.stop(), STOP_S) for worker in some]
            for result in await asyncio.gather(*ending, return_exceptions=True):
                lost = isinstance(result, WorkerLostError | TimeoutError)  # it may have no node
                if isinstance(result, Exception) and not lost:
                    raise result
        if self._settings[0].config.workers.ray_address:
            self._demand(0)
        # not in a thread: a task that touches Ray while it goes ends the process with status 1
        ray.shutdown()


def _spread(address: str) -> dict[str, Any]:
    """Give what places a worker: on a Ray that runs, a CPU of its own, on as many nodes as there are."""
    return {"num_cpus": 1, "scheduling_strategy": "SPREAD"} if address else {}


def _here(address: str) -> dict[str, Any]:
    """Give what places the controller: on this node, which is the one that stays, and nowhere else.

    A soft affinity isn't enough: to a node without CPUs, as heads are, Ray then prefers any other, and the controller
    dies with a node of workers.
    """
    if not address:
        return {}
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(_node(), soft=False)}


def _node() -> str:
    """Name the node of Ray that this process is on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _start_ray(workers: int, address: str) -> None:
    os.environ.update(RAY_ENVIRONMENT)
    import ray  # some of it is read as Ray is imported

    root = str(Path(__file__).resolve().parent.parent.parent)  # workers import what we are
    path = os.environ.get("PYTHONPATH", "")
    if root not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = root + (os.pathsep + path if path else "")
    if address:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
        return
    try:
        ray.init(
            address="local",  # one of our own, also where another runs (`ray start`, RAY_ADDRESS)
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
