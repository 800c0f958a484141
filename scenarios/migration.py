"""Journeys under way when a new version is published: stay, move at the next step, or move now.

The catalog's section `migration` says, by the scenario's name, what holds: `stay` (also where nothing
is said), `next` (a journey that reaches a waiting step stands there in the new version), or `now` (a
background run gives every contact `MoveJourneys`). A step that the new version hasn't is replaced by
`places`, "" ending the journey. Time already waited counts; what is due by that is spread over
`spread_ms`, so that a move isn't a mass wake. A move keeps where each journey stood; `MoveBack` reverts it for those
that haven't reached another step since.
"""

from __future__ import annotations

__all__ = ("Migration", "MoveBack", "MoveJourneys", "Moved", "moved", "moved_due", "spread")

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from scenarios.program import Listening, Standing, Waiting
from scenarios.state import Journey

if TYPE_CHECKING:  # a compiled scenario contains acts, and those move journeys
    from scenarios.compiling import CompiledScenario


class Migration(msgspec.Struct, frozen=True):
    """What was chosen when a version was published."""

    policy: Literal["stay", "next", "now"] = "stay"
    places: Mapping[str, str] = {}


class MoveJourneys(msgspec.Struct, frozen=True, tag="move_journeys", array_like=True):
    """Input of a contact: its journeys of a scenario move to a version that the catalog has."""

    scenario: str
    version: str
    places: dict[str, str] = {}
    spread_ms: int = 0
    run: str = ""  # names the move, so that it can be reverted


class MoveBack(msgspec.Struct, frozen=True, tag="move_back", array_like=True):
    """Input of a contact: what a run moved, and hasn't gone on since, stands again where it stood."""

    scenario: str
    run: str
    spread_ms: int = 0


class Moved(msgspec.Struct, frozen=True):
    """Where a journey would stand: the step of the new version (None: it ends)."""

    step: Standing | None


def moved(journey_step: str, target: CompiledScenario, places: Mapping[str, str]) -> Moved:
    """Find the step of the new version for one of the old: itself, its replacement, or none."""
    for identity in (journey_step, places.get(journey_step, "")):
        at = target.places.get(identity)
        step = target.program[at] if at is not None else None
        if isinstance(step, Standing):
            return Moved(step)
    return Moved(None)


def moved_due(journey: Journey, step: Standing, now: int, spread_ms: int) -> int:
    """Work out when a journey is due that stands since `journey.since`; calendars excepted.

    What is due already is spread by the journey's id. 0: a `wait_for` without time-out.
    """
    length = step.duration_ms if isinstance(step, Waiting) else step.timeout_ms
    if isinstance(step, Listening) and not length:
        return 0
    return spread(journey, journey.since + length, now, spread_ms)


def spread(journey: Journey, due: int, now: int, spread_ms: int) -> int:
    """Put off what is due already, by the journey's id."""
    if due > now:
        return due
    return now + 1 + int.from_bytes(journey.id[-4:]) % max(spread_ms, 1)
