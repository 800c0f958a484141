"""Edge cases that the documentation promises, and the table there, which names tests that exist."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engine.entities import Machines
from engine.host import Host
from engine.inputs import HOUR, Arrival, PartitionSettings
from engine.keyspace import Keyspace, contact_key, name_of
from engine.store.memory import MemoryStore
from engine.tick import HostSettings, TickInputs
from engine.vocabulary import CallAnswered, ContactPut, Event, OutcomeNotice
from scenarios.contact import ContactMachine
from scenarios.settings import Pause
from scenarios.state import Contact
from tests.scenarios.test_docs import PAGE
from tests.scenarios.world import Catalog, World

ROOT = Path(__file__).parents[2]
DAY = 24 * HOUR
NOW = 1_790_000_000_000
ANN = contact_key("t", "ann")


def test_every_case_of_the_page_names_tests_that_there_are() -> None:
    table = PAGE.split("## Behaviour that is fixed")[1].split("## Reference")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table, re.MULTILINE)[2:]
    assert len(rows) > 30
    for case, _, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
        assert named, f"{case}: no test"
        for file, name in named:
            path = ROOT / file if "/" in file else ROOT / "tests" / "scenarios" / file
            assert f"\ndef {name}(" in path.read_text("utf-8"), f"{case}: {file} has no {name}"


# ---- time


def ms(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("begins", "zone", "wall"),
    [
        ("2027-03-27T09:00", "Europe/Warsaw", "2027-03-28T10:00"),  # an hour is skipped
        ("2026-10-24T09:00", "Europe/Warsaw", "2026-10-25T08:00"),  # an hour comes twice
        ("2026-10-03T09:00", "Australia/Lord_Howe", "2026-10-04T09:30"),  # half an hour is skipped
    ],
)
def test_a_day_of_waiting_is_24_hours_where_the_clock_changes(
    begins: str, zone: str, wall: str
) -> None:
    world = World("scenario: s\nentry: e\nsteps: [{id: w, wait: 1d}, {id: n, notify: c}]\n")
    world.now = ms(begins, zone)
    world.give("ann", ContactPut({"timezone": zone}))
    world.give("ann", Event("e", 0))
    world.drain()
    assert world.emitted[0].body["at"] == ms(wall, zone)


@pytest.mark.parametrize("zone", ["Mars/Base", "", 7, "Europe"])
def test_an_unknown_zone_is_the_tenants(zone: object) -> None:
    world = World(
        'scenario: s\nentry: e\nsteps: [{id: w, wait: {at: "09:00"}}, {id: n, notify: c}]\n'
    )
    world.now = ms("2027-06-01T00:00", "UTC")
    world.give("ann", ContactPut({"timezone": zone}))
    world.give("ann", Event("e", 0))
    world.drain()
    assert world.emitted[0].body["at"] == ms("2027-06-01T09:00", "UTC")


def test_a_date_that_is_not_there_ends_the_journey() -> None:
    world = World("scenario: s\nentry: e\nsteps: [{id: w, wait: {date: contact.renewal}}]\n")
    world.give("ann", Event("e", 0))
    assert [one["reason"] for one in world.facts("journey_ended")] == ["no_date"]


# ---- events through a partition

COUNTS = """
scenario: s
entry: e
reentry: always
key: event.k
steps:
  - id: w
    wait: 2h
  - id: seen
    update: {seen: "= contact.count('e')"}
"""


class Life:
    """A host over a store, one contact, and a clock that may be set back."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.begin()

    def begin(self) -> None:
        settings = HostSettings(partition=PartitionSettings(horizon_ms=DAY))
        machines, keyspace = Machines([ContactMachine()]), Keyspace(4)
        self.host = Host(self.store, machines, keyspace, Catalog(COUNTS), range(4), settings)

    def event(self, now: int, name: str, key: str, at: int = 0) -> str:
        body = Event("e", at or now, {"k": key})
        arrival = Arrival(ANN, body, name.encode(), at or now)
        released = self.host.tick(now, TickInputs(arrivals=[arrival], timers=True))
        return released.verdicts[0]

    def pass_to(self, now: int) -> int:
        return self.host.tick(now, TickInputs(timers=True)).woken

    @property
    def ann(self) -> Contact:
        state = self.host.entry(ANN)[0]
        assert isinstance(state, Contact)
        return state


def test_an_event_that_comes_again_changes_nothing() -> None:
    life = Life()
    assert life.event(NOW, "i1", "a") == "accepted"
    before = life.ann
    assert life.event(NOW + 1, "i1", "a") == "duplicate"
    life.begin()  # a restart forgets nothing
    assert life.event(NOW + HOUR, "i1", "a") == "duplicate"
    assert life.ann == before
    assert life.ann.counts == {"e": 1}


