"""Waits by wall time: the first moment from an instant on that a calendar allows, in a zone.

Windows are half open, [from, to), may cross midnight (`22:00` to `06:00`: the day is that on which
they begin), and follow the wall clock through changes of the offset.
"""

from __future__ import annotations

__all__ = ("DAYS", "first_allowed", "parse_date", "parse_minute", "within")

import datetime as dt
import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from scenarios.duration import DAY_MS
from scenarios.model import Calendar
from scenarios.public_holidays import is_holiday
from scenarios.zones import first_instant, instant_of, wall_of

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE_MS: Final = 60_000
_THURSDAY: Final = 3  # 1 January 1970
_MINUTE: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_SEARCH_DAYS: Final = 9  # a week, and the days around it that a window across midnight needs
_SEARCH_HOLIDAYS: Final = 60  # one day of the week alone may be a holiday for some weeks in a row


def parse_minute(text: str) -> int | None:
    """Read a time of day as minutes after midnight; `24:00` is the end of the day."""
    found = _MINUTE.fullmatch(text)
    if found is None:
        return None
    minute = int(found[1]) * 60 + int(found[2])
    return minute if minute <= 1440 else None


def parse_date(value: Any, zone: ZoneInfo) -> int | None:
    """Read the value of a date expression as an instant in ms.

    A text is an ISO date (midnight in the zone) or an ISO time (in the zone unless it has an offset);
    an integer is ms since the epoch.
    """
    if value.__class__ is int:
        return int(value)
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        read = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    if not 1900 <= read.year <= 9000:
        return None
    if read.tzinfo is None:
        return first_instant(read, zone)
    return int(read.timestamp() * 1000)


def first_allowed(calendar: Calendar, since: int, date: int | None, zone: ZoneInfo) -> int:
    """Find the first instant that the calendar allows, from `date` (shifted) or else `since` on."""
    start = since if date is None else _shift(date, calendar, zone)
    place = calendar.holidays
    if calendar.at_minute < 0 and calendar.from_minute < 0 and not calendar.days and not place:
        return start
    begin, length = _window(calendar)
    today = wall_of(start, zone) // DAY_MS
    days = calendar.days
    for day in range(today - 1, today + (_SEARCH_HOLIDAYS if place else _SEARCH_DAYS)):
        if (not days or (day + _THURSDAY) % 7 in days) and not (place and is_holiday(place, day)):
            wall = day * DAY_MS + begin * _MINUTE_MS
            opens = instant_of(wall, zone)
            closes = instant_of(wall + length * _MINUTE_MS, zone) if length else opens + 1
            if start < closes and opens < closes:
                return max(start, opens)
    return start


def within(from_minute: int, to_minute: int, at: int, zone: ZoneInfo) -> int | None:
    """Tell when the window of wall time ends in which an instant lies; None if it lies in none."""
    begin, length = _window(Calendar(from_minute=from_minute, to_minute=to_minute))
    today = wall_of(at, zone) // DAY_MS
    for day in (today - 1, today):
        wall = day * DAY_MS + begin * _MINUTE_MS
        opens, closes = instant_of(wall, zone), instant_of(wall + length * _MINUTE_MS, zone)
        if opens <= at < closes:
            return closes
    return None


def _window(calendar: Calendar) -> tuple[int, int]:
    """Give begin and length in minutes; length 0 is a point of time."""
    if calendar.at_minute >= 0:
        return calendar.at_minute, 0
    if calendar.from_minute < 0:
        return 0, 1440
    length = calendar.to_minute - calendar.from_minute
    return calendar.from_minute, length if length > 0 else length + 1440


def _shift(date: int, calendar: Calendar, zone: ZoneInfo) -> int:
    """Move an instant by days of the calendar, keeping its wall time."""
    if not calendar.offset_days:
        return date
    return instant_of(wall_of(date, zone) + calendar.offset_days * DAY_MS, zone)
