"""Where a twin takes its time from: the machine, or the driver of a replay."""

from __future__ import annotations

__all__ = ("Clock", "SetClock", "WallClock")

import time
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now_ms(self) -> int:
        """Give the time in ms since 1970."""


class WallClock:
    """The machine's clock, for a twin run by hand."""

    def now_ms(self) -> int:
        """Give the wall clock's time."""
        return time.time_ns() // 1_000_000


class SetClock:
    """A clock that stands until it is set: in a replay its driver tells the log's time."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Give the time last set."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Set the time; an earlier one is ignored."""
        self._now_ms = max(now_ms, self._now_ms)
