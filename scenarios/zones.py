"""Time zones from the pinned tzdata package, never from the machine, so that every node agrees.

An unknown or invalid name is the same as none: the caller falls back, and says so.
"""

from __future__ import annotations

__all__ = (
    "UTC",
    "first_instant",
    "instant_of",
    "local_time",
    "tzdata_version",
    "wall_of",
    "zone_of",
)

import datetime as dt
import functools
import re
from importlib import import_module, resources
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from scenarios.duration import DAY_MS

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MS = dt.timedelta(milliseconds=1)
_YEAR_MS_MAX = 253_402_300_799_999 - 2 * 86_400_000  # two days before the end of the year 9999
_YEAR_MS_MIN = -62_135_596_800_000 + 2 * 86_400_000
_STRETCHES_END: Final = 4_102_444_800_000  # the year 2100


def tzdata_version() -> str:
    """Tell the version of the zone data, such as `2026a`."""
    return str(import_module("tzdata").IANA_VERSION)


@functools.lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo | None:
    """Give the rules of a zone by its IANA name; None where there is no such zone."""
    if len(name) > 60 or not _NAME.fullmatch(name):
        return None
    place = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    if not place.is_file():
        return None
    with place.open("rb") as file:
        try:
            return ZoneInfo.from_file(file, key=name)
        except ValueError:
            return None


def _utc() -> ZoneInfo:
    zone = zone_of("UTC")
    assert zone is not None, "the tzdata package is broken"
    return zone


def local_time(at_ms: int, zone: ZoneInfo) -> dt.datetime:
    """Give the wall time of an instant; beyond the years 1 to 9999 the nearest there is."""
    bounded = min(max(at_ms, _YEAR_MS_MIN), _YEAR_MS_MAX)
    return (_EPOCH + bounded * _MS).astimezone(zone)


class _Stretch(msgspec.Struct, frozen=True, gc=False):
    """An offset from UTC that is known to hold from `begin` up to `end`, all in ms."""

    begin: int
    end: int
    offset: int


_STRETCH_DAYS: Final = 28
_NOWHERE: Final = _Stretch(0, 0, 0)


@functools.lru_cache(maxsize=8192)
def _stretch(zone: ZoneInfo, number: int) -> _Stretch:
    """Find how long the offset at the begin of a piece of time has held, and will: up to a piece before, two after.

    Once a day is often enough to look: since 1970 no zone has changed twice within six days (a test goes through them).
    """
    at = number * _STRETCH_DAYS * DAY_MS
    if not 0 <= at < _STRETCHES_END:
        return _NOWHERE
    offset = local_time(at, zone).utcoffset()
    begin = end = at
    while end < at + 2 * _STRETCH_DAYS * DAY_MS:
        if local_time(end + DAY_MS, zone).utcoffset() != offset:
            break
        end += DAY_MS
    while begin > at - _STRETCH_DAYS * DAY_MS:
        if local_time(begin - DAY_MS, zone).utcoffset() != offset:
            break
        begin -= DAY_MS
    return _Stretch(begin, end, (offset or dt.timedelta()) // _MS)


def wall_of(at_ms: int, zone: ZoneInfo) -> int:
    """Give the wall time of an instant, as ms since 1970 on that clock."""
    stretch = _stretch(zone, at_ms // (_STRETCH_DAYS * DAY_MS))
    if stretch.begin <= at_ms < stretch.end:
        return at_ms + stretch.offset
    return (local_time(at_ms, zone).replace(tzinfo=dt.UTC) - _EPOCH) // _MS


def instant_of(wall_ms: int, zone: ZoneInfo) -> int:
    """Resolve a wall time, given as ms since 1970 on that clock, as `first_instant` does.

    A hot path (bench/ `scenarios`: 0.3 µs; by way of `datetime` 3). A day away from a change of the offset there is
    nothing to decide.
    """
    stretch = _stretch(zone, wall_ms // (_STRETCH_DAYS * DAY_MS))
    at = wall_ms - stretch.offset
    if stretch.begin + DAY_MS <= at < stretch.end - DAY_MS:
        return at
    bounded = min(max(wall_ms, _YEAR_MS_MIN), _YEAR_MS_MAX)
    return _first_instant((_EPOCH + bounded * _MS).replace(tzinfo=None), zone)


def first_instant(wall: dt.datetime, zone: ZoneInfo) -> int:
    """Resolve a wall time (naive) to an instant in ms by the rules valid then.

    A time that comes twice means the first; a time that is skipped means the first moment after the
    gap.
    """
    return instant_of((wall.replace(tzinfo=dt.UTC) - _EPOCH) // _MS, zone)


def _first_instant(wall: dt.datetime, zone: ZoneInfo) -> int:
    early = wall.replace(tzinfo=zone, fold=0)
    before, after = early.utcoffset(), early.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    if after <= before:
        return _instant(wall, before)
    return _end_of_gap(_instant(wall, after), _instant(wall, before), after, zone)


def _instant(wall: dt.datetime, offset: dt.timedelta) -> int:
    return (wall.replace(tzinfo=dt.UTC) - offset - _EPOCH) // _MS


def _end_of_gap(low: int, high: int, after: dt.timedelta, zone: ZoneInfo) -> int:
    """Find the transition between two instants by halving, to the second (gaps begin on seconds)."""
    low, high = low // 1000 * 1000, -(-high // 1000) * 1000
    while high - low > 1000:
        middle = (low + high) // 2 // 1000 * 1000
        if local_time(middle, zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


UTC: Final = _utc()
"""The zone for whoever has none."""
