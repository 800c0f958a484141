"""Health: each signal takes its part, nothing goes below zero, and figures of few messages say nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.health_forms import outlook_of, wait_of
from actors.health_views import WaitView
from actors.queues import QueueLine
from deliverability.pacing.health import Signals, judge
from deliverability.pacing.lane import Phase
from deliverability.pacing.pacer import PacerOptions
from deliverability.pacing.telling import lane_views
from tests.deliverability.pacing.pace_world import BEGIN, PATH, World

HOUR = 3_600_000


def test_all_well_is_a_hundred_and_each_signal_says_what_it_takes() -> None:
    assert judge(Signals(delivered=5000)).score == 100
    sick = judge(Signals(delivered=5000, complained=20, blocked=300, bounced=400, postmaster="LOW"))
    assert sick.score == 0
    assert [one.takes for one in sick.reasons] == sorted(
        (one.takes for one in sick.reasons), reverse=True
    )
    assert any("complained" in one.says for one in sick.reasons)
    assert judge(Signals(delivered=20, complained=5)).score == 100  # too few to judge


@given(
    st.builds(
        Signals,
        delivered=st.integers(0, 10**6),
        deferred=st.integers(0, 10**6),
        bounced=st.integers(0, 10**6),
        blocked=st.integers(0, 10**6),
        complained=st.integers(0, 10**6),
        is_stopped=st.booleans(),
        snds=st.sampled_from(["", "GREEN", "YELLOW", "RED"]),
        spam_rate=st.none() | st.floats(0, 1),
    )
)
def test_any_signals_have_a_score(signals: Signals) -> None:
    verdict = judge(signals)
    assert 0 <= verdict.score <= 100
    assert (verdict.score == 100) == (not verdict.reasons)


def test_a_campaign_is_told_which_queues_are_slow() -> None:
    """Of bulk mail that takes an hour, or expires before its turn; with when, why, and whether any order would help."""
    now, minute = BEGIN, 60_000
    wait = WaitView(
        now + 5 * HOUR, now + 4 * HOUR, now + 7 * HOUR, now + 2 * HOUR, "600 an hour: new", 900, 400
    )
    soon = WaitView(now + minute, now, now + 2 * minute, now, "")
    lines = [
        QueueLine("shop", 2, "default", "slow.example", "ready", 3_000, wait=wait),
        QueueLine("shop", 2, "default", "quick.example", "ready", 30, wait=soon),
        QueueLine("shop", 1, "default", "slow.example", "ready", 30, wait=wait),
        QueueLine("shop", 2, "default", "unpaced.example", "ready", 30),
    ]
    (told,) = outlook_of(lines, now)
    assert told.startswith("slow.example: 3,000 wait, the last goes in about 5")
    assert told.endswith(
        "600 an hour: new; about 900 expire before their turn, 400 in whatever order"
    )


def test_a_waiting_queue_is_told_when_it_goes_and_why() -> None:
    world = World("", PacerOptions(first_per_hour=600), senders=1, step_ms=1000)
    world.run(60_000)
    views = lane_views(world.pacer, world.now)
    wait = wait_of(100, views, world.now)
    assert wait.earliest_ms <= wait.likely_ms <= wait.latest_ms
    assert 5 * 60_000 < wait.likely_ms - world.now < 15 * 60_000
    assert wait.doubled_ms < wait.likely_ms
    ends = world.now + (wait.likely_ms - world.now) // 2
    samples = [(share / 10, ends) for share in range(10)]
    assert (
        wait_of(100, views, world.now, samples).misses == 40
    )  # whose turn comes in the second half
    assert wait_of(100, views, world.now, [(0.9, wait.latest_ms * 2)]).misses == 0
    assert wait_of(100, views, world.now, samples).unavoidable == 50, "half of it in half the time"
    first = [(0.9, ends), *((share / 10, 0) for share in range(9))]
    one = wait_of(100, views, world.now, [(s, e or wait.latest_ms * 9) for s, e in first])
    assert (one.misses, one.unavoidable) == (10, 0), "were it first, it would go"
    assert "an hour" in wait.why
    world.reply = lambda _path, _now: (450, "4.7.1 too many messages")
    world.run(120_000)
    (view,) = lane_views(world.pacer, world.now, curves=True)
    assert view.phase == Phase.PAUSED.value
    assert "paused" in wait_of(100, [view], world.now).why
    assert view.curve[0].at <= BEGIN + HOUR
    assert view.paths[0].site == PATH.site
