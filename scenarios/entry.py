"""What an event does: it is counted, goes to the journeys that wait for it, then opens new ones."""

from __future__ import annotations

__all__ = ("enter_by_state", "retime", "take_event", "watch_state")

from typing import Final

import msgspec

from engine.vocabulary import Data, Event
from scenarios.cel.closures import Closure
from scenarios.cel.scope import Scope
from scenarios.cel.values import EvaluationError
from scenarios.compiling import CompiledScenario, Opening, Watching
from scenarios.draft import Draft
from scenarios.interpreter import advance
from scenarios.opening import open_journey
from scenarios.program import Listener, Listening, Waiting
from scenarios.reading_habits import note_read
from scenarios.runs import CAMPAIGN_PREFIX
from scenarios.state import Journey, Seen
from scenarios.trials import measure
from scenarios.variables import send_fields
from scenarios.waits import caught, due_of, fits

_RECENT_MAX: Final = 10  # events of a name kept for those who look back


def take_event(draft: Draft, event: Event) -> None:
    """Decide an event. A historical one is only counted."""
    name = event.name
    draft.count(name)
    interest = draft.view.interest(name)
    if interest.window_ms is not None:
        at = min(event.at, draft.now) if event.historical else draft.now
        draft.note_time(name, at, interest.window_ms)
    if interest.reads:
        note_read(draft, event)
    if event.historical:
        return
    if interest.of_mail:
        _tell_reader(draft, event)
    if draft.trials and interest.measured:
        measure(draft, event, interest.measured)
    if interest.looks_back:
        seen = Seen(draft.ordinal, draft.now, event.data)
        kept = (*draft.recent.get(name, ()), seen)[-_RECENT_MAX:]
        draft.recent = {**draft.recent, name: kept}
    if draft.journeys:
        _reach_journeys(draft, event)
    if draft.sends:
        _reach_mail(draft, event)
    if interest.openings:
        _enter(draft, event, interest.openings)


def _reach_journeys(draft: Draft, event: Event) -> None:
    """Let goals, exits and waits of the journeys take the event; one that another has just stopped is left alone."""
    view, name = draft.view, event.name
    versions = view.versions
    for journey in draft.contact.journeys:
        compiled = versions.get(journey.version) or view.of_journey(journey)
        if compiled is None:
            continue
        reaction = compiled.reactions.get(name)
        if reaction is None:
            continue
        found = reaction.listening.get(journey.step)
        if found is None and not reaction.watches:
            continue
        if not any(one is journey for one in draft.journeys):
            continue
        if found is None:
            _watched(draft, reaction.watches, journey, event.data)
        elif not _watched(draft, reaction.watches, journey, event.data):
            _listen(draft, compiled, journey, event, *found)


def _tell_reader(draft: Draft, event: Event) -> None:
    """Tell a campaign that this contact read, clicked or complained: once for each, and not of scanners."""
    fields = draft.read(event.data)
    scenario = fields.get("scenario")
    if not isinstance(scenario, str) or not scenario.startswith(CAMPAIGN_PREFIX):
        return
    mark = f"{scenario}\0{event.name}"
    if mark not in draft.arms and fields.get("by") != "scanner":
        draft.arms = {**draft.arms, mark: ""}
        draft.tell_campaign(scenario, event.name, step=fields.get("step"))


def _reach_mail(draft: Draft, event: Event) -> None:
    """Let goals and exits reach mail of journeys that have ended already."""
    living = {journey.id for journey in draft.contact.journeys}
    for message_id, send in draft.sends.items():
        if send.journey in living:
            continue
        compiled = draft.view.version(send.scenario, send.version)
        for watch in compiled.watches.get(event.name, ()) if compiled else ():
            draft.data = event.data
            draft.journey = send_fields(send)
            if draft.holds(watch.condition, watch.name):
                reason = f"{'goal' if watch.goal else 'exit'}:{watch.name}"
                draft.cancel(message_id, send, reason)
                break


def _enter(
    draft: Draft, event: Event, openings: tuple[tuple[CompiledScenario, Opening], ...]
) -> None:
    """Open journeys; of several openings of a scenario the first that holds counts."""
    opened, data = "", event.data
    for compiled, opening in openings:
        name = compiled.name
        if name == opened:
            continue
        if name in draft.past and compiled.scenario.reentry == "never":
            continue  # the most frequent refusal by far: not worth a record
        draft.data = data
        if opening.condition is None or draft.holds(opening.condition, name):
            opened = name
            open_journey(draft, compiled, data)


def enter_by_state(draft: Draft) -> None:
    """Open the journeys whose condition this input has made true."""
    before = draft.contact
    former = Scope(
        before.attributes,
        before.counts,
        now=draft.now,
        scores=before.scores,
        tags=before.tags,
        times=before.times,
        segments=before.segments,
        mails=before.mails,
    )
    for compiled, opening in draft.view.by_event.get("", ()):
        assert opening.condition is not None
        closure = opening.condition.closure
        draft.data = {}
        if _true(closure, draft) and not _true(closure, former):
            open_journey(draft, compiled, {})


def _true(closure: Closure, scope: Scope) -> bool:
    try:
        return closure(scope) is True
    except EvaluationError:  # a missing attribute is the rule here: not worth a record
        return False


def _listen(
    draft: Draft,
    compiled: CompiledScenario,
    journey: Journey,
    event: Event,
    step: Listening,
    listeners: tuple[Listener, ...],
) -> None:
    for listener in listeners:
        if fits(draft, listener, journey, event.data, step.id):
            on, position = caught(draft, step, listener, journey, event.data)
            draft.replace(journey, advance(draft, compiled, on, position, draft.now))
            return


# ---- goals and exits


def _watched(draft: Draft, watches: tuple[Watching, ...], journey: Journey, data: Data) -> bool:
    """End the journey if a goal or exit says so."""
    for watch in watches:
        draft.data = data
        if watch.condition is not None:
            draft.look(watch.condition, journey, journey.step)
        if draft.holds(watch.condition, watch.name):
            draft.end(journey, f"{'goal' if watch.goal else 'exit'}:{watch.name}")
            return True
    return False


def watch_state(draft: Draft) -> None:
    """End the journeys whose goal or exit without an event has come true."""
    view = draft.view
    of_version = view.state_watches
    for journey in tuple(draft.journeys):
        watches = of_version.get(journey.version)
        if watches is None:
            found = view.of_journey(journey)
            watches = () if found is None else found.watches.get("", ())
        if watches:
            _watched(draft, watches, journey, journey.event)


# ---- calendar waits follow what they depend on


def retime(draft: Draft) -> None:
    """Work out anew when calendar waits are over, after attributes (zone, dates) have changed."""
    for journey in tuple(draft.journeys):
        compiled = draft.view.of_journey(journey)
        at = compiled.places.get(journey.step) if compiled else None
        step = compiled.program[at] if compiled and at is not None else None
        if not isinstance(step, Waiting) or step.calendar is None or journey.held:
            continue
        draft.data = journey.event
        due = due_of(draft, step, journey, journey.since)
        if due is None:
            draft.end(journey, "no_date")
        elif due < draft.now and step.calendar.past == "end":
            draft.end(journey, "date_past")
        elif due != journey.due:
            draft.record("journey_retimed", journey=journey.id, step=step.id, due=due)
            draft.replace(journey, msgspec.structs.replace(journey, due=max(due, 1)))
