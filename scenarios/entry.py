"""What an event does: it is counted, goes to the journeys that wait for it, then opens new ones."""

from __future__ import annotations

__all__ = ("take_event",)

from collections.abc import Mapping
from typing import Any

from engine.ids import journey_id
from engine.vocabulary import Event
from scenarios.compiling import CompiledScenario, Listener, Listening
from scenarios.draft import Draft
from scenarios.interpreter import advance, journey_fields
from scenarios.state import JOURNEYS_MAX, Journey


def take_event(draft: Draft, event: Event) -> None:
    """Decide an event. A historical one is only counted."""
    draft.count(event.name)
    if event.historical:
        return
    for journey in tuple(draft.journeys):
        _listen(draft, journey, event)
    for compiled in draft.view.by_event.get(event.name, ()):
        _enter(draft, compiled, event.data)


def _listen(draft: Draft, journey: Journey, event: Event) -> None:
    compiled = draft.view.of_journey(journey)
    at = compiled.places.get(journey.step) if compiled else None
    if compiled is None or at is None:
        return
    step = compiled.program[at]
    if not isinstance(step, Listening):
        return
    for listener in step.listeners.get(event.name, ()):
        if _fits(draft, listener, journey, event, step.id):
            draft.record("branch_taken", journey=journey.id, step=step.id, branch=listener.branch)
            on = _with_caught(journey, listener.caught, event.data)
            draft.replace(journey, advance(draft, compiled, on, listener.next, draft.now))
            return


def _fits(draft: Draft, listener: Listener, journey: Journey, event: Event, step: str) -> bool:
    condition = listener.condition
    if condition is None:
        return True
    draft.scope.event = event.data
    if condition.of_journey:
        draft.scope.journey = journey_fields(journey, step)
    return draft.holds(condition, step)


def _with_caught(journey: Journey, name: str, data: Mapping[str, Any]) -> Journey:
    if not name:
        return journey
    return Journey(
        journey.id,
        journey.scenario,
        journey.version,
        journey.step,
        journey.visit,
        journey.due,
        journey.opened_at,
        journey.event,
        journey.key,
        {**journey.caught, name: data},
    )


def _enter(draft: Draft, compiled: CompiledScenario, data: dict[str, Any]) -> None:
    """Open a journey, if condition and re-entry rule let it."""
    if compiled.reentry == "never" and compiled.name in draft.past:
        return
    draft.scope.event = data
    if not draft.holds(compiled.condition, compiled.name):
        return
    under_way = next((one for one in draft.journeys if one.scenario == compiled.name), None)
    if under_way is not None:
        if compiled.reentry != "restart":
            draft.record("entry_refused", scenario=compiled.name, reason="under_way")
            return
        draft.journeys.remove(under_way)
        draft.record(
            "journey_ended", journey=under_way.id, scenario=compiled.name, reason="restarted"
        )
    if len(draft.journeys) >= JOURNEYS_MAX:
        draft.record("entry_refused", scenario=compiled.name, reason="too_many_journeys")
        return
    _open(draft, compiled, data)


def _open(draft: Draft, compiled: CompiledScenario, data: dict[str, Any]) -> None:
    context = draft.context
    identity = journey_id(context.key, compiled.name, "", context.input_id)
    journey = Journey(identity, compiled.name, compiled.version, "", 1, 0, draft.now, data)
    if compiled.reentry == "never":
        draft.remember(compiled.name)
    draft.record(
        "journey_opened", journey=identity, scenario=compiled.name, version=compiled.version
    )
    standing = advance(draft, compiled, journey, compiled.start, draft.now)
    if standing is not None:
        draft.journeys.append(standing)
