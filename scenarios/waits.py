"""Where journeys stand: until a time, until the calendar allows, until an event comes (or has come already)."""

from __future__ import annotations

__all__ = ("caught", "due_of", "earlier_event", "fits", "stand")

from typing import TYPE_CHECKING

import msgspec

from engine.machine import Record
from engine.vocabulary import Data
from scenarios.calendar import first_allowed, parse_date
from scenarios.program import Listener, Listening, Waiting
from scenarios.reading_habits import with_best_hour
from scenarios.state import Journey
from scenarios.zones import zone_of

if TYPE_CHECKING:  # acts are compiled into what a draft knows
    from scenarios.draft import Draft


def stand(draft: Draft, journey: Journey, step: str, visit: int, due: int) -> Journey:
    """Let a journey stand at a step from now on; `due` 0: no time is set."""
    draft.effects.append(Record("journey_waits", {"journey": journey.id, "step": step, "due": due}))
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


def due_of(draft: Draft, step: Waiting, journey: Journey, since: int) -> int | None:
    """Work out when a calendar wait is over that began at `since`; None without a date."""
    calendar = step.calendar
    assert calendar is not None
    zone = (zone_of(calendar.zone) if calendar.zone else None) or draft.zone()
    date = None
    if step.date is not None:
        draft.look(step.date, journey, step.id)
        date = parse_date(draft.value(step.date, step.id), zone)
        if date is None:
            return None
    if calendar.best_hour:
        calendar = with_best_hour(draft, calendar)
    return first_allowed(calendar, since + step.duration_ms, date, zone)


def earlier_event(draft: Draft, step: Listening, journey: Journey) -> tuple[Journey, int] | None:
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


def fits(draft: Draft, listener: Listener, journey: Journey, data: Data, step: str) -> bool:
    """Tell whether a listener takes an event; the scope keeps the journey's event afterwards."""
    condition = listener.condition
    if condition is None:
        return True
    draft.data = data
    draft.look(condition, journey, step)
    held = draft.holds(condition, step)
    draft.data = journey.event
    return held


def caught(
    draft: Draft, step: Listening, listener: Listener, journey: Journey, data: Data
) -> tuple[Journey, int]:
    """Take the way of a listener, keeping the event's data if it has a name."""
    draft.record("branch_taken", journey=journey.id, step=step.id, branch=str(listener.branch))
    if listener.caught:
        kept = {**journey.caught, listener.caught: draft.read(data)}
        journey = msgspec.structs.replace(journey, caught=kept)
    return journey, listener.next
