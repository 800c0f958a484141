"""What an event does: it is counted, goes to the journeys that wait for it, then opens new ones."""

from __future__ import annotations

__all__ = ("enter_by_state", "retime", "take_event", "watch_state")

from typing import Final

import msgspec

from engine.vocabulary import Data, Event
from scenarios.cel.closures import Closure
from scenarios.cel.scope import Scope
from scenarios.cel.values import EvaluationError
from scenarios.compiling import CompiledScenario, Watching
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

_OF_MAIL: Final = "mail."  # begins the events that mail gives rise to: clicks, complaints
_RECENT_MAX: Final = 10  # events of a name kept for those who look back


def take_event(draft: Draft, event: Event) -> None:
    """Decide an event. A historical one is only counted."""
    draft.count(event.name)
    window_ms = draft.view.windows.get(event.name)
    if window_ms is not None:
        at = min(event.at, draft.now) if event.historical else draft.now
        draft.note_time(event.name, at, window_ms)
    if event.name.startswith(_OF_MAIL) and (draft.view.mails_asked or draft.view.asks_hours):
        note_read(draft, event)
    if event.historical:
        return
    if event.name.startswith(_OF_MAIL):
        _tell_reader(draft, event)
    if draft.trials and event.name in draft.view.measured:
        measure(draft, event, draft.view.measured[event.name])
    if event.name in draft.view.looks_back:
        seen = Seen(draft.ordinal, draft.now, event.data)
        kept = (*draft.recent.get(event.name, ()), seen)[-_RECENT_MAX:]
        draft.recent = {**draft.recent, event.name: kept}
    _reach_journeys(draft, event)
    if draft.sends:
        _reach_mail(draft, event)
    _enter(draft, event)


def _reach_journeys(draft: Draft, event: Event) -> None:
    """Let goals, exits and waits of the journeys take the event; one that another has just stopped is left alone."""
    versions, name = draft.view.versions, event.name
    for journey in draft.contact.journeys:
        compiled = versions.get(journey.version) or draft.view.of_journey(journey)
        if compiled is None:
            continue
        reaction = compiled.reactions.get(name)
        if reaction is None or not any(one is journey for one in draft.journeys):
            continue
        if not _watched(draft, reaction.watches, journey, event.data):
            found = reaction.listening.get(journey.step)
            if found is not None:
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


def _enter(draft: Draft, event: Event) -> None:
    """Open journeys; of several openings of a scenario the first that holds counts."""
    opened = ""
    for compiled, opening in draft.view.by_event.get(event.name, ()):
        if compiled.name == opened:
            continue
        if compiled.scenario.reentry == "never" and compiled.name in draft.past:
            continue  # the most frequent refusal by far: not worth a record
        draft.data = event.data
        if draft.holds(opening.condition, compiled.name):
            opened = compiled.name
            open_journey(draft, compiled, event.data)


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
    versions = draft.view.versions
    for journey in tuple(draft.journeys):
        compiled = versions.get(journey.version) or draft.view.of_journey(journey)
        reaction = compiled.reactions.get("") if compiled is not None else None
        if reaction is not None:
            _watched(draft, reaction.watches, journey, journey.event)


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
