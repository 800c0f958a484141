"""Whom a run is about, and what it gives them. Pure: contact in, input out."""

from __future__ import annotations

__all__ = (
    "Aim",
    "Bid",
    "CountJourneys",
    "CountMembers",
    "Enter",
    "LookAtAll",
    "Move",
    "RehearseMove",
    "Release",
    "Revert",
    "Stop",
    "bidder",
)

from collections.abc import Callable
from typing import Any, Final, assert_never

import msgspec

from engine.keyspace import EntityKey
from engine.machine import CatalogView, Context
from scenarios.cel.scope import Scope
from scenarios.checking import load
from scenarios.compiling import CompiledScenario, compile_scenario
from scenarios.contact import ContactMachine
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.runs import EnterJourney, EntrySource, LookAnew, ReleaseHeld, StopJourneys, share_of
from scenarios.segments import Segment, compile_segment, whether_in
from scenarios.state import Contact, Journey

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_SOON: Final = (
    (HOUR_MS, "within an hour"),
    (DAY_MS, "within a day"),
    (7 * DAY_MS, "within a week"),
)


class Move(msgspec.Struct, frozen=True, tag="move"):
    """Move journeys of a scenario to a version; removed steps go to `places`."""

    scenario: str
    version: str
    places: dict[str, str] = {}
    spread_ms: int = 0


class Revert(msgspec.Struct, frozen=True, tag="revert"):
    """Move back what a run has moved."""

    scenario: str
    moved_by: str
    spread_ms: int = 0


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """Open a journey for those in a segment at a moment ("" for all), of a share of them [from, to) in 10,000."""

    scenario: str
    source: EntrySource
    data: dict[str, Any] = {}
    segment: str = ""
    as_of: int = 0
    salt: str = ""
    share_from: int = 0
    share_to: int = 10_000


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the journeys of a scenario, and cancel its mail."""

    scenario: str
    reason: str


class LookAtAll(msgspec.Struct, frozen=True, tag="look"):
    """Work segments and dates out anew. `enter`: changes open journeys."""

    enter: bool = False


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Let go on what a pause has held."""

    scenario: str
    spread_ms: int = 0


class CountJourneys(msgspec.Struct, frozen=True, tag="count_journeys"):
    """Count the journeys of a scenario, by version and step."""

    scenario: str


class CountMembers(msgspec.Struct, frozen=True, tag="count_members"):
    """Count contacts for whom a condition holds."""

    when: str


class RehearseMove(msgspec.Struct, frozen=True, tag="rehearse"):
    """Count what a move would do, without doing it, to a version whose text is `text`."""

    scenario: str
    text: str
    places: dict[str, str] = {}
    spread_ms: int = 0


Aim = (
    Move | Revert | Enter | Stop | LookAtAll | Release | CountJourneys | CountMembers | RehearseMove
)

Bid = tuple[Any, list[str]]
"""What a contact is given (None: nothing), and under which labels it counts."""

_NOTHING: Final[Bid] = (None, [])


def bidder(
    aim: Aim, run: str, tenant: str, catalog: CatalogView, now: int
) -> Callable[[EntityKey, Contact], Bid]:
    """Give the function that tells what a contact is given; what it needs is made once."""
    match aim:
        case CountMembers(when=when):
            segment = compile_segment(Segment("", when))
            return lambda _, contact: (
                None,
                ["in" if whether_in(segment, _scope(contact, now)) else "out"],
            )
        case RehearseMove():
            return _rehearser(aim, tenant, catalog, now)
        case _:
            return lambda key, contact: _bid(aim, run, key, contact)


