"""Workers that come and go: what is seen of them becomes a number, and the number is brought about.

`engine.placement.scaler` decides. Mail that a provider's limit holds up, or that waits for a token, isn't late here, so
it never asks for a worker. Adding waits for a node, removing drains first and is given up when that can't finish.
"""

from __future__ import annotations

__all__ = ("Scaling", "keep_scaled", "loads_of")

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from actors.cluster.calls import WorkerLostError
from actors.cluster.placing import PlacementView
from actors.cluster.running import Cluster
from actors.cluster.views import Use
from actors.worker.wire import WorkerStatus
from engine.config import Config
from engine.control_log import Change
from engine.errors import RefusedError, VeredusError
from engine.placement.scaler import Load, Marks, Scaler
from engine.settings_cluster import Scaling as Settings
from engine.store.control_file import ControlFile
from engine.store.format import settle
from engine.tally import ACCEPTED, merged

if TYPE_CHECKING:
    from actors.instance.backend import ClusterBackend

log = structlog.get_logger()

LOOK_S = 1.0

URGENT = 1
"""Message classes up to this are mail that somebody waits for."""

QUEUED = "queued"

Seen = Callable[[Sequence[WorkerStatus], PlacementView | None, Sequence[Use], int], None]
"""Hears what was seen of the workers, and how many there should be."""


