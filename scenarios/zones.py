"""Time zones from the pinned tzdata package, never from the machine, so that every node agrees.

An unknown or invalid name is the same as none: the caller falls back, and says so.
"""

from __future__ import annotations

__all__ = ("UTC", "first_instant", "local_time", "tzdata_version", "zone_of")

import datetime as dt
import functools
import re
from importlib import import_module, resources
from typing import Final
from zoneinfo import ZoneInfo

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MS = dt.timedelta(milliseconds=1)
_YEAR_MS_MAX = 253_402_300_799_999 - 2 * 86_400_000  # two days before the end of the year 9999
_YEAR_MS_MIN = -62_135_596_800_000 + 2 * 86_400_000


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


def first_instant(wall: dt.datetime, zone: ZoneInfo) -> int:
    """Resolve a wall time (naive) to an instant in ms by the rules valid then.

    A time that comes twice means the first; a time that is skipped means the first moment after the
    gap.
    """
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
