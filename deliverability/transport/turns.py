"""Who composes and signs next: a slice of work in each turn of the event loop, urgent messages first.

A signature holds the loop for 0.3 to 1 ms. If every connection signed as soon as it had room, one pass over forty
sockets would take 20 ms or more, and whatever came meanwhile (an urgent message, an acknowledgement) would wait for it.
So all routes of a delivery share one slice a turn. What doesn't fit waits in line here, by the class of the most
urgent message that a route could send, routes of one class one after the other, a message each.
"""

from __future__ import annotations

__all__ = ("CLASSES", "OTHERS_EVERY", "PORTION", "SLICE_S", "Seat", "Turns")

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

SLICE_S = 0.0015
"""How long messages are composed in one turn; the last one begun may pass it."""
PORTION = 4
"""How many messages a seat may compose when it is served, as long as the slice lasts."""
CLASSES = 3
"""Message classes, 0 the most urgent."""
OTHERS_EVERY = 10
"""Each so manieth message is one of the least urgent class that waits."""


class Seat(Protocol):
    """Who waits for a turn: a route."""

    def urgency(self) -> int | None:
        """Give the class of the most urgent message that could be composed now; None: there is none."""

    def serve(self) -> None:
        """Compose a message, and more while `Turns.may` allows it; `Turns.serving` is this seat meanwhile."""


class Turns:
    """The line of one delivery.

    Args:
        call_soon: runs a function in the next turn of the loop.
        clock: monotonic seconds, finer than a millisecond.
        slice_s: how long a turn may compose.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        clock: Callable[[], float],
        slice_s: float = SLICE_S,
    ) -> None:
        self.serving: Seat | None = None
        self._call_soon = call_soon
        self._clock = clock
        self._slice_s = slice_s
        self._lines: tuple[OrderedDict[Seat, None], ...] = tuple(
            OrderedDict() for _ in range(CLASSES)
        )
        self._until = 0.0
        self._left = 0  # messages that the seat which is served may still compose
        self._picks = 0  # since the last one of the least urgent class
        self._urgent_until: float | None = None
        self._under_way = False  # a turn has begun; the next is asked for

    @property
    def waiting(self) -> bool:
        """Whether somebody waits in line."""
        return any(self._lines)

    def may(self, seat: Seat, *, urgent: bool = False) -> bool:
        """Whether a seat may compose a message at once: it is served, or there is time left and nobody waits.

        An urgent message doesn't wait for the others: these have a slice of their own in each turn.
        """
        if self.serving is seat:
            self._left -= 1
            if not self._left or self._clock() >= self._until:
                self.serving = None
            return True
        if urgent:
            return self._may_urgent()
        if self.waiting:
            return False
        if not self._under_way:
            self._begin()
        return self._clock() < self._until

    def _may_urgent(self) -> bool:
        if not self._under_way:
            self._begin()
        now = self._clock()
        if self._urgent_until is None:
            self._urgent_until = now + self._slice_s
        if now >= self._urgent_until:
            return False
        self._picks += 1
        return True

    def enlist(self, seat: Seat, urgency: int) -> None:
        """Put a seat in line, or further to the front when what it has became more urgent."""
        for line in self._lines[:urgency]:
            if seat in line:
                return
        for line in self._lines[urgency + 1 :]:
            line.pop(seat, None)
        self._lines[urgency].setdefault(seat)
        if not self._under_way:
            self._begin()

    def _begin(self) -> None:
        self._under_way = True
        self._until = self._clock() + self._slice_s
        self._urgent_until = None
        self._call_soon(self._turn)

    def _turn(self) -> None:
        """Serve who waits until the slice is used up; the rest waits for the next turn."""
        self._under_way = False
        if not self.waiting:
            return
        self._begin()
        while self._clock() < self._until:
            line = self._next_line()
            if line is None:
                return
            self._serve(line.popitem(last=False)[0])

    def _next_line(self) -> OrderedDict[Seat, None] | None:
        """The most urgent line; every tenth time the least urgent one, so that no flood stops the rest."""
        self._picks += 1
        if self._picks < OTHERS_EVERY:
            return next((line for line in self._lines if line), None)
        self._picks = 0
        return next((line for line in reversed(self._lines) if line), None)

    def _serve(self, seat: Seat) -> None:
        urgency = seat.urgency()
        if urgency is None:
            return
        self.serving = seat
        self._left = PORTION
        try:
            seat.serve()
        finally:
            self.serving = None
        urgency = seat.urgency()
        if urgency is not None:
            self.enlist(seat, urgency)
