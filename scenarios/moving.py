"""Moves journeys to another version of their scenario, in the contact's own decisions."""

from __future__ import annotations

__all__ = ("move_journeys",)

import msgspec

from scenarios.compiling import CompiledScenario
from scenarios.draft import Draft
from scenarios.interpreter import due_of
from scenarios.migration import MoveJourneys, moved, moved_due, spread
from scenarios.program import Waiting
from scenarios.state import Journey


def move_journeys(draft: Draft, body: MoveJourneys) -> None:
    """Move the contact's journeys of a scenario. Doing it twice moves nothing more."""
    target = draft.view.version(body.scenario, body.version)
    if target is None:
        draft.record("version_missing", scenario=body.scenario, version=body.version)
        return
    for journey in tuple(draft.journeys):
        if journey.scenario == body.scenario and journey.version != body.version:
            _move(draft, journey, target, body)


def _move(draft: Draft, journey: Journey, target: CompiledScenario, body: MoveJourneys) -> None:
    step = moved(journey.step, target, body.places).step
    if step is None:
        draft.end(journey, "step_removed")
        return
    if isinstance(step, Waiting) and step.calendar is not None:
        draft.scope.event = journey.event
        found = due_of(draft, step, journey, journey.since)
        if found is None:
            draft.end(journey, "no_date")
            return
        due = spread(journey, found, draft.now, body.spread_ms)
    else:
        due = moved_due(journey, step, draft.now, body.spread_ms)
    draft.record(
        "journey_moved",
        journey=journey.id,
        scenario=journey.scenario,
        before=journey.version,
        after=target.version,
        step=step.id,
        due=due,
    )
    after = msgspec.structs.replace(journey, version=target.version, step=step.id, due=due)
    draft.replace(journey, after)
