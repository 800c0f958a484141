"""How many workers there should be. Pure: it is told what was seen, with the time, and answers with a number.

A worker is *full* when it uses its core, or the connections that it may open, to the mark; and *late* when work waits
in it that could be done now: mail that a provider's limit holds up isn't. Full and late workers ask for more of them,
late ones that aren't full don't: more workers would wait just as long. One goes when the others would still be used
little without it. Both must stay so for a while, and after each change nothing is thought of for some time.
"""

from __future__ import annotations

__all__ = ("Load", "Marks", "Scaler")

import math
from collections.abc import Sequence

import msgspec

GROWTH_MAX = 4.0
"""So many times as many workers at once, at most."""


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """When to act. Shares are of 1, times ms."""

    workers_min: int = 1
    workers_max: int = 1
    busy: float = 0.85
    idle: float = 0.6
    late_ms: int = 2000
    urgent_late_ms: int = 500
    patience_ms: int = 2000
    quiet_ms: int = 60_000
    pause_ms: int = 5000


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one worker. `late_ms`: age of the oldest work that nothing but the worker holds up."""

    cpu: float = 0.0  # share of a core
    connections: float = (
        0.0  # share of those that it may open, of the fullest site; 0: it may open any number
    )
    late_ms: int = 0
    urgent_late_ms: int = 0
    came: float = 0.0  # messages a second that were accepted for it
    done: float = 0.0  # messages a second that it got off its hands

    @property
    def use(self) -> float:
        """How much of the worker is used."""
        return max(self.cpu, self.connections)


class Scaler:
    """Decides for one cluster.

    Args:
        marks: when to act.
        now: ms, monotonic.
    """

    def __init__(self, marks: Marks, now: int) -> None:
        self._marks = marks
        self._hungry_since: int | None = None
        self._idle_since: int | None = None
        self._quiet_until = now

    def decide(self, now: int, workers: Sequence[Load], *, moving: bool) -> int:
        """Give the number of workers that there should be.

        Args:
            now: ms, monotonic.
            workers: all that serve now.
            moving: whether partitions are on their way: what is seen then is no measure of anything.
        """
        there, marks = len(workers), self._marks
        if there < marks.workers_min or there > marks.workers_max:
            return min(max(there, marks.workers_min), marks.workers_max)
        self._watch(now, workers, moving=moving)
        if now < self._quiet_until:
            return there
        if _for(self._hungry_since, now) >= self._patience(workers):
            return min(marks.workers_max, math.ceil(there * self._growth(workers, there)))
        if _for(self._idle_since, now) >= marks.quiet_ms:
            return max(marks.workers_min, there - 1)
        return there

    def changed(self, now: int) -> None:
        """Hear that the number of workers changed, or that a change was given up."""
        self._hungry_since = self._idle_since = None
        self._quiet_until = now + self._marks.pause_ms

    def _watch(self, now: int, workers: Sequence[Load], *, moving: bool) -> None:
        hungry = self._hungry(workers)
        if not hungry:
            self._hungry_since = None
        elif self._hungry_since is None and not moving:
            self._hungry_since = now
        if hungry or moving or not self._could_go(workers):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now

    def _hungry(self, workers: Sequence[Load]) -> bool:
        """Whether half of them are full and late: when fewer are, partitions should move, not workers come."""
        asking = sum(self._is_late(one) and one.use >= self._marks.busy for one in workers)
        return asking > 0 and 2 * asking >= len(workers)

    def _is_late(self, one: Load) -> bool:
        marks = self._marks
        return one.late_ms >= marks.late_ms or one.urgent_late_ms >= marks.urgent_late_ms

    def _could_go(self, workers: Sequence[Load]) -> bool:
        if len(workers) <= self._marks.workers_min or any(self._is_late(one) for one in workers):
            return False
        return sum(one.use for one in workers) / (len(workers) - 1) <= self._marks.idle

    def _patience(self, workers: Sequence[Load]) -> int:
        """Give how long they must ask: half as long when it is mail that somebody waits for."""
        urgent = any(one.urgent_late_ms >= self._marks.urgent_late_ms for one in workers)
        return self._marks.patience_ms // 2 if urgent else self._marks.patience_ms

    @staticmethod
    def _growth(workers: Sequence[Load], there: int) -> float:
        """Tell how many times as many are wanted: as much as comes, over what full workers get done."""
        came, done = sum(one.came for one in workers), sum(one.done for one in workers)
        least = (there + 1) / there
        return min(max(came / done if done > 0 else least, least), max(GROWTH_MAX, least))


def _for(since: int | None, now: int) -> int:
    return now - since if since is not None else -1
