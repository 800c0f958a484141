"""Collectors keep what a report shows, in bounded memory."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.report.collecting import HistogramCollector, SlowestCollector, TimelineCollector
from actors.report.run import SlowMessage


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_histogram_counts_each_value_once_and_its_quantiles_are_near(values: list[float]) -> None:
    bounds = (1.0, 10.0, 1000.0)
    collector = HistogramCollector("ms", bounds)
    for value in values:
        collector.add(value)
    result = collector.result()
    assert result is not None
    assert sum(result.counts) == len(values)
    assert len(result.counts) == len(result.bounds) + 1
    for bound, number in zip(result.bounds, result.counts, strict=False):
        lower = max([0.0, *(one for one in bounds if one < bound)])
        inside = sum(lower < value <= bound or (value == 0 and lower == 0) for value in values)
        assert number == inside
    exact = sorted(values)[(len(values) - 1) // 2]
    assert exact * 0.98 - 0.001 <= result.median <= exact * 1.02 + 0.001


def test_an_empty_histogram_is_none() -> None:
    assert HistogramCollector("s", (1.0,)).result() is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=600), st.integers(2, 20))
def test_a_timeline_is_bounded_rises_and_ends_with_the_last_state(
    steps: list[int], points_max: int
) -> None:
    collector = TimelineCollector(points_max)
    at = 0
    for number, step in enumerate(steps):
        at += step
        collector.add(at, {"delivered": number})
    points = collector.result()
    assert len(points) <= points_max + 1
    times = [point.log_ms for point in points]
    assert times == sorted(set(times))
    assert points[-1].log_ms == at
    assert points[-1].states == {"delivered": len(steps) - 1}
    assert points[0].log_ms == steps[0]


def test_a_timeline_of_many_moments_still_covers_all_of_it() -> None:
    collector = TimelineCollector(50)
    for day in range(10_000):
        collector.add(day, {"delivered": day})
    times = [point.log_ms for point in collector.result()]
    assert len(times) >= 20
    assert max(b - a for a, b in pairwise(times)) <= 10_000 / 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 10))
def test_the_slowest_are_the_slowest(delays: list[int], limit: int) -> None:
    collector = SlowestCollector(limit)
    for number, delay in enumerate(delays):
        collector.add(SlowMessage(str(number), "s", "t", "p", 1, 1000, 1000 + delay))
    kept = [one.delivered_ms - one.due_ms for one in collector.result()]
    assert kept == sorted(delays, reverse=True)[:limit]
