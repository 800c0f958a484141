"""A tenant with a million messages, on the way that a message takes to its connection.

`engine.lanes` deals credits between the tenants of a worker, `deliverability.lines` starts what was handed over, both
by the weights of the configuration. What waits in the store is stood in for by a number for each tenant.
"""

from __future__ import annotations

from collections import Counter, deque

from deliverability.lines import Lines
from engine.lanes import Lanes

LANE = b"2default/mail.test"
ROUTE = "default/mail.test"
CREDITS = 64  # dealt at once, as an egress does
MILLION = 1_000_000


class Way:
    """Ready queues of some tenants in two partitions, and the line of one route."""

    def __init__(self, weights: dict[str, int]) -> None:
        self.ready: dict[tuple[int, bytes], deque[tuple[int, int]]] = {}  # order, how many
        self.lanes = Lanes(self._head, self._head, weights)
        self.lines: Lines[tuple[str, int]] = Lines(weights)
        self.now = 0
        self.waits: dict[str, list[int]] = {}
        self.started: Counter[str] = Counter()

    def _head(self, partition: int, queue: bytes) -> int | None:
        waiting = self.ready.get((partition, queue))
        return waiting[0][0] if waiting else None

    def arrive(self, tenant: str, number: int) -> None:
        place = (self.now % 2, LANE + b"\0" + tenant.encode())
        self.ready.setdefault(place, deque()).append((self.now, number))
        self.lanes.stands(*place, self.now)

    def step(self) -> None:
        """Deal credits to whoever is ready, then start as many messages."""
        self.now += 1
        self.lanes.deal(LANE, self.now)
        for _ in range(CREDITS):
            place = self.lanes.next(LANE)
            if place is None:
                break
            self._hand_over(place)
        for _ in range(CREDITS):
            item = self.lines.pop(ROUTE)
            if item is None:
                break
            tenant, since = item
            self.started[tenant] += 1
            self.waits.setdefault(tenant, []).append(self.now - since)

    def _hand_over(self, place: tuple[int, bytes]) -> None:
        tenant = place[1].partition(b"\0")[2].decode()
        order, number = self.ready[place].popleft()
        if number > 1:
            self.ready[place].appendleft((order, number - 1))
        self.lines.add(ROUTE, 2, tenant, (tenant, order))
        self.lanes.granted(*place, used=True)

    def p99(self, tenant: str) -> int:
        waits = sorted(self.waits[tenant])
        return waits[len(waits) * 99 // 100]


def test_shares_are_by_weight_while_all_have_work() -> None:
    weights = {"noisy": 1, "a": 1, "b": 2, "c": 4}
    way = Way(weights)
    for tenant in weights:
        way.arrive(tenant, MILLION if tenant == "noisy" else 100_000)
    for _ in range(300):
        way.step()
    total = sum(way.started.values())
    assert total == 300 * CREDITS
    for tenant, weight in weights.items():
        share = way.started[tenant] / total
        assert abs(share - weight / 8) <= 0.05 * weight / 8, (tenant, share)


def test_the_wait_of_the_others_is_unharmed_by_a_million() -> None:
    """Others bring three quarters of what they may have; they wait no longer than one step more than without noise."""
    weights = {"noisy": 1, "a": 1, "b": 1, "c": 1}
    waits = {}
    for noise in (0, MILLION):
        way = Way(weights)
        if noise:
            way.arrive("noisy", noise)
        for step in range(500):
            for tenant in ("a", "b", "c"):
                way.arrive(tenant, 12 if step % 2 else 11)
            way.step()
        waits[noise] = {tenant: way.p99(tenant) for tenant in ("a", "b", "c")}
        if noise:
            assert way.started["noisy"] > 0.2 * sum(way.started.values())  # what is left is its own
    for tenant, wait in waits[MILLION].items():
        assert wait <= waits[0][tenant] + 1, waits


def test_urgent_mail_of_a_quiet_tenant_goes_with_the_next_step() -> None:
    way = Way({})
    way.arrive("noisy", MILLION)
    for _ in range(50):
        way.step()
    way.lines.add(ROUTE, 1, "quiet", ("quiet", way.now))
    way.step()
    assert way.started["quiet"] == 1
