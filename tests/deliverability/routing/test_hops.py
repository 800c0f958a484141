"""Failover, circuit breaker and fail-back, on a clock set by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.routing.hops import BreakerSettings, Hop, Hops

A, B, C = Hop("a", "192.0.2.1", 25, 0), Hop("b", "192.0.2.2", 25, 1), Hop("c", "192.0.2.3", 25, 1)
SETTINGS = BreakerSettings(failures_max=2, first_ms=1000, max_ms=3000)


def _hops() -> Hops:
    return Hops([A, B, C], SETTINGS)


def test_the_best_rank_is_used_and_equals_share() -> None:
    """By sessions open."""
    hops = _hops()
    assert [hops.choose(0), hops.choose(0)] == [A, A]
    hops.failed(A, 0, "refused", certain=True)
    assert {hops.choose(1), hops.choose(1)} == {B, C}


def test_a_hop_that_wont_serve_is_down_at_once_and_longer_each_time() -> None:
    """1 s, 2 s, 3 s at most."""
    hops = _hops()
    now = 0
    for wait in (1000, 2000, 3000, 3000):
        assert hops.choose(now) == A
        assert hops.failed(A, now, "refused", certain=True)
        hops.left(A)
        assert hops.choose(now + wait - 1, [B, C]) is None
        now += wait


def test_sessions_that_die_with_a_message_count_until_one_is_answered() -> None:
    """Two in a row, by the settings."""
    hops = _hops()
    assert not hops.failed(A, 0, "lost", certain=False)
    hops.served(A)
    assert not hops.failed(A, 0, "lost", certain=False)
    assert hops.failed(A, 0, "lost", certain=False)
    assert hops.down(A, 999)


def test_a_trial_is_one_session() -> None:
    """Until a message was answered there."""
    hops = _hops()
    hops.failed(A, 0, "refused", certain=True)
    assert hops.choose(1000) == A
    assert hops.choose(1000) in (B, C)
    assert hops.served(A)
    assert hops.choose(1001) == A


def test_a_better_hop_is_tried_beside_those_in_use() -> None:
    """Not before its time, and once."""
    hops = _hops()
    hops.failed(A, 0, "refused", certain=True)
    assert hops.choose(1) in (B, C)
    assert hops.fail_back(999) is None
    assert hops.fail_back(1000) == A
    assert hops.fail_back(1000) is None


def test_a_new_list_keeps_what_is_known() -> None:
    """DNS is asked again, and a dead host stays dead."""
    hops = _hops()
    hops.failed(A, 0, "refused", certain=True)
    hops.replace([A, B])
    assert hops.choose(1) == B


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["choose", "fail", "lose", "serve", "leave", "back"]),
            st.integers(0, 2),
            st.integers(0, 2000),
        ),
        max_size=60,
    )
)
def test_nothing_is_chosen_that_is_down_or_on_trial(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens: a hop that is down isn't chosen, and sessions are never negative."""
    hops = _hops()
    now = 0
    for what, which, passed in steps:
        now += passed
        hop = hops.hops[which]
        match what:
            case "choose" | "back":
                states = {h: (s.until > now, s.on_trial) for h, s in hops.states()}
                chosen = hops.choose(now) if what == "choose" else hops.fail_back(now)
                assert chosen is None or states[chosen] == (False, False) or not states[chosen][0]
                if chosen is None and what == "choose":
                    assert all(down or trial for down, trial in states.values())
            case "fail":
                hops.failed(hop, now, "x", certain=True)
            case "lose":
                hops.failed(hop, now, "x", certain=False)
            case "serve":
                hops.served(hop)
                assert not hops.down(hop, now)
            case _:
                hops.left(hop)
        assert all(state.sessions >= 0 for _, state in hops.states())
