"""Inputs that wait to be decided: batch by batch, in turns, so that a small one doesn't stand behind a large one.

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
"""Inputs that a batch gives before the next one has its turn; a batch that is no larger is *urgent*."""


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
        self.urgent = False
        """Whether a small batch waits, such as one event of an application that waits for its answer."""
        self._waiting: deque[_Batch] = deque()
        self._deciding: deque[tuple[_Batch, int]] = (
            deque()
        )  # whose inputs a tick was given, and how many

    def admit(self, arrivals: Sequence[Arrival]) -> asyncio.Future[list[str]]:
        """Take a batch, which isn't empty. The answer is one verdict for each input, once all are durable."""
        batch = _Batch(arrivals)
        self._waiting.append(batch)
        self.size += len(arrivals)
        self.urgent = self.urgent or len(arrivals) <= LOT
        return batch.answer

    def give(self, to: list[Arrival], room: int) -> None:
        """Move up to so many inputs to those that the next tick decides."""
        while self._waiting and room > 0:
            batch = self._waiting.popleft()
            number = min(LOT, room, len(batch.arrivals) - batch.at)
            to += batch.arrivals[batch.at : batch.at + number]
            batch.at += number
            room -= number
            self.size -= number
            self._deciding.append((batch, number))
            if batch.at < len(batch.arrivals):
                self._waiting.append(batch)
        self.urgent = any(len(batch.arrivals) <= LOT for batch in self._waiting)

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
        for batch in (*self._waiting, *(batch for batch, _ in self._deciding)):
            if not batch.answer.done():
                batch.answer.set_exception(error)
        self._waiting.clear()
        self._deciding.clear()
        self.size = 0
        self.urgent = False
