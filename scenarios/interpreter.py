"""The interpreter: carries a journey from a position in its program to where it waits next, or ends.

A wait counts from when the journey reached it. A send is due when the run was meant to begin
(`meant`: the due time of the timer, which is earlier than now after an outage), so that lateness
shows. A run that takes more than `RUN_STEPS_MAX` steps ends the journey.
"""

from __future__ import annotations

__all__ = ("RUN_STEPS_MAX", "advance", "due_of", "look", "wake")

from hashlib import blake2b
from typing import Any, Final, assert_never

import msgspec

from scenarios.calendar import first_allowed, parse_date
from scenarios.compiling import CompiledScenario
from scenarios.doing import do
from scenarios.draft import Draft
from scenarios.migration import moved
from scenarios.program import (
    Branching,
    Condition,
    Doing,
    Ending,
    Listener,
    Listening,
    Looping,
    Sending,
    Splitting,
    Updating,
    Waiting,
)
from scenarios.sending import send_message
from scenarios.state import Journey, Loop
from scenarios.variables import journey_fields
from scenarios.zones import zone_of

RUN_STEPS_MAX: Final = 10_000
_LOST_VERSION_RETRY_MS: Final = 3_600_000


def advance(
    draft: Draft, compiled: CompiledScenario, journey: Journey, position: int, meant: int
) -> Journey | None:
    """Run from a position until the journey waits (it is given back, standing there) or ends (None)."""
    program = compiled.program
    draft.scope.event = journey.event
    for _ in range(RUN_STEPS_MAX):
        step = program[position]
        match step:
            case Waiting() | Listening():
                heir = draft.view.successor(journey)
                if heir is not None:
                    compiled, places = heir
                    program = compiled.program
                    found = moved(step.id, compiled, places).step
                    if found is None:
                        _record_end(draft, journey, "step_removed")
                        return None
                    step, journey = found, _into(draft, journey, compiled, found.id)
                stood = _reach(draft, compiled, step, journey)
                if isinstance(stood, tuple):
                    journey, position = stood
                else:
                    return stood
            case Branching():
                position = _branch(draft, step, journey)
            case Splitting():
                position = _split(draft, step, journey)
            case Looping():
                journey, position = _loop(draft, step, journey)
            case Sending():
                journey, visit = _visit(compiled, journey, step.id)
                send_message(draft, step.send, journey, visit, meant)
                position = step.next
            case Updating():
                _update(draft, step, journey)
                position = step.next
            case Doing():
                do(draft, step.step, journey)
                draft.scope.event = journey.event
                position = step.next
            case Ending():
                _record_end(draft, journey, step.reason)
                return None
            case _:
                assert_never(step)
    _record_end(draft, journey, "runaway")
    return None


def wake(draft: Draft) -> None:
    """Run every journey that is due, in the order of due time, then id."""
    now = draft.now
    while due := [one for one in draft.journeys if 0 < one.due <= now]:
        journey = min(due, key=_order)
        draft.replace(journey, _run_due(draft, journey))


def _into(draft: Draft, journey: Journey, compiled: CompiledScenario, step: str) -> Journey:
    """Let a journey go on in the new version of its scenario."""
    draft.record(
        "journey_moved",
        journey=journey.id,
        scenario=journey.scenario,
        before=journey.version,
        after=compiled.version,
        step=step,
    )
    return msgspec.structs.replace(journey, version=compiled.version)


def _order(journey: Journey) -> tuple[int, bytes]:
    return journey.due, journey.id


def _record_end(draft: Draft, journey: Journey, reason: str) -> None:
    draft.record("journey_ended", journey=journey.id, scenario=journey.scenario, reason=reason)
    draft.tell_campaign(journey.scenario, "ended", reason)


