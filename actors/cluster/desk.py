"""What an operator sees of the cluster and does to it. Each order goes on record in the control log first."""

from __future__ import annotations

__all__ = ("ClusterDesk",)

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from actors.cluster.calls import WorkerLostError
from actors.cluster.placing import PlacementView
from actors.cluster.running import Cluster
from actors.cluster.views import (
    ClusterDone,
    ClusterView,
    NodeView,
    PartitionView,
    PlacedWorker,
    Use,
)
from engine.config import Config
from engine.control_log import Change
from engine.errors import CapacityError, RefusedError
from engine.store.control_file import ControlFile


class ClusterDesk:
    """The cluster of one instance.

    Args:
        config: of the deployment.
        cluster: its actors.
        resize: brings a number of workers about, for somebody who is named; tells how many there are then.
    """

    def __init__(
        self, config: Config, cluster: Cluster, resize: Callable[[int, str], Awaitable[int]]
    ) -> None:
        self._cluster = cluster
        self._resize = resize
        self._log = ControlFile(Path(config.data_dir) / "control.log")
        self._partitions = config.store.partitions

    async def view(self) -> ClusterView:
        """Tell everything. Raises: CapacityError: the controller is restarting."""
        cluster = self._cluster
        try:
            placement = await cluster.placement()
            leases = await cluster.budgets()
            nodes = await cluster.nodes()
        except WorkerLostError as error:
            raise CapacityError("the controller is restarting", 1.0) from error
        if placement is None:
            return self._fixed(leases, nodes)
        motion = set(placement.in_motion)
        owners = placement.table.owners
        partitions = [PartitionView(n, owner, n in motion) for n, owner in enumerate(owners)]
        version = placement.table.version
        return ClusterView(True, version, placement.workers, nodes, partitions, leases)

    def _fixed(self, leases: list[Use], nodes: list[NodeView]) -> ClusterView:
        count = len(self._cluster.workers)
        owners = [f"w{number % count}" for number in range(self._partitions)]
        workers = [
            PlacedWorker(f"w{n}", True, owners.count(f"w{n}"), owners.count(f"w{n}"), 0.0)
            for n in range(count)
        ]
        partitions = [PartitionView(n, owner, False) for n, owner in enumerate(owners)]
        return ClusterView(False, 0, workers, nodes, partitions, leases)

    async def drain(self, worker: str, actor: str, *, back: bool) -> ClusterDone:
        """Take all partitions from a worker, or let it have some again."""
        await self._movable()
        self._record("cluster_undrain" if back else "cluster_drain", worker, actor)
        try:
            await self._cluster.drain(worker, back=back)
            view = await self._cluster.placement()
        except WorkerLostError as error:
            raise CapacityError("the controller is restarting", 1.0) from error
        moving = len(view.in_motion) if view is not None else 0
        told = f"{worker} may have partitions again" if back else f"{worker} is being drained"
        return ClusterDone(told, moving)

    async def rebalance(self, actor: str) -> ClusterDone:
        """Place by load."""
        await self._movable()
        self._record("cluster_rebalance", "", actor)
        try:
            moving = await self._cluster.rebalance()
        except WorkerLostError as error:
            raise CapacityError("the controller is restarting", 1.0) from error
        return ClusterDone(f"{moving} partitions move", moving)

    async def scale(self, workers: int, actor: str) -> ClusterDone:
        """Bring the number of workers about: new ones are waited for, those that go are drained first.

        Raises: RefusedError: they can't come and go here.
        """
        before = len(self._cluster.workers)
        there = await self._resize(workers, actor)
        view = await self._cluster.placement() if there != before else None
        moving = len(view.in_motion) if view is not None else 0
        if there < workers:
            return ClusterDone(
                f"there are {there} workers: no node had room for more in time", moving
            )
        if there > workers:
            return ClusterDone(
                f"there are {there} workers: one couldn't be drained in time", moving
            )
        return ClusterDone(f"there are {there} workers", moving)

    async def _movable(self) -> PlacementView:
        try:
            placement = await self._cluster.placement()
        except WorkerLostError as error:
            raise CapacityError("the controller is restarting", 1.0) from error
        if placement is None:
            raise RefusedError(
                "partitions of this instance don't move: each worker has a store of its own",
                mend='store.kind = "redis" lets them (`veredus store move --to redis`)',
            )
        return placement

    def _record(self, action: str, subject: str, actor: str) -> None:
        change = Change(actor=actor, action=action, subject=f"cluster {subject}".strip())
        self._log.append(time.time_ns() // 1_000_000, change)
