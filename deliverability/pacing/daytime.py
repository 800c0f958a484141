"""What a provider takes at each hour of the day, learned from the rates that held.

After two days an hour's memory is trusted: when the clock enters an hour whose remembered rate differs from the one
before by more than a fifth, the lane moves its ceiling by that factor at once, and need not find it out again.
"""

from __future__ import annotations

__all__ = ("DayMemory",)

_HOUR_MS = 3_600_000
_SEEN_TO_TRUST = 2


class DayMemory:
    """A rate and how often it was seen, for each hour of the day (UTC)."""

    def __init__(self) -> None:
        self._per_hour = [0.0] * 24
        self._seen = [0] * 24
        self._noted_hour = -1

    def note(self, now_ms: int, per_hour: float) -> None:
        """Remember the rate that holds now; the last note of an hour counts."""
        hour = now_ms // _HOUR_MS
        at = hour % 24
        if hour != self._noted_hour:
            self._seen[at] += 1
            self._noted_hour = hour
            self._per_hour[at] = per_hour
        else:
            self._per_hour[at] = 0.5 * self._per_hour[at] + 0.5 * per_hour

    def factor(self, now_ms: int) -> float:
        """Return by how much the hour that begins now differs from the one before; 1.0 if it isn't known."""
        at = now_ms // _HOUR_MS % 24
        before = (at - 1) % 24
        if min(self._seen[at], self._seen[before]) < _SEEN_TO_TRUST or not self._per_hour[before]:
            return 1.0
        factor = self._per_hour[at] / self._per_hour[before]
        return factor if not 0.8 <= factor <= 1.25 else 1.0
