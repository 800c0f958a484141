"""Schedules: the five fields of cron(5), in a time zone.

    minute hour day-of-month month day-of-week        0 9 * * mon

A field is `*`, a number, a range `a-b`, a list `a,b`, any with a step `/n`; months and days of the week have names too.
If both day fields are restricted, a day fits when either does, as in crontab(5). A wall time that the clock skips fires
at the first moment after the gap; one that comes twice fires at the first.
"""

from __future__ import annotations

__all__ = ("Cron", "CronMistake", "next_fire", "parse_cron")

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from scenarios.zones import first_instant, local_time

_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SEARCH_DAYS: Final = (
    366 * 5
)  # 29 February comes at most eight years apart; a schedule for it alone is refused
_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)


class CronMistake(ValueError):  # noqa: N818 -- the house's word
    """A schedule that can't be read; the text says which field."""


class Cron(msgspec.Struct, frozen=True):
    """A schedule, each field as the numbers that fit; days of the week from 0, Sunday."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def fits(self, day: dt.date) -> bool:
        """Tell whether it fires on a day."""
        if day.month not in self.months:
            return False
        by_date, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_date and by_week
        return by_date or by_week


def parse_cron(text: str) -> Cron:
    """Read a schedule. Raises: CronMistake."""
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise CronMistake(f"a schedule has five fields, this one has {len(parts)}")
    found = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = found
    made = Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(day % 7 for day in weekdays),
        parts[2] == "*",
        parts[4] == "*",
    )
    if next_fire(made, 0, ZoneInfo("UTC")) is None:
        raise CronMistake("no day of the next five years fits")
    return made


def _field(part: str, name: str, least: int, most: int, names: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for piece in part.split(","):
        span, _, step_text = piece.partition("/")
        step = int(step_text) if step_text.isdecimal() and len(step_text) < 4 else 0
        if step_text and not step:
            raise CronMistake(f"the {name} has the step `{step_text[:20]}`")
        if span == "*":
            first, last = least, most
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, name, least, most, names)
            last = _number(end, name, least, most, names) if dash else (most if step else first)
        if last < first:
            raise CronMistake(f"the {name} goes from {first} back to {last}")
        found |= set(range(first, last + 1, step or 1))
    return found


def _number(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + (1 if names is _MONTHS else 0)
    if text.isdecimal() and len(text) < 4 and least <= int(text) <= most:
        return int(text)
    raise CronMistake(f"the {name} can't be `{text[:20]}`: it is {least} to {most}")


def next_fire(cron: Cron, after: int, zone: ZoneInfo) -> int | None:
    """Give the first moment behind `after` (ms) at which it fires; None when none is near."""
    day = local_time(after, zone).date() - dt.timedelta(days=1)
    for _ in range(_SEARCH_DAYS):
        if cron.fits(day):
            for hour in cron.hours:
                for minute in cron.minutes:
                    wall = dt.datetime.combine(day, dt.time(hour, minute))
                    fires = first_instant(wall, zone)
                    if fires > after:
                        return fires
        day += dt.timedelta(days=1)
    return None
