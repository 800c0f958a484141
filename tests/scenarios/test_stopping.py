"""Journeys that end other journeys in the middle of a decision."""

from __future__ import annotations

import pytest

from engine.vocabulary import ContactPut, Event
from tests.scenarios.world import World

WAITS = "{id: w, wait_for: [{event: go}]}"
STOPS = f"""
scenario: one
entry: e
steps:
  - {WAITS}
  - {{id: halt, stop: two}}
"""
SENDS = f"""
scenario: two
entry: e
exit: {{name: x, event: go, when: event.x == 1}}
steps:
  - {WAITS}
  - {{id: m, send: {{template: x, topic: news}}}}
"""


@pytest.mark.parametrize("data", [{}, {"x": 1}])
def test_a_journey_that_another_has_stopped_takes_the_event_no_more(data: dict[str, int]) -> None:
    """Also when both wait for the same event: the one that entered first goes first."""
    world = World(STOPS, SENDS)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("e", 0))
    world.give("ann", Event("go", 0, data))
    assert world.sent == []
    ends = [(fact["scenario"], fact["reason"]) for fact in world.facts("journey_ended")]
    assert ends == [("two", "stopped"), ("one", "")]
