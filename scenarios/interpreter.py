"""The interpreter: carries a journey from a position in its program to the step where it waits next, or to its end.

A wait counts from when the journey reached it. A send is due when the run was meant to begin (`meant`: the due time of
the timer, which is earlier than now after an outage), so that lateness shows.
"""

from __future__ import annotations

__all__ = ("advance", "journey_fields", "wake")

from collections.abc import Mapping
from typing import Any, Final, assert_never

from scenarios.compiling import (
    Branching,
    CompiledScenario,
    Condition,
    Ending,
    Listening,
    Sending,
    Updating,
    Waiting,
)
from scenarios.draft import Draft
from scenarios.sending import send_message
from scenarios.state import Journey

_LOST_VERSION_RETRY_MS: Final = 3_600_000


def advance(
    draft: Draft, compiled: CompiledScenario, journey: Journey, position: int, meant: int
) -> Journey | None:
    """Run from a position until the journey waits (it is given back, standing there) or ends (None)."""
    program = compiled.program
    draft.scope.event = journey.event
    while True:
        step = program[position]
        match step:
            case Waiting():
                return _stand(draft, journey, step.id, draft.now + step.duration_ms)
            case Listening():
                due = draft.now + step.timeout_ms if step.timeout_ms else 0
                return _stand(draft, journey, step.id, due)
            case Branching():
                position = _branch(draft, step, journey)
            case Sending():
                send_message(draft, step.send, journey, meant)
                position = step.next
            case Updating():
                _update(draft, step, journey)
                position = step.next
            case Ending():
                draft.record(
                    "journey_ended",
                    journey=journey.id,
                    scenario=journey.scenario,
                    reason=step.reason,
                )
                return None
            case _:
                assert_never(step)


def wake(draft: Draft) -> None:
    """Run every journey that is due, in the order of due time, then id."""
    now = draft.now
    while due := [one for one in draft.journeys if 0 < one.due <= now]:
        journey = min(due, key=_order)
        draft.replace(journey, _run_due(draft, journey))


def _order(journey: Journey) -> tuple[int, bytes]:
    return journey.due, journey.id


def _run_due(draft: Draft, journey: Journey) -> Journey | None:
    compiled = draft.view.of_journey(journey)
    at = compiled.places.get(journey.step) if compiled else None
    if compiled is None or at is None:
        draft.record("version_missing", journey=journey.id, version=journey.version)
        return _stand(draft, journey, journey.step, draft.now + _LOST_VERSION_RETRY_MS)
    step = compiled.program[at]
    match step:
        case Waiting():
            return advance(draft, compiled, journey, step.next, journey.due)
        case Listening():
            draft.record("branch_taken", journey=journey.id, step=step.id, branch="timeout")
            return advance(draft, compiled, journey, step.otherwise, journey.due)
        case Branching() | Sending() | Updating() | Ending():
            raise AssertionError(f"a journey stands at `{journey.step}`, which doesn't wait")
        case _:
            assert_never(step)


def _stand(draft: Draft, journey: Journey, step: str, due: int) -> Journey:
    draft.record("journey_waits", journey=journey.id, step=step, due=due)
    return Journey(
        journey.id,
        journey.scenario,
        journey.version,
        step,
        journey.visit,
        due,
        journey.opened_at,
        journey.event,
        journey.key,
        journey.caught,
    )


def _look(draft: Draft, condition: Condition, journey: Journey, step: str) -> None:
    """Make `journey` visible where the expression looks at it."""
    if condition.of_journey:
        draft.scope.journey = journey_fields(journey, step)


def _branch(draft: Draft, step: Branching, journey: Journey) -> int:
    _look(draft, step.condition, journey, step.id)
    held = draft.holds(step.condition, step.id)
    branch = "then" if held else "else"
    draft.record("branch_taken", journey=journey.id, step=step.id, branch=branch)
    return step.then if held else step.otherwise


def _update(draft: Draft, step: Updating, journey: Journey) -> None:
    """Set attributes; where an expression has no value, the attribute stays as it is."""
    for name, value in step.values:
        if isinstance(value, Condition):
            _look(draft, value, journey, step.id)
            value = draft.value(value.closure, step.id)  # noqa: PLW2901
            if value is None:
                continue
        draft.set_attribute(name, value)


def journey_fields(journey: Journey, step: str) -> Mapping[str, Any]:
    """Give what `journey` is in expressions and templates."""
    return {
        **journey.caught,
        "id": journey.id.hex(),
        "scenario": journey.scenario,
        "version": journey.version,
        "step": step,
        "visit": journey.visit,
        "opened_at": journey.opened_at,
        "key": journey.key,
        "event": journey.event,
    }
