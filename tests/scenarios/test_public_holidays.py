"""Waits that keep out of public holidays."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vocabulary import ContactPut, Event
from scenarios.calendar import first_allowed
from scenarios.checking import check
from scenarios.model import Calendar
from scenarios.public_holidays import is_holiday, knows
from tests.scenarios.world import World

WARSAW = ZoneInfo("Europe/Warsaw")


def at(text: str, zone: ZoneInfo = WARSAW) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def told(instant: int, zone: ZoneInfo = WARSAW) -> str:
    return dt.datetime.fromtimestamp(instant / 1000, zone).isoformat(timespec="minutes")[:16]


@pytest.mark.parametrize(
    ("calendar", "since", "wanted"),
    [
        # 1 and 3 May are holidays in Poland; 2027 has them on a Saturday and a Monday
        (
            Calendar(at_minute=540, days=(0, 1, 2, 3, 4), holidays="PL"),
            "2027-04-30T10:00",
            "2027-05-04T09:00",
        ),
        (Calendar(at_minute=540, days=(0, 1, 2, 3, 4)), "2027-04-30T10:00", "2027-05-03T09:00"),
        (Calendar(holidays="PL"), "2026-12-25T18:00", "2026-12-27T00:00"),
        (Calendar(holidays="PL"), "2026-12-28T18:00", "2026-12-28T18:00"),
        (
            Calendar(from_minute=1320, to_minute=360, holidays="PL"),
            "2026-11-11T01:00",
            "2026-11-11T01:00",
        ),
        (
            Calendar(from_minute=1320, to_minute=360, holidays="PL"),
            "2026-11-11T22:30",
            "2026-11-12T22:00",
        ),
        # Assumption Day is one in the Saarland, and not in Berlin: a Saturday in 2026
        (
            Calendar(at_minute=540, days=(5,), holidays="DE-SL"),
            "2026-08-14T12:00",
            "2026-08-22T09:00",
        ),
        (
            Calendar(at_minute=540, days=(5,), holidays="DE-BE"),
            "2026-08-14T12:00",
            "2026-08-15T09:00",
        ),
    ],
)
def test_the_first_moment_that_is_no_holiday(calendar: Calendar, since: str, wanted: str) -> None:
    assert told(first_allowed(calendar, at(since), None, WARSAW)) == wanted


@given(st.integers(0, 40_000), st.sets(st.integers(0, 6), min_size=1), st.integers(0, 1439))
def test_what_is_found_is_no_holiday_and_nothing_before_it_would_do(
    hours: int, days: set[int], minute: int
) -> None:
    """Against a walk day by day, over four and a half years from 2026."""
    since = at("2026-01-01T00:00") + hours * 3_600_000
    calendar = Calendar(at_minute=minute, days=tuple(sorted(days)), holidays="PL")
    found = first_allowed(calendar, since, None, WARSAW)
    day = dt.datetime.fromtimestamp(since / 1000, WARSAW).date()
    while True:
        number = (day - dt.date(1970, 1, 1)).days
        moment = dt.datetime.combine(day, dt.time(minute // 60, minute % 60), WARSAW)
        if (
            moment.timestamp() * 1000 >= since
            and day.weekday() in days
            and not is_holiday("PL", number)
        ):
            break
        day += dt.timedelta(days=1)
    assert dt.datetime.fromtimestamp(found / 1000, WARSAW).date() == day


def test_a_journey_waits_over_a_holiday() -> None:
    text = """scenario: s
entry: e
steps:
  - {id: w, wait: {at: "09:00", holidays: PL, zone: Europe/Warsaw}}
  - {id: m, send: {template: m, topic: t}}
"""
    world = World(text)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.until(at("2026-11-10T10:00"))
    world.give("ann", Event("e", 0))
    world.drain()
    assert [told(moment) for moment, *_ in world.sent] == ["2026-11-12T09:00"]


def test_a_place_that_is_not_known_is_a_mistake() -> None:
    text = "scenario: s\nentry: e\nsteps:\n  - {id: w, wait: {holidays: XX}}\n"
    [mistake] = check(text)
    assert "no public holidays of `XX`" in mistake.message
    assert knows("DE-BY")
    assert not knows("DE-XX")
