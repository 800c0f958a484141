"""Moments as reports write them: UTC, to the minute."""

from __future__ import annotations

__all__ = ("day_name", "hour_name", "utc")

from datetime import UTC, datetime

from actors.simulation.counting import DAY_MS, HOUR_MS


def day_name(day: int) -> str:
    """Write a day since 1970."""
    return utc(day * DAY_MS)[:10]


def hour_name(hour: int) -> str:
    """Write an hour since 1970."""
    return utc(hour * HOUR_MS)


def utc(at: int) -> str:
    """Write a moment (ms)."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
