"""May a journey open, and what has to go for it: re-entry, keys, groups, limits."""

from __future__ import annotations

__all__ = ("enter_by_run", "open_journey", "open_started")

from typing import Final

from engine.ids import journey_id
from engine.machine import Record
from engine.vocabulary import Data
from scenarios.compiling import CompiledScenario
from scenarios.draft import Draft
from scenarios.interpreter import advance
from scenarios.model import Entry
from scenarios.program import Condition
from scenarios.runs import CAMPAIGN_PREFIX, EnterJourney
from scenarios.state import JOURNEYS_MAX, Journey

_KEY_LENGTH_MAX: Final = 200
_STARTS_MAX: Final = 20  # in one decision: scenarios that start each other end there


def open_journey(draft: Draft, compiled: CompiledScenario, data: Data) -> str:
    """Open a journey by an event's data, unless a rule forbids it; a refusal is recorded, and given back."""
    key = "" if compiled.key is None else _key(draft, compiled.key, compiled.name, data)
    reason = "no_key" if key is None else _forbidden(draft, compiled, key)
    if reason:
        draft.record("entry_refused", scenario=compiled.name, reason=reason)
        return reason
    assert key is not None
    if draft.journeys:
        for other in _in_the_way(draft, compiled, key):
            draft.end(other, "restarted" if other.scenario == compiled.name else "displaced")
    _begin(draft, compiled, key, data)
    return ""


def enter_by_run(draft: Draft, body: EnterJourney) -> None:
    """Open a journey because a run says so. What became of a campaign's is told on its feed."""
    reason = _entered(draft, body)
    if reason in {"not_published", "not_an_entry", "not_a_member", "condition"}:
        draft.record("entry_refused", scenario=body.scenario, reason=reason)
    if body.source == "campaign":
        draft.tell_campaign(body.scenario, "refused" if reason else "entered", reason)


def _entered(draft: Draft, body: EnterJourney) -> str:
    """Open the journey; give the reason where a rule forbids it."""
    compiled = draft.view.current.get(body.scenario)
    if compiled is None:
        return "not_published"
    if body.segment:
        stay = draft.segments.get(body.segment)
        if stay is None or not stay.at(body.as_of or draft.now):
            return "not_a_member"
    found = [one for one in compiled.openings if _is_entry(one.entry, body)]
    if not found:
        return "not_an_entry"
    for opening in found:
        draft.data = body.data
        if draft.holds(opening.condition, compiled.name):
            return open_journey(draft, compiled, body.data)
    return "condition"


def _is_entry(entry: Entry, body: EnterJourney) -> bool:
    if body.source == "schedule":
        return bool(entry.schedule) and entry.segment == body.segment
    return body.source == "campaign" or entry.source == body.source


def open_started(draft: Draft) -> None:
    """Open what `start` steps have asked for, and what those ask for; past a bound they are refused."""
    for _ in range(_STARTS_MAX):
        if not draft.starting:
            return
        compiled, data = draft.starting.pop(0)
        open_journey(draft, compiled, data)
    for compiled, _ in draft.starting:
        draft.record("entry_refused", scenario=compiled.name, reason="too_many_starts")


def _key(draft: Draft, key: Condition, scenario: str, data: Data) -> str | None:
    """Evaluate the instance key: a text or an integer."""
    draft.data = data
    value = draft.value(key, scenario)
    if value.__class__ is int:
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _KEY_LENGTH_MAX else None


def _forbidden(draft: Draft, compiled: CompiledScenario, key: str) -> str:
    """Tell which rule forbids the journey; "" for none."""
    scenario, name, journeys = compiled.scenario, compiled.name, draft.journeys
    if name in draft.view.paused and not name.startswith(CAMPAIGN_PREFIX):
        return (
            "paused"  # who is given a campaign gets it once it goes on: its mail is held, not lost
        )
    past = draft.past.get(f"{name}\0{key}" if key else name)
    if past is not None:
        if scenario.reentry == "never":
            return "never_again"
        if draft.now < past.opened_at + scenario.reentry_after_ms:
            return "too_soon"
    if scenario.reentry != "restart":
        for one in journeys:
            if one.scenario == name and one.key == key:
                return "under_way"
    for other in journeys if scenario.group else ():
        current = draft.view.of_journey(other)
        if current is None or current.name == name:
            continue
        rank = current.scenario
        if rank.group == scenario.group and rank.priority >= scenario.priority:
            return "group"
    return "too_many_journeys" if len(journeys) >= JOURNEYS_MAX else ""


def _in_the_way(draft: Draft, compiled: CompiledScenario, key: str) -> list[Journey]:
    """Find the journeys that this one replaces: its own under the same key, lower ones of the group."""
    found, name, group = [], compiled.name, compiled.scenario.group
    for other in draft.journeys:
        if other.scenario == name:
            if other.key == key:
                found.append(other)
        elif group:
            current = draft.view.of_journey(other)
            if current is not None and current.scenario.group == group:
                found.append(other)
    return found


def _begin(draft: Draft, compiled: CompiledScenario, key: str, data: Data) -> None:
    """Let a journey begin. A hot path: `replace` is written out for the one that is still the last."""
    context, scenario, now = draft.context, compiled.scenario, draft.now
    name, version = compiled.name, compiled.version
    identity = journey_id(context.key, name, key, context.input_id)
    journey = Journey(
        identity, name, version, "", 1, 0, now, data, key, {}, now, draft.ordinal
    )  # by position: names would cost as much again
    if scenario.reentry == "never" or scenario.reentry_after_ms:
        draft.remember(name, key)
    opened = {"journey": identity, "scenario": name, "version": version}
    draft.effects.append(Record("journey_opened", opened))
    journeys = draft.journeys
    journeys.append(journey)  # in its place while it runs, so that rules see it
    after = advance(draft, compiled, journey, compiled.start, now)
    if after is not None and journeys and journeys[-1] is journey:  # else it was stopped meanwhile
        journeys[-1] = after
    else:
        draft.replace(journey, after)
