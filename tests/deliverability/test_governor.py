"""Leases add up to the limit, and meters never give more than their rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.governor import Gate, Governor, Limit, RateMeter

LIMITS = st.builds(Limit, st.just("*"), st.integers(0, 500), st.integers(0, 100_000), st.just(100))


@given(LIMITS, st.integers(1, 20))
def test_the_shares_of_all_egresses_add_up_to_the_limit(limit: Limit, egresses: int) -> None:
    """Neither more, whoever dies, nor less; and nobody has two more than another."""
    governor = Governor((limit,), egresses)
    leases = [governor.lease(holder, "example.org") for holder in range(egresses)]
    assert sum(lease.connections for lease in leases) == limit.connections
    assert sum(lease.messages_per_minute or 0 for lease in leases) == limit.messages_per_minute
    shares = [lease.connections for lease in leases]
    assert max(shares) - min(shares) <= 1


def test_the_first_limit_that_fits_a_domain_is_its_limit() -> None:
    """Patterns in their order; a domain without one has the default's connections and no rate."""
    governor = Governor((Limit("*.example", 4, 60), Limit("b.*", 8)), 1)
    assert governor.lease(0, "a.example").connections == 4
    assert governor.lease(0, "b.org").connections == 8
    other = governor.lease(0, "c.org")
    assert (other.connections, other.messages_per_minute) == (Limit().connections, None)


@given(
    st.integers(1, 20_000),
    st.integers(1, 500),
    st.lists(
        st.tuples(st.integers(-2000, 30_000), st.integers(0, 60), st.integers(0, 3)), max_size=40
    ),
)
def test_a_meter_never_gives_more_than_its_rate_and_its_burst(
    per_minute: int, burst: int, plan: list[tuple[int, int, int]]
) -> None:
    """Over every stretch that began with a full bucket, whatever the clock does and whatever comes back unused."""
    meter, now, highest, used = RateMeter(per_minute, burst, 1000), 1000, 1000, 0
    for later, asked, unused in plan:
        now += later
        highest = max(highest, now)
        taken = min(asked, meter.available(now))
        meter.take(taken)
        back = min(unused, taken)
        meter.give_back(back)
        used += taken - back
        assert used <= burst + (highest - 1000) * per_minute / 60_000


@given(st.integers(1, 20_000), st.integers(1, 50))
def test_a_meter_tells_when_its_next_token_comes(per_minute: int, burst: int) -> None:
    """Not a millisecond before, and surely then."""
    meter = RateMeter(per_minute, burst, 0)
    meter.take(meter.available(0))
    at = meter.next_at()
    assert at > 0
    assert meter.available(at - 1) == 0
    assert meter.available(at) >= 1


def test_a_gate_keeps_one_meter_for_each_route_and_none_where_there_is_no_rate() -> None:
    """Tokens that weren't used come back to their route alone."""
    governor = Governor((Limit("a.*", 5, 60, burst=3), Limit("*", 5)), 1)
    gate = Gate(lambda route: governor.lease(0, route))
    assert gate.available("b.org", 0) is None
    assert gate.next_at("b.org") is None
    gate.take("b.org", 1000)
    gate.give_back("b.org", 1000)
    assert gate.available("a.org", 0) == 3
    gate.take("a.org", 3)
    assert (gate.available("a.org", 0), gate.available("a.net", 0)) == (0, 3)
    assert gate.next_at("a.org") == 1000
    gate.give_back("a.org", 1)
    assert gate.available("a.org", 0) == 1
