"""What waits to be started, by route: urgent classes first, and within a class fair between tenants. Pure."""

from __future__ import annotations

__all__ = ("BULK", "OTHERS_EVERY", "Lines")

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from deliverability.pacing.fairness import DeficitRoundRobin

BULK = 2
"""The message class that waits for the others; 0 is the most urgent."""
OTHERS_EVERY = 10
"""Each so manieth of a route is of its least urgent class: no flood stops the rest."""

T = TypeVar("T")


class _Line(Generic[T]):
    """The line of one route."""

    __slots__ = ("classes", "picks")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.classes = tuple(DeficitRoundRobin[T](weights) for _ in range(BULK + 1))
        self.picks = 0


class Lines(Generic[T]):
    """The lines of all routes.

    Args:
        weights: shares of tenants by name; 1 for one that isn't named.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = weights
        self._lines: dict[str, _Line[T]] = {}

    def add(self, route: str, message_class: int, tenant: str, item: T) -> None:
        """Put an item in line."""
        line = self._lines.get(route)
        if line is None:
            line = self._lines[route] = _Line(self._weights)
        line.classes[message_class].add(tenant, item)

    def pop(self, route: str) -> T | None:
        """Take the next item of a route: of the most urgent class, but every tenth time of the least urgent."""
        line = self._lines.get(route)
        if line is None:
            return None
        line.picks += 1
        classes = reversed(line.classes) if line.picks % OTHERS_EVERY == 0 else line.classes
        for waiting in classes:
            if len(waiting):
                return waiting.pop()
        return None

    def urgency(self, route: str) -> int | None:
        """Give the most urgent class that waits on a route; None: nothing does."""
        line = self._lines.get(route)
        if line is not None:
            for number, waiting in enumerate(line.classes):
                if len(waiting):
                    return number
        return None

    def take_all(self, route: str) -> list[T]:
        """Take all that waits on a route."""
        line = self._lines.pop(route, None)
        return [] if line is None else [item for waiting in line.classes for item in waiting]

    def waiting(self) -> Iterator[tuple[str, int]]:
        """List the routes where something waits, with how much."""
        for route, line in self._lines.items():
            number = sum(len(waiting) for waiting in line.classes)
            if number:
                yield route, number
