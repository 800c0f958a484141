"""Inputs that wait to be decided: small batches first, large ones in turns.

A small batch is one event of an application, or a few; whoever sends many at once waits longer anyway. Small ones leave
the large ones a part of each tick, so a flood of them doesn't stop the rest.

Inputs of one batch are decided in order. Batches that wait at one time have no order among each other, as their
callers haven't heard of any of them yet.
"""

from __future__ import annotations

__all__ = ("Intake",)

import asyncio
from collections import deque
from collections.abc import Sequence

from engine.inputs import Arrival

LOT = 16
"""Inputs that a large batch gives before the next one has its turn; a batch that is no larger is *small*."""
OTHERS_PART = 4
"""Of the room of a tick, large batches have one in so many at least."""


class _Batch:
    """One call of `admit`."""

    __slots__ = ("answer", "arrivals", "at", "verdicts")

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.at = 0  # the next one to be decided
        self.verdicts: list[str] = []
        self.answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()


class Intake:
    """The batches of one worker."""

    def __init__(self) -> None:
        self.size = 0
        """Inputs that no tick was given yet."""
        self._small: deque[_Batch] = deque()
        self._waiting: deque[_Batch] = deque()  # the large ones
        self._deciding: deque[tuple[_Batch, int]] = (
            deque()
        )  # whose inputs a tick was given, and how many

    @property
    def urgent(self) -> bool:
        """Whether a small batch waits, such as one event of an application that waits for its answer."""
        return bool(self._small)

    def admit(self, arrivals: Sequence[Arrival]) -> asyncio.Future[list[str]]:
        """Take a batch, which isn't empty. The answer is one verdict for each input, once all are durable."""
        batch = _Batch(arrivals)
        (self._small if len(arrivals) <= LOT else self._waiting).append(batch)
        self.size += len(arrivals)
        return batch.answer

    def give(self, to: list[Arrival], room: int) -> None:
        """Move up to so many inputs to those that the next tick decides."""
        kept = -(-room // OTHERS_PART) if self._waiting and room > 1 else 0
        room = self._give(self._small, to, room - kept) + kept
        room = self._give(self._waiting, to, room)
        self._give(self._small, to, room)

    def _give(self, line: deque[_Batch], to: list[Arrival], room: int) -> int:
        """Let the batches of a line give in turns. Returns how much room is left."""
        while line and room > 0:
            batch = line.popleft()
            number = min(LOT, room, len(batch.arrivals) - batch.at)
            to += batch.arrivals[batch.at : batch.at + number]
            batch.at += number
            room -= number
            self.size -= number
            self._deciding.append((batch, number))
            if batch.at < len(batch.arrivals):
                line.append(batch)
        return room

    def decided(self, verdicts: Sequence[str]) -> None:
        """Hear the verdicts of a durable tick, in the order in which inputs were given."""
        at = 0
        while at < len(verdicts):
            batch, left = self._deciding[0]
            batch.verdicts += verdicts[at : at + left]
            at += left
            if at > len(verdicts):
                self._deciding[0] = (batch, at - len(verdicts))
                return
            self._deciding.popleft()
            if len(batch.verdicts) == len(batch.arrivals) and not batch.answer.done():
                batch.answer.set_result(batch.verdicts)

    def fail(self, error: Exception) -> None:
        """Whoever waits gets no answer: whether its inputs are durable isn't known, so they come again."""
        for batch in (*self._small, *self._waiting, *(batch for batch, _ in self._deciding)):
            if not batch.answer.done():
                batch.answer.set_exception(error)
        self._small.clear()
        self._waiting.clear()
        self._deciding.clear()
        self.size = 0
