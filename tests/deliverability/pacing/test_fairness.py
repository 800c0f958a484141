"""Fairness: shares by weight, urgent mail first, nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.fairness import FairQueue, Item


def test_a_million_of_one_tenant_leave_the_others_their_share() -> None:
    queue = FairQueue()
    weights = {"noisy": 1, "a": 1, "b": 2, "c": 4}
    for tenant, weight in weights.items():
        queue.set_weight(tenant, weight)
        for number in range(200_000 if tenant == "noisy" else 10_000):
            queue.add(Item(f"{tenant}{number}", tenant))
    counts = dict.fromkeys(weights, 0)
    for _ in range(16_000):
        item, _ = queue.pick(0)
        assert item is not None
        counts[item.tenant] += 1
    for tenant, weight in weights.items():
        share = counts[tenant] / 16_000
        assert abs(share - weight / 8) <= 0.05 * weight / 8


def test_a_quiet_tenant_waits_no_longer_for_a_noisy_one() -> None:
    queue = FairQueue()
    for number in range(50_000):
        queue.add(Item(f"n{number}", "noisy"))
    queue.add(Item("quiet", "quiet"))
    picked = [queue.pick(0)[0] for _ in range(3)]
    assert "quiet" in [item.id for item in picked if item]


def test_a_one_time_password_passes_a_million_newsletters() -> None:
    queue = FairQueue()
    for number in range(100_000):
        queue.add(Item(f"n{number}", "news"))
    for _ in range(8):
        queue.pick(0)
    queue.add(Item("late", "t", deadline_ms=2_000))
    queue.add(Item("otp", "t", deadline_ms=1_000))
    picked = [queue.pick(0)[0] for _ in range(4)]
    assert [item.id for item in picked if item and item.tenant == "t"] == ["otp", "late"]


def test_a_flood_of_urgent_mail_leaves_the_tenants_a_tenth() -> None:
    queue = FairQueue()
    for number in range(1_000):
        queue.add(Item(f"u{number}", "u", priority=200))
        queue.add(Item(f"n{number}", "n"))
    tenants = [item.tenant for item, _ in (queue.pick(0) for _ in range(500)) if item]
    assert tenants.count("n") == 50


def test_expired_and_cancelled_items_are_dropped_at_the_last_moment() -> None:
    queue = FairQueue()
    queue.add(Item("old", "t", expires_ms=10))
    queue.add(Item("converted", "t"))
    queue.add(Item("good", "t"))
    queue.cancel("converted")
    item, dropped = queue.pick(10)
    assert (item.id if item else None, [each.id for each in dropped]) == (
        "good",
        ["old", "converted"],
    )
    assert (len(queue), queue.pick(10)) == (0, (None, ()))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 9), st.integers(0, 5), st.integers(0, 200)
        ),
        max_size=80,
    )
)
def test_everything_comes_out_once(drawn: list[tuple[str, int, int, int]]) -> None:
    queue = FairQueue()
    items = [Item(str(n), t, cost, due, prio) for n, (t, cost, due, prio) in enumerate(drawn)]
    for item in items:
        queue.add(item)
    out = [picked[0] for picked in (queue.pick(0) for _ in items)]
    assert sorted(each.id for each in out if each) == sorted(each.id for each in items)
    for tenant in "abc":  # in order of arrival within a tenant's ordinary mail
        ordinary = [int(each.id) for each in out if each and each.tenant == tenant]
        ordinary = [n for n in ordinary if not items[n].deadline_ms and items[n].priority < 100]
        assert ordinary == sorted(ordinary)
