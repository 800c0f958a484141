"""Windows: quotas of unknown size are found from what was accepted, deferred, and accepted again."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.windows import Laid, WindowEstimator

MINUTE = 60_000
HOUR = 60 * MINUTE
BEGIN = 1_764_000_000_000 // (24 * HOUR) * 24 * HOUR + 20 * MINUTE


def play(length_ms: int, quota: int, gap_ms: int, laid: Laid, until_ms: int) -> WindowEstimator:
    """Send evenly; stop at a deferral, ask again every minute, go on when let in."""
    windows, times, now_ms, paused = WindowEstimator(), deque[int](), BEGIN, False
    while now_ms < BEGIN + until_ms:
        edge = now_ms - length_ms if laid is Laid.ROLLING else now_ms // length_ms * length_ms - 1
        while times and times[0] <= edge:
            times.popleft()
        if len(times) < quota:
            times.append(now_ms)
            windows.accepted(now_ms)
            if paused:
                windows.resumed(now_ms)
            paused = False
            now_ms += gap_ms
        else:
            windows.deferred(now_ms, begins=not paused)
            paused = True
            now_ms += MINUTE
    return windows


@pytest.mark.parametrize("laid", [Laid.ROLLING, Laid.CLOCK])
@pytest.mark.parametrize(("minutes", "quota"), [(10, 40), (60, 200), (180, 600)])
def test_the_true_window_is_among_what_explains_the_evidence(
    laid: Laid, minutes: int, quota: int
) -> None:
    windows = play(minutes * MINUTE, quota, 7_000, laid, 3 * minutes * MINUTE)
    found = {
        (each.hypothesis.laid, each.hypothesis.length_ms): each for each in windows.estimates()
    }
    true = found[laid, minutes * MINUTE]
    assert true.low <= quota + 1
    assert quota <= true.high <= quota * 1.05 + 2


def test_nothing_is_claimed_without_a_deferral() -> None:
    windows = play(HOUR, 10**9, 1_000, Laid.ROLLING, HOUR)
    assert windows.estimates() == []
    assert windows.reopens_ms() is None


@given(st.lists(st.integers(0, 30_000), max_size=150))
def test_counts_match_a_list_of_times(gaps: list[int]) -> None:
    windows, times, now_ms = WindowEstimator(), [], BEGIN
    for gap_ms in gaps:
        now_ms += gap_ms
        windows.accepted(now_ms)
        times.append(now_ms // 10_000)
    for length_ms in (MINUTE, 10 * MINUTE):
        first_bin = now_ms // 10_000 - length_ms // 10_000 + 1
        expected = sum(each >= first_bin for each in times)
        assert windows.count_in(now_ms, length_ms) == expected
