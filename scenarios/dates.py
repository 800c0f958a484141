"""Entries by date: a journey opens on a contact's birthday, or thirty days before its renewal, in its own time zone.

A contact keeps when each such entry opens next (`Contact.dates`), and wakes then. It is worked out anew when an
attribute changes, when the entry has opened, and when a new version is published: a run gives every contact
`LookAnew`. A date that has passed opens nothing. 29 February is 28 February in other years.
"""

from __future__ import annotations

__all__ = ("appoint", "keep_appointments", "occurrence")

import datetime as dt
from typing import Any, Final
from zoneinfo import ZoneInfo

from scenarios.calendar import parse_date
from scenarios.cel.values import EvaluationError
from scenarios.compiling import CompiledScenario, Opening
from scenarios.draft import Draft
from scenarios.model import Entry
from scenarios.opening import open_journey
from scenarios.zones import first_instant, local_time

_YEARS: Final = range(-2, 4)  # an offset moves an anniversary by up to 400 days


def occurrence(entry: Entry, value: Any, zone: ZoneInfo, after: int) -> int | None:
    """Find the first moment behind `after` (ms) at which an entry opens for a date; None: there is none."""
    date = parse_date(value, zone)
    if date is None:
        return None
    day = local_time(date, zone).date()
    if not entry.yearly:
        opens = _moment(day, entry, zone)
        return opens if opens > after else None
    year = local_time(after, zone).year
    for offset in _YEARS:
        opens = _moment(_anniversary(day, year + offset), entry, zone)
        if opens > after:
            return opens
    return None


def _anniversary(day: dt.date, year: int) -> dt.date:
    if day.month == 2 and day.day == 29:
        return dt.date(year, 3, 1) - dt.timedelta(days=1)
    return day.replace(year=year)


def _moment(day: dt.date, entry: Entry, zone: ZoneInfo) -> int:
    shifted = day + dt.timedelta(days=entry.offset_days)
    wall = dt.datetime.combine(shifted, dt.time()) + dt.timedelta(minutes=max(entry.at_minute, 0))
    return first_instant(wall, zone)


def appoint(draft: Draft) -> None:
    """Work out when the date entries open next."""
    dates = {}
    for name, _, opening in draft.view.dated:
        opens = _next(draft, opening, draft.now)
        if opens is not None:
            dates[name] = opens
    if dates != draft.dates:
        draft.dates = dates


def _next(draft: Draft, opening: Opening, after: int) -> int | None:
    assert opening.date is not None
    zone = draft.zone()
    draft.data = {}
    try:
        value = opening.date.closure(draft)
    except EvaluationError:  # no date is the rule here: not worth a record
        return None
    return occurrence(opening.entry, value, zone, after)


def keep_appointments(draft: Draft) -> None:
    """Open what is due, and work out when it opens next."""
    due = {name: at for name, at in draft.dates.items() if at <= draft.now}
    if not due:
        return
    known: dict[str, tuple[CompiledScenario, Opening]] = {
        name: (compiled, opening) for name, compiled, opening in draft.view.dated
    }
    for name, at in sorted(due.items(), key=lambda one: (one[1], one[0])):
        kept = {other: when for other, when in draft.dates.items() if other != name}
        found = known.get(name)
        if found is None:  # the entry is there no longer
            draft.dates = kept
            continue
        compiled, opening = found
        again = _next(draft, opening, at)
        draft.dates = kept if again is None else {**kept, name: max(again, draft.now + 1)}
        draft.data = {}
        if draft.holds(opening.condition, compiled.name):
            open_journey(draft, compiled, {"date": at})