def _run_due(draft: Draft, journey: Journey) -> Journey | None:
    if journey.scenario in draft.view.paused:
        draft.record("journey_held", journey=journey.id, step=journey.step)
        return msgspec.structs.replace(journey, due=0, held=journey.held or journey.due)
    compiled = draft.view.of_journey(journey)
    at = compiled.places.get(journey.step) if compiled else None
    if compiled is None or at is None:
        draft.record("version_missing", journey=journey.id, version=journey.version)
        return msgspec.structs.replace(journey, due=draft.now + _LOST_VERSION_RETRY_MS)
    step = compiled.program[at]
    meant = journey.held or journey.due
    if isinstance(step, Listening):
        draft.record("branch_taken", journey=journey.id, step=step.id, branch="timeout")
        return advance(draft, compiled, journey, step.otherwise, meant)
    assert isinstance(step, Waiting), f"a journey stands at `{journey.step}`, which doesn't wait"
    return advance(draft, compiled, journey, step.next, meant)


# ---- standing


def _visit(compiled: CompiledScenario, journey: Journey, step: str) -> tuple[Journey, int]:
    """Count the visit of a step; those outside loops are visited once."""
    if step not in compiled.looped:
        return journey, 1
    visit = journey.visits.get(step, 0) + 1
    return msgspec.structs.replace(journey, visits={**journey.visits, step: visit}), visit


def _reach(
    draft: Draft, compiled: CompiledScenario, step: Waiting | Listening, journey: Journey
) -> Journey | tuple[Journey, int] | None:
    """Reach a step that waits: stand there, go on at once (journey and position), or end (None)."""
    journey, visit = _visit(compiled, journey, step.id)
    if isinstance(step, Listening):
        if step.look_back_ms and (found := _look_back(draft, step, journey)) is not None:
            return found
        due = draft.now + step.timeout_ms if step.timeout_ms else 0
        return _stand(draft, journey, step.id, visit, due)
    if step.calendar is None:
        return _stand(draft, journey, step.id, visit, draft.now + step.duration_ms)
    due_at = due_of(draft, step, journey, draft.now)
    if due_at is None or (due_at < draft.now and step.calendar.past == "end"):
        _record_end(draft, journey, "no_date" if due_at is None else "date_past")
        return None
    if due_at <= draft.now:
        return journey, step.next
    return _stand(draft, journey, step.id, visit, due_at)


def due_of(draft: Draft, step: Waiting, journey: Journey, since: int) -> int | None:
    """Work out when a calendar wait is over that began at `since`; None without a date."""
    calendar = step.calendar
    assert calendar is not None
    zone = (zone_of(calendar.zone) if calendar.zone else None) or draft.zone()
    date = None
    if step.date is not None:
        look(draft, step.date, journey, step.id)
        date = parse_date(draft.value(step.date, step.id), zone)
        if date is None:
            return None
    return first_allowed(calendar, since + step.duration_ms, date, zone)


def _look_back(draft: Draft, step: Listening, journey: Journey) -> tuple[Journey, int] | None:
    """Find the first event that came before the journey got here, and fits."""
    oldest = draft.now - step.look_back_ms if step.look_back_ms > 0 else 0
    earlier = [
        (seen, event)
        for event in step.listeners
        for seen in draft.recent.get(event, ())
        if seen.at >= oldest and seen.ordinal != journey.ordinal
        if step.look_back_ms > 0 or seen.ordinal > journey.ordinal
    ]
    for seen, event in sorted(earlier, key=lambda one: one[0].ordinal):
        for listener in step.listeners[event]:
            if fits(draft, listener, journey, seen.data, step.id):
                return caught(draft, step, listener, journey, seen.data)
    return None


def fits(draft: Draft, listener: Listener, journey: Journey, data: Any, step: str) -> bool:
    """Tell whether a listener takes an event; the scope keeps the journey's event afterwards."""
    if listener.condition is None:
        return True
    draft.scope.event = data
    look(draft, listener.condition, journey, step)
    held = draft.holds(listener.condition, step)
    draft.scope.event = journey.event
    return held


