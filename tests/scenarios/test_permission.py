"""Frequency caps and quiet hours at the hand-over."""

from __future__ import annotations

from typing import Any

from engine.vocabulary import (
    ConsentGiven,
    ContactPut,
    Event,
    MaySend,
    OutcomeKind,
    OutcomeNotice,
    Permit,
    Refuse,
)
from scenarios.settings import Cap, ContactSettings, QuietHours
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR

TEXT = """
scenario: s
entry: e
reentry: always
steps:
  - {id: m, send: {template: x, topic: news, capped: CAPPED, no_consent: leave}}
  - {id: w, wait_for: done}
"""


def two_messages(capped: str = "skip", **rules: Any) -> tuple[World, bytes, bytes]:
    """A contact with two messages under way."""
    world = World(TEXT.replace("CAPPED", capped), contact=ContactSettings(**rules))
    world.now = 100 * DAY
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", ConsentGiven("news", True, 0))
    world.give("ann", Event("e", 0))
    world.give("ann", Event("done", 0))
    world.give("ann", Event("e", 0))
    one, two = [identity for _, _, identity, _ in world.sent]
    return world, one, two


def asked(world: World, message: bytes, attempt: int = 1) -> Any:
    world.give("ann", MaySend(message, attempt, "marketing", "news", world.now))
    return world.told[-1].body


def outcome(world: World, message: bytes, kind: OutcomeKind, final: bool = True) -> None:
    world.give("ann", OutcomeNotice(message, kind, 1, world.now, final))


ONE_A_DAY = (Cap("daily", 1, DAY),)


def test_a_permit_reserves_and_a_second_message_is_refused() -> None:
    world, one, two = two_messages(caps=ONE_A_DAY)
    assert isinstance(asked(world, one), Permit)
    assert asked(world, two) == Refuse(1, "cap", None)


def test_a_second_permit_of_the_same_message_reserves_nothing() -> None:
    world, one, _ = two_messages(caps=ONE_A_DAY)
    asked(world, one)
    assert isinstance(asked(world, one, 2), Permit)
    assert len(world.contact("ann").exposures) == 1


def test_what_was_not_accepted_gives_its_place_back() -> None:
    for kind in ("deferred", "bounced", "cancelled", "unattempted", "expired"):
        world, one, two = two_messages(caps=ONE_A_DAY)
        asked(world, one)
        outcome(world, one, kind, final=kind != "deferred")
        assert isinstance(asked(world, two), Permit), kind


def test_acceptance_and_doubt_count_from_their_time_on() -> None:
    for kind in ("delivered", "in_doubt"):
        world, one, two = two_messages("wait", caps=ONE_A_DAY)
        asked(world, one)
        world.now += HOUR
        outcome(world, one, kind)
        refused = asked(world, two)
        assert refused == Refuse(1, "cap", world.now + DAY + 1)
        world.now = refused.retry_at
        assert isinstance(asked(world, two), Permit)


def test_a_later_return_gives_the_place_back() -> None:
    world, one, two = two_messages(caps=ONE_A_DAY)
    asked(world, one)
    outcome(world, one, "delivered")
    outcome(world, one, "bounced")
    assert isinstance(asked(world, two), Permit)


def test_a_calendar_cap_begins_anew_at_midnight_of_the_contact() -> None:
    world, one, two = two_messages("wait", caps=(Cap("daily", 1, period="day"),))
    world.give("ann", ContactPut({"timezone": "Asia/Tokyo"}))
    asked(world, one)
    assert asked(world, two) == Refuse(1, "cap", 100 * DAY + 15 * HOUR)
    weekly, monthly = Cap("c", 1, period="week"), Cap("c", 1, period="month")
    for cap, midnight in ((weekly, 102), (monthly, 120)):  # 11 April 1970 was a Saturday
        world, one, two = two_messages("wait", caps=(cap,))
        asked(world, one)
        assert asked(world, two) == Refuse(1, "cap", midnight * DAY), cap.period


def test_a_journey_leaves_where_its_step_says_so() -> None:
    world, one, two = two_messages("leave", caps=ONE_A_DAY)
    asked(world, one)
    asked(world, two)
    assert [fact["reason"] for fact in world.facts("journey_ended")][-1] == "refused:cap"
    world, one, two = two_messages()
    world.give("ann", ConsentGiven("news", False, 1))
    asked(world, two)
    assert world.contact("ann").journeys == ()


def test_caps_are_about_their_streams_and_topics_alone() -> None:
    other = (Cap("a", 1, DAY, streams=("alerts",)), Cap("b", 1, DAY, topics=("sales",)))
    world, one, two = two_messages(caps=other)
    assert isinstance(asked(world, one), Permit)
    assert isinstance(asked(world, two), Permit)


def test_in_quiet_hours_the_message_is_asked_again_when_they_end() -> None:
    quiet = QuietHours(21 * 60, 8 * 60)
    world, one, _ = two_messages(quiet_hours=quiet)
    assert asked(world, one) == Refuse(1, "quiet_hours", 100 * DAY + 8 * HOUR)
    world.now += 8 * HOUR
    assert isinstance(asked(world, one), Permit)
