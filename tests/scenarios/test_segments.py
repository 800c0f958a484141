"""Segments follow what inputs change, tell each change once, and open journeys."""

from __future__ import annotations

import pytest

from engine.vocabulary import ContactPut, Erase, Event
from scenarios.checking import check
from scenarios.runs import EnterJourney, LookAnew
from scenarios.segments import check_segment
from tests.scenarios.world import World

DAY = 86_400_000
SCENARIO = """
scenario: vip
entry:
  - {segment: big, when: contact.plan == 'gold'}
  - {segment: big, on: leave}
reentry: always
steps:
  - {id: mail, send: {template: t, topic: t}}
"""


def world(*texts: str) -> World:
    made = World(*texts)
    made.catalog.segment("big", "contact.count('order') >= 2")
    made.catalog.segment("young", "contact.age < 30")
    return made


def changes(made: World) -> list[tuple[str, str]]:
    told = [one.body for one in made.emitted if one.channel == "segment"]
    return [(one["segment"], one["change"]) for one in told]


def test_a_contact_enters_and_leaves_when_an_input_changes_what_the_condition_looks_at() -> None:
    made = world()
    made.now = 1
    made.give("ann", ContactPut({"age": 20}))
    made.give("ann", Event("order", 0))
    made.now = 2
    made.give("ann", Event("order", 0))
    made.now = 3
    made.give("ann", ContactPut({"age": 31}))
    made.give("ann", ContactPut({"age": 32}))
    assert changes(made) == [("young", "entered"), ("big", "entered"), ("young", "left")]
    stays = made.contact("ann").segments
    assert (stays["young"].since, stays["young"].until) == (1, 3)
    assert (stays["big"].since, stays["big"].until) == (2, 0)
    assert [stays["young"].at(moment) for moment in (0, 1, 2, 3)] == [False, True, True, False]


def test_entering_and_leaving_open_journeys_where_the_condition_holds() -> None:
    made = world(SCENARIO)
    for contact, plan in (("ann", "gold"), ("bob", "blue")):
        made.give(contact, ContactPut({"email": f"{contact}@example.com", "plan": plan}))
        for _ in range(3):
            made.give(contact, Event("order", 0))
    assert [contact for _, contact, _, _ in made.sent] == ["ann"]


def test_history_fills_a_segment_and_opens_nothing() -> None:
    made = world(SCENARIO)
    made.give("ann", ContactPut({"email": "ann@example.com", "plan": "gold"}))
    for at in range(2):
        made.give("ann", Event("order", at, historical=True))
    assert changes(made) == [("big", "entered")]
    assert made.sent == []


def test_a_segment_published_later_is_filled_by_a_run_without_journeys() -> None:
    made = World(SCENARIO)
    made.give("ann", ContactPut({"email": "ann@example.com", "plan": "gold"}))
    for _ in range(2):
        made.give("ann", Event("order", 0))
    made.catalog.segment("big", "contact.count('order') >= 2")
    made.give("ann", LookAnew())
    made.give("ann", LookAnew())
    assert changes(made) == [("big", "entered")]
    assert made.sent == []


def test_what_only_time_changes_shows_when_the_contact_is_looked_at_anew() -> None:
    made = World()
    made.catalog.segment("active", "contact.count('order', '10d') >= 1")
    made.give("ann", Event("order", 0))
    made.until(20 * DAY)
    made.give("ann", ContactPut({"city": "Oslo"}))  # the condition doesn't look at it
    assert not made.contact("ann").segments["active"].until
    made.give("ann", LookAnew())
    assert made.contact("ann").segments["active"].until == 20 * DAY


def test_membership_as_of_a_moment_decides_who_is_entered() -> None:
    made = world(SCENARIO.replace("on: leave", "on: leave, when: 'false'") + "\n")
    made.catalog.publish(
        "scenario: mailing\nentry: {by: list}\nsteps:\n- {id: m, send: {template: m, topic: t}}\n"
    )
    made.give("ann", ContactPut({"email": "ann@example.com", "age": 20}))
    made.now = 10
    made.give("ann", ContactPut({"age": 40}))
    made.give("ann", EnterJourney("mailing", "list", segment="young", as_of=10))
    assert made.sent == []
    made.give("ann", EnterJourney("mailing", "list", segment="young", as_of=9))
    assert [send.template for _, _, _, send in made.sent] == ["m"]


def test_other_conditions_can_ask_for_membership() -> None:
    made = World(
        """
scenario: s
entry: {event: look, when: contact.in_segment('big')}
reentry: always
steps:
  - {id: m, send: {template: m, topic: t}}
"""
    )
    made.catalog.segment("big", "contact.count('order') >= 1")
    made.give("ann", ContactPut({"email": "ann@example.com"}))
    made.give("ann", Event("look", 0))
    made.give("ann", Event("order", 0))
    made.give("ann", Event("look", 0))
    assert len(made.sent) == 1


def test_an_erased_contact_is_in_no_segment() -> None:
    made = world()
    made.give("ann", ContactPut({"age": 20}))
    made.give("ann", Erase())
    assert made.contact("ann").segments == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("segment: s\n", "no `when`"),
        ("segment: s\nwhen: contact.age\n", None),
        ("segment: s\nwhen: contact.age + 1\n", "a bool is needed"),
        ("segment: s\nwhen: event.x == 1\n", "event has no field"),
        ("segment: s\nwhen: journey.key == 'a'\n", "no journey yet"),
        ("segment: s\nwhen: contact.in_segment('t')\n", "another segment"),
        ("segment: S!\nwhen: 'true'\n", "can't be a name"),
        ("segment: s\nwhen: 'true'\nif: 'true'\n", "unknown key"),
        ("segment: s\nwhen: contact.counts('a') > 1\n", "no function"),
    ],
)
def test_mistakes_of_a_segment_are_told_with_their_place(text: str, told: str | None) -> None:
    mistakes = check_segment(text, "s.yaml")
    if told is None:
        assert mistakes == []  # fields are `dyn` without a type schema
    else:
        assert [told in mistake.message for mistake in mistakes] == [True]
        assert mistakes[0].line >= 1


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{segment: a, event: b}", "stands for itself"),
        ("{segment: a, on: maybe}", "can't be"),
        ("{event: a, on: leave}", "needs `segment`"),
        ("{offset: -3, event: a}", "needs `date`"),
        ("{schedule: '99 9 * * *'}", "the minute"),
        ("{by: mail}", "can't be"),
        ("{zone: Europe/Oslo, event: a}", "needs `schedule`"),
        ("{date: event.day}", "event has no field"),
    ],
)
def test_mistakes_of_an_entry_are_told(entry: str, told: str) -> None:
    text = f"scenario: s\nentry: {entry}\nsteps:\n  - {{id: a, wait: 1d}}\n"
    assert any(told in mistake.message for mistake in check(text)), check(text)