class Scaling:
    """The number of workers of one instance.

    Args:
        config: `[scaling]` and `[workers]`.
        cluster: its actors.
        mono_ms: the monotonic clock.
    """

    def __init__(self, config: Config, cluster: Cluster, mono_ms: Callable[[], int]) -> None:
        self._config = config
        self._cluster = cluster
        self._mono_ms = mono_ms
        self._log = ControlFile(Path(config.data_dir) / "control.log")
        self._scaler = Scaler(_marks(config.scaling), mono_ms())
        self._before: tuple[int, Sequence[WorkerStatus]] | None = None
        self._acting: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self.wanted = len(cluster.workers)
        """How many workers there should be."""

    def see(
        self,
        statuses: Sequence[WorkerStatus],
        placement: PlacementView | None,
        uses: Sequence[Use],
    ) -> None:
        """Look at what workers say, and begin to change their number where that is called for."""
        now = self._mono_ms()
        if len(statuses) != len(self._cluster.workers):
            # one begins, moves or restarts: what is seen of the others says nothing of how many there should be
            self._before = None
            return
        before, self._before = self._before, (now, statuses)
        busy = self._changing.locked() or (self._acting is not None and not self._acting.done())
        if not self._config.scaling.workers_max or placement is None or before is None or busy:
            return
        passed = now - before[0]
        loads = loads_of(statuses, before[1], passed, uses, self._config)
        wanted = self._scaler.decide(now, loads, moving=bool(placement.in_motion))
        if wanted != len(self._cluster.workers):
            self._acting = asyncio.get_running_loop().create_task(self._act(wanted))

    async def resize(self, workers: int, actor: str) -> int:
        """Bring the number of workers about. Returns how many there are then.

        Raises: RefusedError: they can't come and go here.
        """
        self._check(workers)
        async with self._changing:
            self.wanted = workers
            there = len(self._cluster.workers)
            if workers != there:
                change = Change(
                    actor=actor,
                    action="cluster_scale",
                    subject=f"cluster from {there} to {workers} workers",
                )
                self._log.append(time.time_ns() // 1_000_000, change)
            try:
                if workers > there:
                    await self._grow(workers - there)
                else:
                    await self._shrink(there - workers)
            finally:
                self.wanted = len(self._cluster.workers)
                self._scaler.changed(self._mono_ms())
            return self.wanted

    async def close(self) -> None:
        """End what is under way; a worker that was about to come or go stays as it is."""
        if self._acting is not None:
            self._acting.cancel()
            await asyncio.gather(self._acting, return_exceptions=True)

    async def _act(self, wanted: int) -> None:
        try:
            await self.resize(wanted, "scaling")
        except VeredusError as error:
            log.warning("not_scaled", wanted=wanted, error=str(error))

    async def _grow(self, number: int) -> None:
        config, cluster = self._config, self._cluster
        most = max(cluster.feeds, len(cluster.workers) + number)
        settle(Path(config.data_dir), config.store.partitions, most, kind="redis")
        there = await cluster.grow(number, config.scaling.node_s)
        log.info("workers_added", workers=[f"w{index}" for index in there], wanted=number)

    async def _shrink(self, number: int) -> None:
        for _ in range(number):
            index = self._cluster.workers[-1].index
            try:
                gone = await self._cluster.retire(index, self._config.scaling.drain_s)
            except WorkerLostError as error:
                raise RefusedError("the controller is restarting", mend="ask again") from error
            log.info("worker_drained" if gone else "drain_given_up", worker=f"w{index}")
            if not gone:
                return

    def _check(self, workers: int) -> None:
        config = self._config
        if config.store.kind != "redis" or config.workers.roles != "fused":
            raise RefusedError(
                "the number of workers changes by a restart here: each worker has a store of its own",
                mend='store.kind = "redis" and workers.roles = "fused" let them come and go',
            )
        most = config.scaling.workers_max
        if most and workers > most:
            raise RefusedError(
                f"{workers} workers are asked for, and scaling.workers_max is {most}",
                mend="ask for fewer, or raise it and restart",
            )


async def keep_scaled(
    backend: ClusterBackend, cluster: Cluster, scaling: Scaling, seen: Seen
) -> None:
    """Keep the number of workers right, and let somebody hear what was seen."""
    while True:
        try:
            statuses = await backend.statuses()
            placement, uses = await cluster.placement(), await cluster.budgets()
            scaling.see(statuses, placement, uses)
            seen(statuses, placement, uses, scaling.wanted)
        except VeredusError as error:
            log.warning("cluster_not_seen", error=str(error))
        await asyncio.sleep(LOOK_S)


def loads_of(
    statuses: Sequence[WorkerStatus],
    before: Sequence[WorkerStatus],
    passed_ms: int,
    uses: Sequence[Use],
    config: Config,
) -> list[Load]:
    """Make what a scaler is told of two looks at the workers, so many ms apart."""
    former = {(one.index, one.incarnation): one for one in before}
    bound = {use.budget for use in uses if _exhausted(use)}
    came = max(_accepted(statuses) - _accepted(before), 0)
    done = max(_finished(statuses) - _finished(before), 0)
    share = 1000 / max(passed_ms, 1) / max(len(statuses), 1)
    found = []
    for status in statuses:
        was = former.get((status.index, status.incarnation))
        ages = {True: 0, False: 0}
        for lane in status.lanes:
            if not lane.parked and lane.route not in bound:
                urgent = lane.message_class <= URGENT
                ages[urgent] = max(ages[urgent], status.now - lane.oldest)
        decided = status.inputs - was.inputs if was is not None else 0
        intake_ms = status.waiting * passed_ms // max(decided, 1)
        found.append(
            Load(
                cpu=(status.cpu_ms - was.cpu_ms) / max(passed_ms, 1) if was is not None else 0.0,
                connections=_connections(status, bound, config.workers.connections_max),
                late_ms=max(*ages.values(), intake_ms),
                urgent_late_ms=ages[True],
                came=came * share,
                done=done * share,
            )
        )
    return found


def _connections(status: WorkerStatus, bound: set[str], most: int) -> float:
    """Tell which part of the connections that it may open to one site a worker has open; 1 only when it lacks some."""
    if not most:
        return 0.0
    if any(route not in bound for route in status.connections_full):
        return 1.0
    return min(max(status.connections.values(), default=0) / most, 0.99)


def _exhausted(use: Use) -> bool:
    """Whether a limit is the bottleneck: all of it is promised, so another worker would get none."""
    rate = use.per_minute_max
    return use.connections >= use.connections_max or (rate is not None and use.per_minute >= rate)


def _accepted(statuses: Sequence[WorkerStatus]) -> int:
    law = merged(status.law for status in statuses)
    return sum(counts.get(ACCEPTED, 0) for counts in law.values())


def _finished(statuses: Sequence[WorkerStatus]) -> int:
    law = merged(status.law for status in statuses)
    return sum(counts.get(ACCEPTED, 0) - counts.get(QUEUED, 0) for counts in law.values())


def _marks(settings: Settings) -> Marks:
    return Marks(
        workers_min=settings.workers_min,
        workers_max=max(settings.workers_max, settings.workers_min),
        busy=settings.busy,
        idle=settings.idle,
        late_ms=int(settings.late_s * 1000),
        urgent_late_ms=int(settings.urgent_late_s * 1000),
        patience_ms=int(settings.patience_s * 1000),
        quiet_ms=int(settings.quiet_s * 1000),
        pause_ms=int(settings.pause_s * 1000),
    )
