"""Waits by wall time: daylight saving, weekdays, windows across midnight, dates."""

from __future__ import annotations

import datetime as dt
import struct
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.calendar import first_allowed, parse_date, parse_minute, within
from scenarios.model import Calendar
from scenarios.zones import first_instant, instant_of, local_time, tzdata_version, wall_of, zone_of


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


# ---- wall times by arithmetic


ZONES = ["Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Gaza"]
_YEARS_60 = st.integers(-30 * 365 * 86_400_000, 95 * 365 * 86_400_000)


@given(_YEARS_60, st.sampled_from([*ZONES, "Africa/Casablanca", "America/Sao_Paulo", "UTC"]))
def test_wall_times_by_arithmetic_are_those_of_datetime(at: int, name: str) -> None:
    wall = local_time(at, zone(name)).replace(tzinfo=dt.UTC)
    assert wall_of(at, zone(name)) == round(wall.timestamp() * 1000)


@pytest.mark.parametrize("name", ZONES)
def test_around_a_change_of_the_offset_instants_follow_the_rule(name: str) -> None:
    """The instant of each wall time is the first that shows it, or the end of the gap that skips it."""
    here, hour = zone(name), 3_600_000
    begin = ms("2026-03-01T00:00:00+00:00")
    shown: dict[int, int] = {}
    for at in range(begin, begin + 290 * 86_400_000, hour // 2):
        shown.setdefault(round(local_time(at, here).replace(tzinfo=dt.UTC).timestamp() * 1000), at)
    for before, after in pairwise(sorted(shown)):
        assert shown[before] == instant_of(before, here)
        for skipped in range(before + hour // 2, after, hour // 2):
            assert shown[after] == instant_of(skipped, here)


_HEADER = 44  # octets: magic, version, reserved, six counts


def _changes(raw: bytes) -> list[int]:
    """Read when a zone changes its offset, in s, from its 64-bit data. RFC 8536 §3.2."""
    isut, isstd, leap, times, types, chars = struct.unpack(">6l", raw[20:44])
    second = _HEADER + times * 5 + types * 6 + chars + leap * 8 + isstd + isut
    _, _, _, times, types, _ = struct.unpack(">6l", raw[second + 20 : second + 44])
    at = second + _HEADER
    instants = struct.unpack(f">{times}q", raw[at : at + 8 * times])
    kinds = raw[at + 8 * times : at + 9 * times]
    infos = [
        struct.unpack(">l", raw[place : place + 4])[0]
        for place in range(at + 9 * times, at + 9 * times + 6 * types, 6)
    ]
    offsets = [infos[kind] for kind in kinds]
    before = [None, *offsets]
    return [one for one, now, then in zip(instants, offsets, before, strict=False) if now != then]


def test_no_zone_changes_its_offset_twice_within_six_days() -> None:
    """What `zones` looks at once a day can't be missed."""
    seen = 0
    for name in sorted(available_timezones()):
        place = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        if place.is_file():
            changes = [at for at in _changes(place.read_bytes()) if at >= 0]
            seen += len(changes)
            assert all(after - before > 6 * 86_400 for before, after in pairwise(changes)), name
    assert seen > 10_000
