"""Who is next among tenants: by weight.

What waits stands in a queue for each tenant, and deficit round robin (Shreedhar and Varghese, 1995) serves the tenants:
each turn gives a tenant its weight in credit, and it sends as long as its credit covers the cost. So a tenant with a
million items leaves the others their share, and a tenant that was idle gains nothing by it. What is urgent has lines of
its own before these (`deliverability.lines`).
"""

from __future__ import annotations

__all__ = ("DeficitRoundRobin",)

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class DeficitRoundRobin(Generic[T]):
    """What waits, in a queue for each tenant, served by weight. Each operation takes O(1) on average.

    Args:
        weights: by tenant; 1 for one that isn't named. Looked at each time, so that it may change.
    """

    __slots__ = ("_credit", "_queues", "_size", "_turns", "_weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._queues: dict[str, deque[tuple[int, T]]] = {}
        self._turns: deque[str] = deque()
        self._credit: dict[str, int] = {}
        self._weights = weights
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """List what waits, by tenant, in order."""
        for queue in self._queues.values():
            for _, item in queue:
                yield item

    def clear(self) -> None:
        """Forget all."""
        self._queues.clear()
        self._turns.clear()
        self._credit.clear()
        self._size = 0

    def add(self, tenant: str, item: T, cost: int = 1) -> None:
        """Put an item behind the others of its tenant; its cost is at least 1."""
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._turns.append(tenant)
            self._credit[tenant] = 0
        queue.append((cost, item))
        self._size += 1

    def pop(self) -> T:
        """Take the next item; there must be one."""
        turns, credit = self._turns, self._credit
        while True:
            tenant = turns[0]
            queue = self._queues[tenant]
            cost = queue[0][0]
            if credit[tenant] >= cost:
                return self._serve(tenant, queue)
            credit[tenant] += self._weights.get(tenant, 1)
            if credit[tenant] < cost:
                turns.rotate(-1)

    def _serve(self, tenant: str, queue: deque[tuple[int, T]]) -> T:
        cost, item = queue.popleft()
        self._size -= 1
        self._credit[tenant] -= cost
        if not queue:
            self._turns.popleft()
            del self._queues[tenant], self._credit[tenant]
        elif self._credit[tenant] < queue[0][0]:
            self._turns.rotate(-1)
        return item