def _bid(
    aim: Move | Revert | Enter | Stop | LookAtAll | Release | CountJourneys,
    run: str,
    key: EntityKey,
    contact: Contact,
) -> Bid:
    match aim:
        case Move(scenario=scenario, version=version, places=places, spread_ms=spread_ms):
            for journey in contact.journeys:
                if journey.scenario == scenario and journey.version != version:
                    return MoveJourneys(scenario, version, places, spread_ms, run), []
            return _NOTHING
        case Revert(scenario=scenario, moved_by=moved_by, spread_ms=spread_ms):
            for journey in contact.journeys:
                if journey.earlier is not None and journey.earlier.run == moved_by:
                    return MoveBack(scenario, moved_by, spread_ms), []
            return _NOTHING
        case Enter():
            return _enter(aim, run, key, contact)
        case Stop(scenario=scenario, reason=reason):
            concerned = any(one.scenario == scenario for one in contact.journeys) or any(
                one.scenario == scenario for one in contact.sends.values()
            )
            return (StopJourneys(scenario, reason), []) if concerned else _NOTHING
        case LookAtAll(enter=enter):
            return LookAnew(enter), []
        case Release(scenario=scenario, spread_ms=spread_ms):
            held = any(one.scenario == scenario and one.held for one in contact.journeys)
            return (ReleaseHeld(scenario, spread_ms), []) if held else _NOTHING
        case CountJourneys(scenario=scenario):
            return None, [
                f"{one.version}\0{one.step}" for one in contact.journeys if one.scenario == scenario
            ]
        case _:
            assert_never(aim)


def _enter(aim: Enter, run: str, key: EntityKey, contact: Contact) -> Bid:
    if aim.segment:
        stay = contact.segments.get(aim.segment)
        if stay is None or not stay.at(aim.as_of):
            return _NOTHING
    if aim.salt and not aim.share_from <= share_of(key, aim.salt) < aim.share_to:
        return _NOTHING
    return EnterJourney(aim.scenario, aim.source, aim.data, run, aim.segment, aim.as_of), []


def _scope(contact: Contact, now: int) -> Scope:
    return Scope(
        contact.attributes,
        contact.counts,
        now=now,
        scores=contact.scores,
        tags=contact.tags,
        times=contact.times,
        segments=contact.segments,
    )


# ---- rehearsal


class _WithVersion:
    """A catalog that knows one version more."""

    def __init__(self, catalog: CatalogView, tenant: str, added: CompiledScenario) -> None:
        self.version = catalog.version
        self._catalog = catalog
        self._place = ("scenario-version", tenant, f"{added.name}@{added.version}")
        self._added = added

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Give the compiled object, or None."""
        if (section, tenant, name) == self._place:
            return self._added
        return self._catalog.find(section, tenant, name)

    def all(self, section: str, tenant: str) -> Any:
        """Give all of a tenant's section, by name."""
        return self._catalog.all(section, tenant)


def _rehearser(
    aim: RehearseMove, tenant: str, catalog: CatalogView, now: int
) -> Callable[[EntityKey, Contact], Bid]:
    """Let the machine itself move a contact's journeys, and throw away what comes of it."""
    compiled = compile_scenario(load(aim.text))
    context = Context(_WithVersion(catalog, tenant, compiled), now)
    machine = ContactMachine()
    move = MoveJourneys(aim.scenario, compiled.version, aim.places, aim.spread_ms)

    def rehearse(key: EntityKey, contact: Contact) -> Bid:
        concerned = [one for one in contact.journeys if one.scenario == aim.scenario]
        if not concerned:
            return _NOTHING
        context.key = key
        moved = machine.decide(contact, move, context).state
        after = {one.id: one for one in moved.journeys}
        return None, [_label(one, after.get(one.id), now) for one in concerned]

    return rehearse


def _label(before: Journey, after: Journey | None, now: int) -> str:
    """Name what becomes of a journey: its step, the new one ("": it ends), when it is due."""
    if after is None:
        return f"{before.step}\0\0ends"
    if not after.due:
        return f"{before.step}\0{after.step}\0{'held' if after.held else 'at an event'}"
    since = after.due - now
    soon = next((name for limit, name in _SOON if since <= limit), "later")
    due = "unchanged" if after.due == before.due else soon
    return f"{before.step}\0{after.step}\0{due}"
