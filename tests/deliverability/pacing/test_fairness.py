"""Fairness: shares by weight, whatever a tenant has waiting; nothing lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.fairness import DeficitRoundRobin


def test_a_million_of_one_tenant_leave_the_others_their_share() -> None:
    """Within 5 % of the weights, and nobody waits longer between two of his own than a round."""
    weights = {"noisy": 1, "a": 1, "b": 2, "c": 4}
    queue = DeficitRoundRobin[str](weights)
    for tenant in weights:
        for _ in range(1_000_000 if tenant == "noisy" else 10_000):
            queue.add(tenant, tenant)
    picked = [queue.pop() for _ in range(16_000)]
    for tenant, weight in weights.items():
        assert abs(picked.count(tenant) / 16_000 - weight / 8) <= 0.05 * weight / 8
        at = [n for n, one in enumerate(picked) if one == tenant]
        assert max(b - a for a, b in pairwise(at)) <= 8


def test_a_quiet_tenant_waits_no_longer_for_a_noisy_one() -> None:
    queue = DeficitRoundRobin[str]({})
    for _ in range(50_000):
        queue.add("noisy", "n")
    queue.add("quiet", "q")
    assert "q" in [queue.pop() for _ in range(3)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=60))
def test_everything_comes_out_once_and_in_order(drawn: list[tuple[str, int]]) -> None:
    queue = DeficitRoundRobin[tuple[str, int]]({"b": 3})
    for number, (tenant, cost) in enumerate(drawn):
        queue.add(tenant, (tenant, number), cost)
    out = [queue.pop() for _ in range(len(queue))]
    assert len(queue) == 0
    assert sorted(number for _, number in out) == list(range(len(drawn)))
    for tenant in "abc":
        mine = [number for one, number in out if one == tenant]
        assert mine == sorted(mine)
