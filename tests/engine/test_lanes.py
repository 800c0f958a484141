"""Lanes: the oldest of a tenant first, tenants by weight, and nothing lost however heads come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.lanes import Lanes

LANE = b"2pool/site"


class Queues:
    """Ready queues in memory: orders by (partition, queue)."""

    def __init__(self, weights: dict[str, int] | None = None) -> None:
        self.orders: dict[tuple[int, bytes], list[int]] = {}
        self.lanes = Lanes(self.head, self.head, weights or {})

    def head(self, partition: int, queue: bytes) -> int | None:
        return min(self.orders.get((partition, queue), ()), default=None)

    def add(self, tenant: str, partition: int, order: int) -> None:
        queue = LANE + b"\0" + tenant.encode()
        self.orders.setdefault((partition, queue), []).append(order)
        self.lanes.stands(partition, queue, order)

    def grant(self, number: int, now: int) -> list[tuple[str, int]]:
        """Give so many credits; tell who took them, with the order of what went."""
        self.lanes.deal(LANE, now)
        went: list[tuple[str, int]] = []
        while len(went) < number and (place := self.lanes.next(LANE)) is not None:
            order = min(self.orders[place])
            self.orders[place].remove(order)
            self.lanes.granted(*place, used=True)
            went.append((place[1].rpartition(b"\0")[2].decode(), order))
        return went


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=40),
    st.lists(st.integers(1, 7), min_size=1, max_size=10),
)
def test_one_tenant_leaves_in_order_over_all_partitions(
    added: list[tuple[int, int]], cuts: list[int]
) -> None:
    queues = Queues()
    for partition, order in added:
        queues.add("t", partition, order)
    went: list[int] = []
    for now, number in enumerate(cuts * 40):
        went += [order for _, order in queues.grant(number, now)]
    assert went == sorted(order for _, order in added)
    assert queues.lanes.oldest() == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 9))))
def test_the_oldest_is_told(added: list[tuple[str, int, int]]) -> None:
    queues = Queues()
    for tenant, partition, order in added:
        queues.add(tenant, partition, order)
    wanted = {LANE: min(order for _, _, order in added)} if added else {}
    assert queues.lanes.oldest() == wanted


def test_a_noisy_tenant_leaves_the_others_their_share() -> None:
    """Offers of one credit and of many: shares within 5 % of the weights, though one has twenty times as much."""
    for size in (1, 3, 64):
        queues = Queues({"gold": 3})
        for n in range(40_000):
            queues.add("noisy", n % 8, n)
        for n in range(8_000):
            queues.add("gold", n % 8, 1_000_000 + n)
            queues.add("small", n % 8, 1_000_000 + n)
        shares: Counter[str] = Counter()
        now = 0
        while sum(shares.values()) < 10_000:
            now += 7
            shares.update(tenant for tenant, _ in queues.grant(size, now))
        total = sum(shares.values())
        for tenant, weight in (("gold", 3), ("small", 1), ("noisy", 1)):
            assert abs(shares[tenant] / total - weight / 5) <= 0.05 * weight / 5, (size, shares)


def test_what_is_dealt_follows_from_lane_and_time_alone() -> None:
    """Nothing is remembered from one offer to the next: a worker that begins anew deals the same."""
    once, again = Queues(), Queues()
    for queues in (once, again):
        for n in range(30):
            queues.add("abc"[n % 3], 0, n)
    first = once.grant(4, now=5)
    for place in [key for key in again.orders for _ in first if key]:
        again.orders[place] = list(once.orders.get(place, []))
    assert again.grant(6, now=9) == once.grant(6, now=9)


def test_a_credit_that_nobody_used_costs_no_turn() -> None:
    queues = Queues()
    queue = LANE + b"\0t"
    queues.add("t", 0, 1)
    queues.add("t", 0, 2)
    queues.lanes.deal(LANE, 0)
    assert queues.lanes.next(LANE) == (0, queue)
    queues.orders[0, queue].remove(1)
    queues.lanes.granted(0, queue, used=False)
    assert queues.lanes.next(LANE) == (0, queue)
    assert queues.grant(5, now=0) == [("t", 2)]
