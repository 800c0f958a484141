"""Collects what a report shows while a run goes on, in bounded memory however long the run is."""

from __future__ import annotations

__all__ = ("HistogramCollector", "SlowestCollector", "TimelineCollector")

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Literal

from actors.report.run import Histogram, SlowMessage, TimelinePoint
from engine.histogram import grain_of, value_of

ACCEPT_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000)
DELAY_BOUNDS_S = (1, 10, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 259_200)


class HistogramCollector:
    """Counts values between bounds; median and 99th percentile are right to one per cent."""

    def __init__(self, unit: Literal["ms", "s"], bounds: tuple[float, ...]) -> None:
        self._unit: Literal["ms", "s"] = unit
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._fine: Counter[int] = Counter()
        self._maximum = 0.0

    def add(self, value: float) -> None:
        """Count one value, at least 0."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._fine[grain_of(value)] += 1
        self._maximum = max(self._maximum, value)

    def add_grains(self, grains: Mapping[int, int]) -> None:
        """Count values that were counted by grain elsewhere."""
        for grain, number in grains.items():
            value = value_of(grain)
            self._counts[bisect_left(self._bounds, value)] += number
            self._fine[grain] += number
            self._maximum = max(self._maximum, value)

    def quantile(self, share: float) -> float:
        """Give a quantile; 0 when nothing was counted."""
        return self._quantile(share)

    def result(self) -> Histogram | None:
        """Give the histogram, without empty bounds behind the last value; None when nothing was counted."""
        total = sum(self._counts)
        if not total:
            return None
        used = max(at for at, number in enumerate(self._counts) if number)
        return Histogram(
            self._unit,
            list(self._bounds[: used + 1]),
            [*self._counts[: used + 1], 0][: min(used + 1, len(self._bounds)) + 1],
            self._quantile(0.5),
            self._quantile(0.99),
            round(self._maximum, 3),
        )

    def _quantile(self, share: float) -> float:
        wanted = share * self._fine.total()
        seen = 0
        for grain, number in sorted(self._fine.items()):
            seen += number
            if seen >= wanted:
                return float(f"{min(value_of(grain), self._maximum):.3g}")
        return 0.0


class TimelineCollector:
    """Keeps states over time, at most `points_max` of them: when there are more, every other one is dropped."""

    def __init__(self, points_max: int = 400) -> None:
        assert points_max >= 2
        self._points_max = points_max
        self._points: list[TimelinePoint] = []
        self._last: TimelinePoint | None = None
        self._every_ms = 0

    def add(self, log_ms: int, states: dict[str, int]) -> None:
        """Note the states at a moment; moments never go back, and a later note of a moment replaces it."""
        self._last = TimelinePoint(log_ms, dict(states))
        if self._points and log_ms - self._points[-1].log_ms < max(self._every_ms, 1):
            return
        self._points.append(self._last)
        if len(self._points) > self._points_max:
            self._points = self._points[::2]
            span = log_ms - self._points[0].log_ms
            self._every_ms = max(1, 2 * span // self._points_max)

    def result(self) -> list[TimelinePoint]:
        """Give the points kept, and the last one always."""
        if self._last is None or self._points[-1] is self._last:
            return list(self._points)
        if self._points[-1].log_ms == self._last.log_ms:
            return [*self._points[:-1], self._last]
        return [*self._points, self._last]


class SlowestCollector:
    """Keeps the messages that took longest from due to accepted."""

    def __init__(self, limit: int = 15) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int, SlowMessage]] = []
        self._number = count(0, -1)  # of equal delays the earlier one stays

    def add(self, message: SlowMessage) -> None:
        """Take one message into account."""
        entry = (message.delivered_ms - message.due_ms, next(self._number), message)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def result(self) -> list[SlowMessage]:
        """Give them, the slowest first."""
        return [message for _, _, message in sorted(self._heap, reverse=True)]
