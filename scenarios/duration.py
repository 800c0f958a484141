"""Durations as people write them: `90s`, `15m`, `1h30m`, `7d`, `2w`. They are elapsed time: a day is 24 hours."""

from __future__ import annotations

__all__ = ("DAY_MS", "DURATION_MAX_MS", "format_duration", "parse_duration")

import re
from typing import Final

DAY_MS: Final = 86_400_000
DURATION_MAX_MS: Final = 3_660 * DAY_MS  # ten years: anything longer is a slip
_UNITS: Final = {"w": 7 * DAY_MS, "d": DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_WHOLE: Final = re.compile(r"(?:[0-9]{1,9}(?:ms|[wdhms]))+")
_PART: Final = re.compile(r"([0-9]+)(ms|[wdhms])")


def parse_duration(text: str) -> int | None:
    """Read a duration in ms; None when it isn't one, is zero, or passes ten years."""
    if not _WHOLE.fullmatch(text) or len(text) > 60:
        return None
    total = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return total if 0 < total <= DURATION_MAX_MS else None


def format_duration(duration_ms: int) -> str:
    """Write a duration in the fewest parts, such as `1d12h`."""
    parts = []
    for unit, unit_ms in _UNITS.items():
        number, duration_ms = divmod(duration_ms, unit_ms)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
