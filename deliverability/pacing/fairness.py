"""Who is next: deadlines and priorities before it, then tenants by weight.

Urgent items go by deadline, then by priority, in order of arrival among equals. All others wait in a queue for each
tenant, and deficit round robin (Shreedhar and Varghese, 1995) serves the tenants: each turn gives a tenant its weight
in credit, and it sends as long as its credit covers the cost. So a tenant with a million items leaves the others
their share, and a tenant that was idle gains nothing by it. Every tenth pick goes to the tenants even while urgent
items wait, so that a flood of urgent mail can't stop the rest.
"""

from __future__ import annotations

__all__ = ("DeficitRoundRobin", "FairQueue", "Item")

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

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


class Item(msgspec.Struct, frozen=True):
    """What waits. `cost` is in messages, or in whatever is scarce; `deadline_ms` 0 means none."""

    id: str
    tenant: str
    cost: int = 1
    deadline_ms: int = 0
    priority: int = 0
    expires_ms: int = 0


class FairQueue:
    """One queue for a route. Each operation takes O(log urgent) or O(1) on average."""

    URGENT_PRIORITY = 100  # at and above this, or with a deadline, an item is urgent
    TENANTS_EVERY = 10

    def __init__(self) -> None:
        self._urgent: list[tuple[int, int, int, Item]] = []
        self._weights: dict[str, int] = {}
        self._tenants: DeficitRoundRobin[Item] = DeficitRoundRobin(self._weights)
        self._cancelled: set[str] = set()
        self._arrivals = self._picks = self._size = 0

    def __len__(self) -> int:
        return self._size

    def set_weight(self, tenant: str, weight: int) -> None:
        """Set a tenant's share; 1 if never set."""
        assert weight >= 1
        self._weights[tenant] = weight

    def add(self, item: Item) -> None:
        """Put an item in; its cost is at least 1."""
        assert item.cost >= 1
        self._cancelled.discard(item.id)
        self._size += 1
        self._arrivals += 1
        if item.deadline_ms or item.priority >= self.URGENT_PRIORITY:
            key = (item.deadline_ms or (1 << 62), -item.priority, self._arrivals, item)
            heapq.heappush(self._urgent, key)
            return
        self._tenants.add(item.tenant, item, item.cost)

    def cancel(self, item_id: str) -> None:
        """Mark an item that has become pointless; it is dropped when its turn comes."""
        self._cancelled.add(item_id)

    def pick(self, now_ms: int) -> tuple[Item | None, tuple[Item, ...]]:
        """Take the next item, and return beside it those that were dropped as expired or cancelled on the way."""
        dropped: list[Item] = []
        while self._size:
            item = self._next()
            self._size -= 1
            if item.id in self._cancelled or 0 < item.expires_ms <= now_ms:
                self._cancelled.discard(item.id)
                dropped.append(item)
                continue
            self._picks += 1
            return item, tuple(dropped)
        return None, tuple(dropped)

    def _next(self) -> Item:
        tenants_turn = (
            len(self._tenants) and self._picks % self.TENANTS_EVERY == self.TENANTS_EVERY - 1
        )
        if self._urgent and not tenants_turn:
            return heapq.heappop(self._urgent)[3]
        return self._tenants.pop()
