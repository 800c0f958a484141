"""What is told of the cluster: nodes, workers, partitions, leases. Light on imports, for the command line."""

from __future__ import annotations

__all__ = ("ClusterDone", "ClusterView", "NodeView", "PartitionView", "PlacedWorker", "Use")

import msgspec


class Use(msgspec.Struct, frozen=True):
    """How much of a budget is promised."""

    budget: str
    connections: int
    connections_max: int
    per_minute: int
    per_minute_max: int | None


class NodeView(msgspec.Struct, frozen=True):
    """A node of Ray, the workers on it, and whether the controller is."""

    id: str
    address: str
    alive: bool
    cpus: float
    workers: list[str]
    controller: bool = False


class PlacedWorker(msgspec.Struct, frozen=True):
    """A worker as the steward knows it."""

    name: str
    alive: bool
    owns: int
    holds: int
    load: float  # commits of its partitions between two reports
    draining: bool = False
    leaving: bool = False


class PartitionView(msgspec.Struct, frozen=True):
    """A partition: its owner by the table, and whether it is on its way there."""

    partition: int
    owner: str
    in_motion: bool


class ClusterView(msgspec.Struct, frozen=True):
    """The cluster at a glance. `moves`: whether partitions can change hands (store.kind = "redis")."""

    moves: bool
    version: int
    workers: list[PlacedWorker]
    nodes: list[NodeView]
    partitions: list[PartitionView]
    leases: list[Use]

    @property
    def in_motion(self) -> int:
        """How many partitions aren't with their owner."""
        return sum(one.in_motion for one in self.partitions)


class ClusterDone(msgspec.Struct, frozen=True):
    """What an order comes to."""

    done: str
    moving: int = 0
