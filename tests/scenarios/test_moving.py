"""Editing a live scenario: journeys stay, move at their next step, or move now."""

from __future__ import annotations

from engine.vocabulary import ContactPut, Event
from scenarios.migration import Migration, MoveJourneys
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR

OLD = """
scenario: s
entry: e
steps:
  - {id: first, wait: 4d}
  - {id: one, send: {template: old, topic: t}}
  - {id: second, wait: 4d}
  - {id: two, send: {template: old, topic: t}}
"""
NEW = OLD.replace("old", "new").replace("4d", "6d")
SHORT = OLD.replace("4d", "1d").replace("old", "new")
WITHOUT = """
scenario: s
entry: e
steps:
  - {id: second, wait: 1d}
  - {id: two, send: {template: new, topic: t}}
"""


def under_way() -> World:
    """A contact one day into its first wait."""
    world = World(OLD)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("e", 0))
    world.until(DAY)
    return world


def sent(world: World) -> list[tuple[int, str, str]]:
    world.drain()
    return [(at // DAY, send.step, send.template) for at, _, _, send in world.sent]


def test_journeys_stay_where_nothing_else_is_said() -> None:
    world = under_way()
    world.catalog.publish(NEW)
    assert sent(world) == [(4, "one", "old"), (8, "two", "old")]


def test_at_the_next_step_the_new_version_counts_from_there_on() -> None:
    world = under_way()
    world.catalog.publish(NEW)
    world.catalog.migrations["s"] = Migration("next")
    assert sent(world) == [(4, "one", "old"), (10, "two", "new")]
    [fact] = world.facts("journey_moved")
    assert fact["step"] == "second"


def test_moved_now_the_time_waited_counts() -> None:
    world = under_way()
    version = world.catalog.publish(NEW).version
    world.give("ann", MoveJourneys("s", version))
    assert sent(world) == [(6, "one", "new"), (12, "two", "new")]


def test_moving_twice_moves_nothing_more_and_moving_back_reverts() -> None:
    world = under_way()
    before = world.contact("ann")
    version = world.catalog.publish(NEW).version
    world.give("ann", MoveJourneys("s", version))
    after = world.contact("ann")
    world.give("ann", MoveJourneys("s", version))
    assert world.contact("ann") == after
    world.give("ann", MoveJourneys("s", before.journeys[0].version))
    assert world.contact("ann") == before


def test_what_a_shorter_wait_makes_due_is_spread() -> None:
    world = under_way()
    world.until(2 * DAY)
    version = world.catalog.publish(SHORT).version
    world.give("ann", MoveJourneys("s", version, {}, HOUR))
    due = world.contact("ann").journeys[0].due
    assert 2 * DAY < due <= 2 * DAY + HOUR


def test_a_journey_of_a_removed_step_goes_to_its_place_or_ends() -> None:
    world = under_way()
    version = world.catalog.publish(WITHOUT).version
    world.give("ann", MoveJourneys("s", version, {"first": "second"}))
    assert sent(world) == [(1, "two", "new")]

    world = under_way()
    version = world.catalog.publish(WITHOUT).version
    world.give("ann", MoveJourneys("s", version))
    assert sent(world) == []
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["step_removed"]


def test_a_version_that_is_not_there_moves_nothing() -> None:
    world = under_way()
    before = world.contact("ann")
    world.give("ann", MoveJourneys("s", "nowhere"))
    assert world.contact("ann") == before


def test_a_calendar_wait_is_worked_out_from_when_the_step_was_reached() -> None:
    world = under_way()
    at_nine = OLD.replace("{id: first, wait: 4d}", '{id: first, wait: {for: 2d, at: "09:00"}}')
    version = world.catalog.publish(at_nine).version
    world.give("ann", MoveJourneys("s", version))
    assert world.contact("ann").journeys[0].due == 2 * DAY + 9 * HOUR

    world = under_way()
    dated = OLD.replace("{id: first, wait: 4d}", "{id: first, wait: {date: contact.renewal}}")
    version = world.catalog.publish(dated).version
    world.give("ann", MoveJourneys("s", version))
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["no_date"]
