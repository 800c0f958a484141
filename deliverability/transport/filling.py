"""Which connection of a route takes the next mail: empty ones before others, new ones before deep windows. Pure.

Most servers handle the mails of a connection one after the other, so a mail that stands behind others in a window waits
for them, while other connections have nothing to do; and what stands in one window is in doubt together. Only where
an answer takes hardly longer than a turn of our own loop does it matter nothing, and few connections with windows in
use cost less: one write and one read for several mails. For the same reason windows that are deep anyhow needn't be
equally deep.
"""

from __future__ import annotations

__all__ = ("QUICK_S", "Berth", "Filling", "emptiest")

from collections.abc import Iterable
from math import inf
from typing import Protocol, TypeVar

QUICK_S = 0.020
"""A server that takes a mail within so long is quick: nothing is gained by spreading. A loop under full load sees
acceptances some 10 ms late, whatever the server does."""
DRIFT = 0.001  # by which the quickest acceptance known is forgotten with each: servers change


class Berth(Protocol):
    """Where a mail can be put: a connection."""

    @property
    def in_flight(self) -> int:
        """How many mails it has that aren't answered."""


B = TypeVar("B", bound=Berth)


class Filling:
    """What the choice depends on: how long the server of a route takes at best, and how much is in flight there."""

    __slots__ = ("_quickest", "in_flight")

    def __init__(self) -> None:
        self._quickest = inf
        self.in_flight = 0
        """Mails on all connections that aren't answered."""

    @property
    def spreads(self) -> bool:
        """Whether a mail goes to the emptiest connection; until something was accepted that isn't known."""
        return QUICK_S < self._quickest < inf

    def accepted(self, took_s: float) -> None:
        """Hear how long a mail took from its sending to its acceptance."""
        self._quickest = min(self._quickest * (1 + DRIFT), took_s)

    def wanted(self, working: int, waiting: int) -> int:
        """Tell how many connections could be used, with so many at work and so many mails that wait."""
        return (max(working, self.in_flight) if self.spreads else working) + waiting


def emptiest(berths: Iterable[B], than: int) -> B | None:
    """Find the one with the fewest mails in flight, clearly fewer than `than`; the first of equals."""
    found, below = None, than - than // 4
    for one in berths:
        number = one.in_flight
        if number < below:
            found, below = one, number
            if not number:
                break
    return found
