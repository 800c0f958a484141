"""Buckets: whatever the order of calls, no window of one period ever holds more than the quantity."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.tokens import NEVER_MS, Bucket

_CALLS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 6)), max_size=120)


@given(st.integers(1, 30), st.integers(1, 500), st.none() | st.integers(1, 40), _CALLS)
def test_no_window_passes_the_limit(
    quantity: int, period_ms: int, burst: int | None, calls: list[tuple[int, int]]
) -> None:
    bucket, now_ms, taken = Bucket(quantity, period_ms, burst), 0, []
    for step_ms, amount in calls:
        now_ms += step_ms % 7 if step_ms < 300 else step_ms
        if bucket.take(now_ms, amount):
            taken.append((now_ms, amount))
    for begin_ms, _ in taken:
        used = sum(amount for at, amount in taken if begin_ms <= at < begin_ms + period_ms)
        assert used <= quantity


@given(st.integers(1, 30), st.integers(1, 500), st.lists(st.integers(-50, 50), max_size=80))
def test_a_clock_that_jumps_gains_nothing(quantity: int, period_ms: int, steps: list[int]) -> None:
    bucket, now_ms, highest, taken = Bucket(quantity, period_ms), 1_000, 0, []
    for step_ms in steps:
        now_ms = max(0, now_ms + step_ms)
        highest = max(highest, now_ms)
        if bucket.take(now_ms):
            taken.append(highest)
    for begin_ms in taken:
        assert sum(begin_ms <= at < begin_ms + period_ms for at in taken) <= quantity


@given(st.integers(1, 30), st.integers(1, 500), st.integers(1, 30), st.integers(0, 2_000))
def test_the_wait_is_exact(quantity: int, period_ms: int, amount: int, now_ms: int) -> None:
    bucket = Bucket(quantity, period_ms, burst=quantity)
    while bucket.take(now_ms):
        pass
    wait_ms = bucket.wait_ms(now_ms, amount)
    if amount > quantity:
        assert wait_ms == NEVER_MS
        return
    assert wait_ms > 0
    assert bucket.wait_ms(now_ms + wait_ms - 1, amount) == 1
    assert bucket.take(now_ms + wait_ms, amount)


def test_a_day_is_spread_over_the_day_by_default() -> None:
    bucket, day_ms = Bucket(50_000, 86_400_000), 86_400_000
    assert sum(bucket.take(0) for _ in range(10)) == 2
    used = sum(bucket.take(at) for at in range(0, day_ms, 500)) + 2
    assert 49_900 <= used <= 50_000


def test_bytes_take_a_whole_message_or_nothing() -> None:
    bucket = Bucket(1_000_000, 60_000, largest=300_000)
    assert bucket.take(0, 300_000)
    assert not bucket.take(1, 300_000)
    assert bucket.take(bucket.wait_ms(1, 300_000) + 1, 300_000)


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket(1, 1_000)
    assert bucket.take(0)
    assert not bucket.take(1)
    bucket.give_back()
    assert bucket.take(1)
