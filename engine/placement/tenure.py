"""A worker's side of placement: which partitions it holds, lets go of, or is about to take.

Letting go: no more hand-overs of the partition → what is in hand has its outcome → no more intake → its last commit →
gone. Intake goes on until the last moment, so the pause is one commit, one report and one claim long.
"""

from __future__ import annotations

__all__ = ("Tenure",)

from collections.abc import Iterable

from engine.placement.steward import Orders, Report


class Tenure:
    """What one life of a worker holds.

    Args:
        worker: its name.
        incarnation: of this life.
    """

    def __init__(self, worker: str, incarnation: int) -> None:
        self._worker = worker
        self._incarnation = incarnation
        self._number = 0
        self._version = 0
        self.holds: set[int] = set()
        self.releasing: set[int] = set()
        """Held, but no more handed over of."""
        self.taking: set[int] = set()
        """To be taken as soon as it can be done."""

    def report(self, load: dict[int, float], *, leaving: bool = False) -> Report:
        """Make the next report."""
        self._number += 1
        return Report(
            self._worker,
            self._incarnation,
            self._number,
            sorted(self.holds),
            load,
            leaving,
            self._version,
        )

    def hear(self, orders: Orders) -> None:
        """Follow orders, unless newer ones were heard. Idempotent."""
        if orders.version < self._version:
            return
        self._version = orders.version
        self.releasing = {p for p in orders.release if p in self.holds}
        self.taking = {p for p in orders.take if p not in self.holds}

    def took(self, partitions: Iterable[int]) -> None:
        """Say that partitions were claimed in the store."""
        for partition in partitions:
            self.taking.discard(partition)
            self.holds.add(partition)

    def lost(self, partitions: Iterable[int]) -> None:
        """Say that partitions are gone: let go of, or fenced by a new owner."""
        for partition in partitions:
            self.holds.discard(partition)
            self.releasing.discard(partition)
            self.taking.discard(partition)
