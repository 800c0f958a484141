"""Moves journeys to another version of their scenario, in the contact's own decisions, and back."""

from __future__ import annotations

__all__ = ("move_back", "move_journeys", "release_held")

import msgspec

from scenarios.calls import call
from scenarios.draft import Draft
from scenarios.migration import MoveBack, MoveJourneys, moved, moved_due, spread
from scenarios.program import Calling, Standing, Taking, Waiting
from scenarios.runs import ReleaseHeld
from scenarios.state import Earlier, Journey
from scenarios.taking import take
from scenarios.waits import due_of


def move_journeys(draft: Draft, body: MoveJourneys) -> None:
    """Move the contact's journeys of a scenario. Doing it twice moves nothing more."""
    target = draft.view.version(body.scenario, body.version)
    if target is None:
        draft.record("version_missing", scenario=body.scenario, version=body.version)
        return
    for journey in tuple(draft.journeys):
        if journey.scenario == body.scenario and journey.version != body.version:
            step = moved(journey.step, target, body.places).step
            if step is None:
                draft.end(journey, "step_removed")
                continue
            stood = Earlier(body.run, journey.version, journey.step, journey.visit)
            earlier = stood if body.run else journey.earlier
            visit = journey.visit if step.id == journey.step else 1
            after = msgspec.structs.replace(
                journey, version=target.version, step=step.id, visit=visit, earlier=earlier
            )
            _stand(draft, journey, after, step, body.spread_ms)


def move_back(draft: Draft, body: MoveBack) -> None:
    """Let the journeys that a run has moved stand where they stood, unless they have gone on since."""
    for journey in tuple(draft.journeys):
        earlier = journey.earlier
        if journey.scenario != body.scenario or earlier is None or earlier.run != body.run:
            continue
        target = draft.view.version(body.scenario, earlier.version)
        at = target.places.get(earlier.step) if target else None
        step = target.program[at] if target is not None and at is not None else None
        if target is None or not isinstance(step, Standing):
            draft.record("version_missing", scenario=body.scenario, version=earlier.version)
            continue
        after = msgspec.structs.replace(
            journey, version=target.version, step=step.id, visit=earlier.visit, earlier=None
        )
        _stand(draft, journey, after, step, body.spread_ms)


def release_held(draft: Draft, body: ReleaseHeld) -> None:
    """Let what a pause has held be due, spread by the journey's id."""
    for journey in tuple(draft.journeys):
        if journey.scenario == body.scenario and journey.held and not journey.due:
            due = spread(journey, draft.now, draft.now, body.spread_ms)
            draft.record("journey_released", journey=journey.id, step=journey.step, due=due)
            draft.replace(journey, msgspec.structs.replace(journey, due=due))


def _stand(draft: Draft, journey: Journey, after: Journey, step: Standing, spread_ms: int) -> None:
    """Put a journey at a step; it is due as if it had stood there since it stood where it did."""
    due = _due(draft, after, step, spread_ms)
    if due is None:
        draft.end(journey, "no_date")
        return
    if journey.held and not journey.due:
        due = 0  # its scenario is paused
    if isinstance(step, (Calling, Taking)) and not _asked_already(draft, journey, step):
        # nobody would answer a journey that was only put at such a step
        if isinstance(step, Calling):
            call(draft, step, after, after.visit)
        else:
            take(draft, step, after, after.visit)
        after = msgspec.structs.replace(after, since=draft.now)
        due = due and draft.now + step.timeout_ms
    draft.record(
        "journey_moved",
        journey=journey.id,
        scenario=journey.scenario,
        before=journey.version,
        after=after.version,
        step=step.id,
        due=due,
    )
    draft.replace(journey, msgspec.structs.replace(after, due=due))


def _asked_already(draft: Draft, journey: Journey, step: Calling | Taking) -> bool:
    """Tell whether a journey stood at the same question before its move."""
    before = draft.view.of_journey(journey)
    at = before.places.get(step.id) if before is not None and journey.step == step.id else None
    return before is not None and at is not None and isinstance(before.program[at], type(step))


def _due(draft: Draft, journey: Journey, step: Standing, spread_ms: int) -> int | None:
    if not isinstance(step, Waiting) or step.calendar is None:
        return moved_due(journey, step, draft.now, spread_ms)
    draft.data = journey.event
    found = due_of(draft, step, journey, journey.since)
    return None if found is None else spread(journey, found, draft.now, spread_ms)
