"""The interpreter: carries a journey from a position in its program to where it waits next, or ends.

A wait counts from when the journey reached it. A send is due when the run was meant to begin
(`meant`: the due time of the timer, which is earlier than now after an outage), so that lateness
shows. A run that takes more than `RUN_STEPS_MAX` steps ends the journey.
"""

from __future__ import annotations

__all__ = ("RUN_STEPS_MAX", "advance", "take_answer", "wake")

from typing import Final, assert_never

import msgspec

from engine.vocabulary import CallAnswered
from scenarios.calls import answered, unanswered
from scenarios.compiling import CompiledScenario
from scenarios.coupons import CodeGiven, NoCode
from scenarios.draft import Draft
from scenarios.program import Calling, Listening, Taking, Waiting
from scenarios.state import Journey
from scenarios.taking import give_back, taken, without
from scenarios.walk import OVER, Walk

RUN_STEPS_MAX: Final = 10_000
_LOST_VERSION_RETRY_MS: Final = 3_600_000


def advance(
    draft: Draft, compiled: CompiledScenario, journey: Journey, position: int, meant: int
) -> Journey | None:
    """Run from a position until the journey waits (it is given back, standing there) or ends (None)."""
    walk = Walk(draft, compiled, journey, meant)
    draft.data = journey.event
    for _ in range(RUN_STEPS_MAX):
        position = walk.compiled.acts[position](walk)
        if position == OVER:
            return None if walk.ended else walk.journey
    walk.end("runaway")
    return None


def wake(draft: Draft) -> None:
    """Run every journey that is due, in the order of due time, then id."""
    now = draft.now
    while True:
        first = None
        for one in draft.journeys:
            due = one.due
            if 0 < due <= now and (first is None or (due, one.id) < (first.due, first.id)):
                first = one
        if first is None:
            return
        draft.replace(first, _run_due(draft, first))


def _run_due(draft: Draft, journey: Journey) -> Journey | None:
    view = draft.view
    if journey.scenario in view.paused:
        draft.record("journey_held", journey=journey.id, step=journey.step)
        return msgspec.structs.replace(journey, due=0, held=journey.held or journey.due)
    compiled = view.versions.get(journey.version) or view.of_journey(journey)
    at = compiled.places.get(journey.step) if compiled is not None else None
    if compiled is None or at is None:
        draft.record("version_missing", journey=journey.id, version=journey.version)
        return msgspec.structs.replace(journey, due=draft.now + _LOST_VERSION_RETRY_MS)
    step = compiled.program[at]
    meant = journey.held or journey.due
    if isinstance(step, Waiting):
        return advance(draft, compiled, journey, step.next, meant)
    if isinstance(step, Listening):
        draft.record("branch_taken", journey=journey.id, step=step.id, branch="timeout")
        return advance(draft, compiled, journey, step.otherwise, meant)
    if isinstance(step, Calling):
        draft.data = journey.event
        late = unanswered(draft, step, journey)
        return advance(draft, compiled, late, step.otherwise, meant)
    assert isinstance(step, Taking), f"a journey stands at `{journey.step}`, which doesn't wait"
    without(draft, step, journey, "timeout")
    return advance(draft, compiled, journey, step.otherwise, meant)


def take_answer(draft: Draft, body: CallAnswered | CodeGiven | NoCode) -> None:
    """Let a journey go on that waits for this answer; another, or one that has gone on, isn't touched."""
    journey = next((one for one in draft.journeys if one.id == body.journey), None)
    compiled = draft.view.of_journey(journey) if journey is not None else None
    at = compiled.places.get(body.step) if compiled is not None else None
    step = compiled.program[at] if compiled is not None and at is not None else None
    waits = journey is not None and (journey.step, journey.visit) == (body.step, body.visit)
    asked = Calling if isinstance(body, CallAnswered) else Taking
    if journey is None or compiled is None or not isinstance(step, asked) or not waits:
        draft.record("answer_ignored", journey=body.journey, step=body.step)
        if not isinstance(body, CallAnswered):
            draft.effects += give_back(draft.tenant, draft.context.key, body)
        return
    after, position = _answered(draft, step, journey, body)
    draft.data = journey.event
    draft.replace(journey, advance(draft, compiled, after, position, draft.now))


def _answered(
    draft: Draft, step: Calling | Taking, journey: Journey, body: CallAnswered | CodeGiven | NoCode
) -> tuple[Journey, int]:
    match body:
        case CallAnswered():
            assert isinstance(step, Calling), "whose answer it is"
            position = step.next if body.taken else step.otherwise
            return answered(draft, step, journey, body), position
        case CodeGiven():
            assert isinstance(step, Taking), "whose answer it is"
            return taken(draft, step, journey, body), step.next
        case NoCode(reason=reason):
            assert isinstance(step, Taking), "whose answer it is"
            without(draft, step, journey, reason)
            return journey, step.otherwise
        case _:
            assert_never(body)
