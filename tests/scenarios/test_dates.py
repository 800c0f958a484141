"""Entries by date and schedule, in the contact's time."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vocabulary import ContactPut
from scenarios.cron import CronMistake, next_fire, parse_cron
from scenarios.dates import occurrence
from scenarios.model import Entry
from scenarios.runs import LookAnew
from tests.scenarios.world import World

DAY = 86_400_000
UTC = ZoneInfo("UTC")


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


RENEWAL = """
scenario: renewal
entry: {date: contact.renewal, offset: -30, at: "09:00"}
reentry: always
steps:
  - {id: m, send: {template: m, topic: t}}
"""
BIRTHDAY = """
scenario: birthday
entry: {date: contact.birthday, every: year, at: "08:00", when: contact.plan == 'gold'}
reentry: always
steps:
  - {id: m, send: {template: m, topic: t}}
"""


def sent(world: World, until: str) -> list[str]:
    world.until(ms(until))
    return [
        dt.datetime.fromtimestamp(at / 1000, dt.UTC).isoformat(timespec="minutes")
        for at, _, _, _ in world.sent
    ]


def test_a_journey_opens_thirty_days_before_at_nine_in_the_contacts_zone() -> None:
    world = World(RENEWAL)
    world.now = ms("2026-01-01T00:00Z")
    ann = {"email": "a@example.com", "renewal": "2026-05-01", "timezone": "America/New_York"}
    world.give("ann", ContactPut(ann))
    assert sent(world, "2026-12-31T00:00Z") == ["2026-04-01T13:00+00:00"]


def test_a_date_that_moves_moves_the_entry_and_one_that_has_passed_opens_nothing() -> None:
    world = World(RENEWAL)
    world.now = ms("2026-01-01T00:00Z")
    world.give("ann", ContactPut({"email": "a@example.com", "renewal": "2026-05-01"}))
    world.give("ann", ContactPut({"renewal": "2026-06-01"}))
    world.give("bob", ContactPut({"email": "b@example.com", "renewal": "2026-01-20"}))
    world.give("cat", ContactPut({"email": "c@example.com", "renewal": "soon"}))
    assert sent(world, "2027-12-31T00:00Z") == ["2026-05-02T09:00+00:00"]
    assert world.contact("ann").dates == {}


def test_an_anniversary_comes_each_year_where_the_condition_holds_then() -> None:
    world = World(BIRTHDAY)
    world.now = ms("2023-06-01T00:00Z")
    ann = {"email": "a@example.com", "birthday": "1988-02-29", "plan": "gold"}
    world.give("ann", ContactPut(ann))
    world.until(ms("2025-06-01T00:00Z"))
    world.give("ann", ContactPut({"plan": "blue"}))
    world.until(ms("2026-06-01T00:00Z"))
    world.give("ann", ContactPut({"plan": "gold"}))
    assert sent(world, "2027-06-01T00:00Z") == [
        "2024-02-29T08:00+00:00",
        "2025-02-28T08:00+00:00",
        "2027-02-28T08:00+00:00",
    ]


def test_a_date_entry_published_later_is_found_by_a_run() -> None:
    world = World()
    world.now = ms("2026-01-01T00:00Z")
    world.give("ann", ContactPut({"email": "a@example.com", "renewal": "2026-05-01"}))
    world.catalog.publish(RENEWAL)
    world.give("ann", LookAnew())
    assert sent(world, "2026-12-31T00:00Z") == ["2026-04-01T09:00+00:00"]


def test_an_entry_that_is_there_no_longer_opens_nothing() -> None:
    world = World(RENEWAL)
    world.now = ms("2026-01-01T00:00Z")
    world.give("ann", ContactPut({"email": "a@example.com", "renewal": "2026-05-01"}))
    world.catalog.publish(RENEWAL.replace('{date: contact.renewal, offset: -30, at: "09:00"}', "e"))
    assert sent(world, "2026-12-31T00:00Z") == []
    assert world.contact("ann").dates == {}


@given(
    st.dates(dt.date(1920, 1, 1), dt.date(2020, 12, 31)),
    st.integers(-400, 400),
    st.integers(0, 1439),
    st.integers(ms("2021-01-01T00:00Z"), ms("2040-01-01T00:00Z")),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_the_next_anniversary_is_ahead_and_no_more_than_a_year_and_a_day(
    day: dt.date, offset: int, minute: int, after: int, zone: str
) -> None:
    entry = Entry(date="x", offset_days=offset, at_minute=minute, yearly=True)
    found = occurrence(entry, day.isoformat(), ZoneInfo(zone), after)
    assert found is not None
    assert after < found <= after + 368 * DAY


@pytest.mark.parametrize(
    ("text", "after", "zone", "fires"),
    [
        ("0 9 * * mon", "2026-01-01T00:00Z", "UTC", "2026-01-05T09:00Z"),
        ("0 9 * * mon", "2026-01-05T09:00Z", "UTC", "2026-01-12T09:00Z"),
        ("*/15 * * * *", "2026-01-05T09:01Z", "UTC", "2026-01-05T09:15Z"),
        ("30 8 1 * *", "2026-01-05T09:01Z", "Europe/Warsaw", "2026-02-01T07:30Z"),
        ("0 0 13 * fri", "2026-01-01T00:00Z", "UTC", "2026-01-02T00:00Z"),
        ("0 12 29 feb *", "2026-01-01T00:00Z", "UTC", "2028-02-29T12:00Z"),
        # the hour that is skipped, and the one that comes twice
        ("30 2 * * *", "2026-03-28T12:00Z", "Europe/Warsaw", "2026-03-29T01:00Z"),
        ("30 2 25 10 *", "2026-10-01T00:00Z", "Europe/Warsaw", "2026-10-25T00:30Z"),
        ("30 2 * 10 *", "2026-10-25T00:30Z", "Europe/Warsaw", "2026-10-26T01:30Z"),
        ("0 9 * * 1-5/2", "2026-01-05T09:00Z", "UTC", "2026-01-07T09:00Z"),
    ],
)
def test_a_schedule_fires_by_the_clock_of_its_zone(
    text: str, after: str, zone: str, fires: str
) -> None:
    found = next_fire(parse_cron(text), ms(after), ZoneInfo(zone))
    assert found == ms(fires)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "a * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "0 0 31 feb *",
    ],
)
def test_a_schedule_that_cannot_be_is_a_mistake(text: str) -> None:
    with pytest.raises(CronMistake):
        parse_cron(text)
