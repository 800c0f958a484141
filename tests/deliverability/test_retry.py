"""The retry curve: later each time, bounded, spread, and whole minutes from a minute on."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from deliverability.retry import MINUTE, next_attempt
from engine.config import Delivery, RetryCurve

CURVES = st.builds(
    RetryCurve,
    first_s=st.integers(1, 86_400),
    factor=st.floats(1.0, 10.0),
    max_s=st.integers(1, 604_800),
    jitter_percent=st.integers(0, 50),
)


@given(CURVES, st.integers(1, 10_000), st.integers(0, 1 << 45), st.integers(0, 1 << 30))
def test_a_retry_lies_within_its_curve(
    curve: RetryCurve, deferrals: int, now: int, seed: int
) -> None:
    """In the future, never beyond the longest delay with its jitter, and from a minute on a whole one."""
    due = next_attempt(curve, deferrals, now, Random(seed))
    jitter = curve.jitter_percent / 100
    assert due > now
    assert due - now <= curve.max_s * 1000 * (1 + jitter) + MINUTE
    assert due - now >= min(curve.first_s, curve.max_s) * 1000 * (1 - jitter) - 1
    assert due - now < MINUTE or due % MINUTE == 0


@given(CURVES, st.integers(1, 60))
def test_without_chance_delays_never_shrink(curve: RetryCurve, deferrals: int) -> None:
    """Each is at least as long as the one before."""
    calm = RetryCurve(
        first_s=curve.first_s, factor=curve.factor, max_s=curve.max_s, jitter_percent=0
    )
    one, next_one = (next_attempt(calm, n, 0, Random(1)) for n in (deferrals, deferrals + 1))
    assert one <= next_one


@given(CURVES, st.integers(1, 40), st.integers(0, 1 << 30))
def test_the_same_chance_gives_the_same_time(curve: RetryCurve, deferrals: int, seed: int) -> None:
    """A replay retries when the first run did."""
    times = {next_attempt(curve, deferrals, 5 * MINUTE, Random(seed)) for _ in range(3)}
    assert len(times) == 1


def test_retries_are_spread() -> None:
    """A site that was down isn't met by all at the same minute."""
    curve = Delivery().curve("mailbox-full")
    assert len({next_attempt(curve, 1, 0, Random(seed)) for seed in range(50)}) >= 10