def test_a_late_event_is_one_of_now_and_a_very_late_one_is_refused() -> None:
    life = Life()
    assert life.event(NOW, "late", "a", at=NOW - DAY + 1) == "accepted"
    [journey] = life.ann.journeys
    assert (journey.opened_at, journey.due) == (NOW, NOW + 2 * HOUR)
    assert life.event(NOW, "very late", "b", at=NOW - DAY - 1) == "too_old"
    assert life.ann.counts == {"e": 1}


def test_events_are_decided_as_they_arrive() -> None:
    life = Life()
    life.event(NOW, "i2", "b", at=NOW - HOUR)
    life.event(NOW + 1, "i1", "a", at=NOW - 2 * HOUR)  # it happened before
    assert [(one.key, one.opened_at) for one in life.ann.journeys] == [("b", NOW), ("a", NOW + 1)]


def test_a_clock_that_is_set_back_fires_nothing_twice() -> None:
    life = Life()
    life.event(NOW, "i1", "a")
    assert life.pass_to(NOW + 2 * HOUR) == 1
    assert life.ann.attributes == {"seen": 1}
    life.event(NOW - HOUR, "i2", "b")  # three hours behind: for decisions the clock stands still
    [journey] = life.ann.journeys
    assert journey.due == NOW + 4 * HOUR
    life.begin()
    assert life.pass_to(NOW - HOUR) == 0
    assert life.pass_to(NOW + 4 * HOUR - 1) == 0
    assert life.pass_to(NOW + 4 * HOUR) == 1
    assert life.ann.attributes == {"seen": 2}
    assert life.ann.journeys == ()


# ---- order


def test_one_event_goes_to_goals_then_waits_then_entries() -> None:
    goal = "scenario: a\nentry: e\ngoal: x\nsteps: [{id: w, wait: 9d}]\n"
    waits = "scenario: b\nentry: e\nsteps: [{id: w, wait_for: x}, {id: n, notify: c}]\n"
    opens = "scenario: c\nentry: x\nsteps: [{id: w, wait: 9d}]\n"
    world = World(opens, waits, goal)
    world.give("ann", Event("e", 0))
    world.records.clear()
    world.give("ann", Event("x", 0))
    told = [
        (one.fact, one.detail.get("scenario", ""), one.detail.get("reason", ""))
        for one in world.records
        if one.fact in {"journey_ended", "journey_opened", "branch_taken"}
    ]
    assert told == [
        ("journey_ended", "a", "goal:x"),
        ("branch_taken", "", ""),
        ("journey_ended", "b", ""),
        ("journey_opened", "c", ""),
    ]


def test_of_two_scenarios_that_one_event_opens_the_higher_priority_is_first() -> None:
    text = "scenario: NAME\nentry: e\npriority: RANK\nsteps:\n  - {id: m, send: {template: x, topic: t}}\n"
    ranks = {"b": 0, "a": 0, "z": 5}
    world = World(*(text.replace("NAME", n).replace("RANK", str(r)) for n, r in ranks.items()))
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("e", 0))
    assert [send.scenario for _, _, _, send in world.sent] == ["z", "a", "b"]


def test_a_journey_goes_on_while_its_mail_is_deferred() -> None:
    world = World(
        "scenario: s\nentry: e\nsteps:\n"
        "  - {id: m, send: {template: x, topic: t}}\n  - {id: w, wait: 1h}\n"
        "  - {id: again, send: {template: x, topic: t}}\n"
    )
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("e", 0))
    [first] = world.contact("ann").sends
    world.give("ann", OutcomeNotice(first, "deferred", 1, world.now, False))
    world.drain()
    assert [(at, send.step) for at, _, _, send in world.sent] == [(0, "m"), (HOUR, "again")]
    assert {name_of(tell.to) for tell in world.told} >= {first}
    assert len(world.contact("ann").sends) == 2


def test_in_a_pause_answers_are_taken_and_time_outs_held() -> None:
    text = (
        "scenario: s\nentry: e\nreentry: always\nkey: event.k\nsteps:\n"
        "  - {id: call, webhook: desk, timeout: 2h, else: [{end: late}]}\n  - {end: taken}\n"
    )
    world = World(text)
    for key in ("a", "b"):
        world.give("ann", Event("e", 0, {"k": key}))
    first, second = world.contact("ann").journeys
    world.catalog.put("pause", "s", Pause(1))
    world.give("ann", CallAnswered(first.id, "call", 1, taken=True, status=200))
    assert [one["reason"] for one in world.facts("journey_ended")] == ["taken"]
    world.until(7 * DAY)
    [held] = world.contact("ann").journeys
    assert (held.id, held.held, held.due) == (second.id, 2 * HOUR, 0)
