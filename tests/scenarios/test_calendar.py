"""Waits by wall time: daylight saving, weekdays, windows across midnight, dates."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.calendar import first_allowed, parse_date, parse_minute, within
from scenarios.model import Calendar
from scenarios.zones import first_instant, local_time, tzdata_version, zone_of


def zone(name: str) -> ZoneInfo:
    found = zone_of(name)
    assert found is not None
    return found


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def allowed(calendar: Calendar, since: str, name: str, date: int | None = None) -> str:
    at = first_allowed(calendar, ms(since), date, zone(name))
    return local_time(at, zone(name)).isoformat()


NINE = Calendar(at_minute=540)


@pytest.mark.parametrize(
    ("since", "name", "expected"),
    [
        # Decided the day before a change of the offset: 09:00 stays 09:00 (dittofeed made it 10:00).
        ("2026-03-07T12:00:00-05:00", "America/New_York", "2026-03-08T09:00:00-04:00"),
        ("2026-10-31T12:00:00-04:00", "America/New_York", "2026-11-01T09:00:00-05:00"),
        ("2026-06-01T09:00:00+02:00", "Europe/Oslo", "2026-06-01T09:00:00+02:00"),
        ("2026-06-01T09:00:00.001+02:00", "Europe/Oslo", "2026-06-02T09:00:00+02:00"),
        ("2026-06-01T00:00:00+00:00", "Asia/Kathmandu", "2026-06-01T09:00:00+05:45"),
    ],
)
def test_nine_o_clock_is_nine_o_clock(since: str, name: str, expected: str) -> None:
    assert expected == allowed(NINE, since, name)


def test_a_time_that_is_skipped_moves_to_the_first_moment_after_the_gap() -> None:
    calendar = Calendar(at_minute=150)  # 02:30
    assert allowed(calendar, "2026-03-08T00:00:00-05:00", "America/New_York") == (
        "2026-03-08T03:00:00-04:00"
    )
    # Lord Howe moves by half an hour: 02:00 to 02:30.
    early = Calendar(at_minute=135)
    assert allowed(early, "2026-10-04T00:00:00+10:30", "Australia/Lord_Howe") == (
        "2026-10-04T02:30:00+11:00"
    )


def test_a_time_that_comes_twice_means_the_first() -> None:
    calendar = Calendar(at_minute=90)  # 01:30
    assert allowed(calendar, "2026-11-01T00:00:00-04:00", "America/New_York") == (
        "2026-11-01T01:30:00-04:00"
    )


def test_weekdays_are_those_of_the_zone_not_of_utc() -> None:
    # Monday 05:00 in Tokyo is Sunday in UTC.
    calendar = Calendar(at_minute=300, days=(0,))
    assert allowed(calendar, "2026-06-07T12:00:00+09:00", "Asia/Tokyo") == (
        "2026-06-08T05:00:00+09:00"
    )


def test_a_window_across_midnight_is_open_on_both_sides_of_it() -> None:
    night = Calendar(from_minute=22 * 60, to_minute=6 * 60)
    oslo = "Europe/Oslo"
    assert allowed(night, "2026-06-01T23:00:00+02:00", oslo) == "2026-06-01T23:00:00+02:00"
    assert allowed(night, "2026-06-02T05:59:00+02:00", oslo) == "2026-06-02T05:59:00+02:00"
    assert allowed(night, "2026-06-02T06:00:00+02:00", oslo) == "2026-06-02T22:00:00+02:00"


def test_the_day_of_a_window_across_midnight_is_the_one_on_which_it_begins() -> None:
    friday_night = Calendar(from_minute=22 * 60, to_minute=6 * 60, days=(4,))
    assert allowed(friday_night, "2026-06-06T03:00:00+00:00", "UTC") == "2026-06-06T03:00:00+00:00"
    assert allowed(friday_night, "2026-06-06T07:00:00+00:00", "UTC") == "2026-06-12T22:00:00+00:00"


def test_days_before_a_date_are_days_of_the_calendar() -> None:
    calendar = Calendar(date="x", offset_days=-30, at_minute=540)
    date = parse_date("2026-04-10", zone("Europe/Oslo"))
    assert allowed(calendar, "2026-01-01T00:00:00+01:00", "Europe/Oslo", date) == (
        "2026-03-11T09:00:00+01:00"
    )


def test_a_window_tells_when_it_ends_or_that_it_is_shut() -> None:
    oslo = zone("Europe/Oslo")
    inside = within(22 * 60, 7 * 60, ms("2026-03-28T23:30:00+01:00"), oslo)
    assert inside == ms("2026-03-29T07:00:00+02:00")
    assert within(22 * 60, 7 * 60, ms("2026-03-29T07:00:00+02:00"), oslo) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02", "2026-01-02T00:00:00+01:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05+01:00"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        (1_000, "1970-01-01T00:00:01+00:00"),
    ],
)
def test_dates_are_read(value: object, expected: str) -> None:
    assert ms(expected) == parse_date(value, zone("Europe/Oslo"))


@pytest.mark.parametrize("value", ["soon", "", "31.12.2026", None, True, 1.5, "9999-12-31"])
def test_what_is_no_date_is_none(value: object) -> None:
    assert parse_date(value, zone("UTC")) is None


@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "utc/", "Europe", "x" * 99])
def test_an_unknown_zone_is_none(name: str) -> None:
    assert zone_of(name) is None


def test_times_of_day_are_read() -> None:
    assert [parse_minute(text) for text in ("9:00", "24:00", "24:01", "9", "12:60")] == [
        540,
        1440,
        None,
        None,
        None,
    ]
    assert tzdata_version()[:2] == "20"


@given(
    st.datetimes(dt.datetime.fromisoformat("1990-01-01"), dt.datetime.fromisoformat("2036-01-01")),
    st.sampled_from(["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran"]),
)
def test_an_instant_found_for_a_wall_time_shows_it_or_lies_behind_a_gap(
    wall: dt.datetime, name: str
) -> None:
    wall = wall.replace(microsecond=0)
    at = first_instant(wall, zone(name))
    shown = local_time(at, zone(name)).replace(tzinfo=None)
    assert shown == wall or (
        shown > wall and local_time(at - 1, zone(name)).replace(tzinfo=None) < wall
    )


@given(
    st.integers(0, 2_000_000_000_000),
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.sets(st.integers(0, 6)),
)
def test_a_moment_found_is_never_before_its_begin_and_stays_when_sought_again(
    since: int, begin: int, end: int, days: set[int]
) -> None:
    calendar = Calendar(from_minute=begin, to_minute=end, days=tuple(sorted(days)))
    at = first_allowed(calendar, since, None, zone("Europe/Oslo"))
    assert since <= at <= since + 9 * 86_400_000
    assert first_allowed(calendar, at, None, zone("Europe/Oslo")) == at
