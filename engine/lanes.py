"""What is ready, over all partitions of a worker: which lane, which tenant, the oldest first. Pure, kept up to date.

A ready queue is named `lane NUL tenant`. Credits are granted for a lane. Of one tenant the entity with the lowest order
goes first, whatever partition it stands in; between tenants each credit is drawn by weight (lottery scheduling,
Waldspurger and Weihl, 1994), so that a tenant with a million entities leaves the others their share, also where a
single credit comes at a time. The draws follow from lane, time and tenant: nothing has to be remembered from one offer
to the next, and the same inputs decide the same after a restart. They are made as waiting times (exponential, by
weight), so that a tenant who turns out to have nothing doesn't change who of the others comes next.

Each (partition, queue) has at most one living entry here, with a lower bound of its head's order: a head that came is
told by `stands`, one that left shows when the entry comes to the top. Nothing walks over all partitions.
"""

from __future__ import annotations

__all__ = ("Lanes", "lane_of")

from collections.abc import Callable, Mapping
from hashlib import blake2b
from heapq import heapify, heappop, heappush, heapreplace
from math import log

Place = tuple[int, bytes]
"""A partition's number and a queue's name."""


def lane_of(queue: bytes) -> bytes:
    """Give the lane of a ready queue: what credits are granted for."""
    return queue.partition(b"\0")[0]


class _Lane:
    """What is ready in one lane, by tenant, and the draws of the offer that is dealt."""

    __slots__ = ("drawn", "heaps", "race", "seed")

    def __init__(self) -> None:
        self.heaps: dict[bytes, list[tuple[int, int, bytes]]] = {}  # order, partition, queue
        self.race: list[tuple[float, bytes]] = []  # when each tenant's next credit comes
        self.drawn: dict[bytes, int] = {}  # draws made for each tenant in this race
        self.seed = b""


class Lanes:
    """See the module.

    Args:
        head: tells the exact order of the head of a queue of a partition, None when it is empty; may read.
        bound: tells a lower bound of it without reading.
        weights: shares by tenant; 1 for one that isn't named.
    """

    def __init__(
        self,
        head: Callable[[int, bytes], int | None],
        bound: Callable[[int, bytes], int | None],
        weights: Mapping[str, int],
    ) -> None:
        self._head = head
        self._bound = bound
        self._weights = {tenant.encode(): weight for tenant, weight in weights.items()}
        self._lanes: dict[bytes, _Lane] = {}
        self._orders: dict[Place, int] = {}  # of the living entries

    def clear(self) -> None:
        """Forget all: the partitions are read anew."""
        self._lanes.clear()
        self._orders.clear()

    def stands(self, partition: int, queue: bytes, order: int) -> None:
        """Hear that an entity stands in a queue of a partition.

        A queue whose name begins with NUL has no lane: what stands there is parked, and granted no credit.
        """
        if queue[:1] == b"\0":
            return
        known = self._orders.get((partition, queue))
        if known is None or order < known:
            self._put(partition, queue, order)

    def oldest(self) -> dict[bytes, int]:
        """Give the lanes in which something is ready, with the lowest order that may stand there."""
        found = {}
        for name, lane in list(self._lanes.items()):
            orders = [
                order
                for tenant in list(lane.heaps)
                if (order := self._top(lane, tenant, self._bound)) is not None
            ]
            if orders:
                found[name] = min(orders)
            else:
                del self._lanes[name]
        return found

    def known(self, order: Callable[[int, bytes], int | None]) -> dict[bytes, int]:
        """Give the lanes of which something was read, with the lowest order there; `order` tells it of a queue."""
        found = {}
        for name, lane in self._lanes.items():
            places = {(number, queue) for heap in lane.heaps.values() for _, number, queue in heap}
            orders = [one for place in places if (one := order(*place)) is not None]
            if orders:
                found[name] = min(orders)
        return found

    def deal(self, name: bytes, now: int) -> None:
        """Begin to deal an offer for a lane."""
        lane = self._lanes.get(name)
        if lane is not None:
            lane.seed = name + b"\0" + now.to_bytes(8)
            lane.drawn = {}
            lane.race = [(self._draw(lane, tenant), tenant) for tenant in lane.heaps]
            heapify(lane.race)

    def next(self, name: bytes) -> Place | None:
        """Give the queue whose head is next in a lane; None: nothing is ready. `granted` must follow."""
        lane = self._lanes.get(name)
        while lane is not None and lane.race:
            tenant = lane.race[0][1]
            if self._top(lane, tenant, self._head) is None:
                heappop(lane.race)
                continue
            _, partition, queue = lane.heaps[tenant][0]
            return partition, queue
        return None

    def granted(self, partition: int, queue: bytes, *, used: bool) -> None:
        """Hear that the head of a queue was taken; one that didn't use the credit costs its tenant nothing."""
        if used:
            name, _, tenant = queue.partition(b"\0")
            lane = self._lanes[name]
            time = lane.race[0][0] + self._draw(lane, tenant)
            heapreplace(lane.race, (time, tenant))
        order = self._head(partition, queue)
        if order is None:
            self._orders.pop((partition, queue), None)
        else:
            self._put(partition, queue, order)

    def _draw(self, lane: _Lane, tenant: bytes) -> float:
        """Draw how long a tenant waits for its next credit; the mean is one over its weight."""
        number = lane.drawn[tenant] = lane.drawn.get(tenant, 0) + 1
        key = lane.seed + number.to_bytes(4) + tenant
        drawn = int.from_bytes(blake2b(key, digest_size=8).digest())
        return -log((drawn + 1) / (1 << 64)) / self._weights.get(tenant, 1)

    def _put(self, partition: int, queue: bytes, order: int) -> None:
        self._orders[partition, queue] = order
        name, _, tenant = queue.partition(b"\0")
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        heap = lane.heaps.get(tenant)
        if heap is None:
            heap = lane.heaps[tenant] = []
            if lane.seed and tenant not in lane.drawn:  # it came while an offer is dealt
                heappush(lane.race, (self._draw(lane, tenant), tenant))
        heappush(heap, (order, partition, queue))

    def _top(
        self, lane: _Lane, tenant: bytes, head: Callable[[int, bytes], int | None]
    ) -> int | None:
        """Bring a living entry that is true to the top of a tenant's heap; None: it has none, and leaves."""
        heap = lane.heaps.get(tenant)
        while heap:
            order, partition, queue = heap[0]
            if self._orders.get((partition, queue)) != order:
                heappop(heap)  # another entry has taken its place
                continue
            true = head(partition, queue)
            if true is not None and true <= order:
                return order
            heappop(heap)
            if true is None:
                del self._orders[partition, queue]
            else:
                self._orders[partition, queue] = true
                heappush(heap, (true, partition, queue))
        lane.heaps.pop(tenant, None)
        return None