def caught(
    draft: Draft, step: Listening, listener: Listener, journey: Journey, data: Any
) -> tuple[Journey, int]:
    """Take the way of a listener, keeping the event's data if it has a name."""
    draft.record("branch_taken", journey=journey.id, step=step.id, branch=str(listener.branch))
    if listener.caught:
        kept = {**journey.caught, listener.caught: draft.scope.read(data)}
        journey = msgspec.structs.replace(journey, caught=kept)
    return journey, listener.next


def _stand(draft: Draft, journey: Journey, step: str, visit: int, due: int) -> Journey:
    draft.record("journey_waits", journey=journey.id, step=step, due=due)
    return Journey(
        journey.id,
        journey.scenario,
        journey.version,
        step,
        visit,
        due,
        journey.opened_at,
        journey.event,
        journey.key,
        journey.caught,
        draft.now,
        journey.ordinal,
        journey.visits,
        journey.loops,
    )


# ---- branching


def look(draft: Draft, condition: Condition, journey: Journey, step: str) -> None:
    """Make `journey` visible where the expression looks at it."""
    if condition.of_journey:
        draft.scope.journey = journey_fields(journey, step, journey.visits.get(step, 1))


def _branch(draft: Draft, step: Branching, journey: Journey) -> int:
    values: dict[str, Any] = {}
    for condition, position, name in step.ways:
        look(draft, condition, journey, step.id)
        values |= draft.values_of(condition)
        if draft.holds(condition, step.id):
            draft.record(
                "branch_taken", journey=journey.id, step=step.id, branch=name, values=values
            )
            return position
    draft.record("branch_taken", journey=journey.id, step=step.id, branch="else", values=values)
    return step.otherwise


def _split(draft: Draft, step: Splitting, journey: Journey) -> int:
    """Draw by a hash of contact and salt, so that retries, replays and other runs agree."""
    digest = blake2b(draft.context.key, key=blake2b(step.salt).digest(), digest_size=8).digest()
    draw = int.from_bytes(digest) % step.bounds[-1]
    at = next(at for at, bound in enumerate(step.bounds) if draw < bound)
    draft.record(
        "variant_drawn",
        journey=journey.id,
        step=step.id,
        variant=step.names[at],
        draw=draw,
        experiment=step.experiment,
    )
    return step.targets[at]


def _loop(draft: Draft, step: Looping, journey: Journey) -> tuple[Journey, int]:
    """Begin the body once more, or leave the loop."""
    loop = journey.loops.get(step.id)
    if loop is None:
        loop = Loop(0, _items(draft, step, journey))
    more = len(loop.items) if step.items is not None else step.limit
    again = loop.begun < more
    if again and step.condition is not None:
        look(draft, step.condition, journey, step.id)
        again = draft.holds(step.condition, step.id)
    loops = {name: one for name, one in journey.loops.items() if name != step.id}
    if not again:
        return msgspec.structs.replace(journey, loops=loops), step.next
    loops[step.id] = Loop(loop.begun + 1, loop.items)
    kept = journey.caught
    if step.variable:
        kept = {**kept, step.variable: loop.items[loop.begun]}
    return msgspec.structs.replace(journey, loops=loops, caught=kept), step.body


def _items(draft: Draft, step: Looping, journey: Journey) -> list[Any]:
    """Evaluate the list of a `for_each`; what is no list has no items."""
    if step.items is None:
        return []
    look(draft, step.items, journey, step.id)
    value = draft.value(step.items, step.id)
    items = list(value) if isinstance(value, (list, tuple)) else []
    if len(items) > step.limit:
        draft.record("items_dropped", journey=journey.id, step=step.id, items=len(items))
    return items[: step.limit]


def _update(draft: Draft, step: Updating, journey: Journey) -> None:
    """Set attributes; where an expression has no value, the attribute stays as it is."""
    for name, value in step.values:
        if isinstance(value, Condition):
            look(draft, value, journey, step.id)
            value = draft.value(value, step.id)  # noqa: PLW2901
            if value is None:
                continue
        draft.set_attribute(name, value)
