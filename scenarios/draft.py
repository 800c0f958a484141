"""The working copy of a contact while one input is decided: changed in place, then made a transition.

What the state holds is never changed; a container is copied when it is first written to.
"""

from __future__ import annotations

__all__ = ("Draft",)

from bisect import bisect_right
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from engine.keyspace import message_key
from engine.machine import At, Context, Effect, Emit, Record, Tell, Transition
from engine.vocabulary import Cancel, Data
from scenarios.cel.scope import Scope
from scenarios.cel.values import EvaluationError
from scenarios.program import Condition
from scenarios.runs import CAMPAIGN_PREFIX, campaign_news
from scenarios.state import Contact, Journey, JourneySend, LastMail, Membership, Past, Points
from scenarios.zones import zone_of

if TYPE_CHECKING:  # compiled scenarios contain acts, and acts change drafts
    from scenarios.catalog import TenantView
    from scenarios.compiling import CompiledScenario

_NOTHING: dict[str, Any] = {}
_NAMES_MAX = 1_000  # names of events that are counted
_KEYS_MAX = 50  # remembered keys of one scenario
_VALUE_CHARS = 100  # of a text that a record keeps
_TIMES_MAX = 500  # counted within windows: more are "at least so many"


class Draft(Scope):
    """One decision under way, and what its expressions see. `starting`: the journeys that `start` steps have asked for.

    A hot path (bench/ `scenarios`: about 1 µs to make): the fields of the scope are set here, in place of a call.
    """

    __slots__ = (
        "arms",
        "consents",
        "contact",
        "context",
        "coupons",
        "dates",
        "directs",
        "dropped",
        "effects",
        "exposures",
        "formers",
        "hours",
        "journeys",
        "merging",
        "ordinal",
        "past",
        "recent",
        "record_version",
        "sends",
        "starting",
        "suppressions",
        "tenant",
        "trials",
        "view",
    )

    attributes: dict[str, Any]
    counts: dict[str, int]
    scores: dict[str, Points]
    segments: dict[str, Membership]
    mails: tuple[LastMail, ...]
    tags: dict[str, int]
    times: dict[str, tuple[int, ...]]

    def __init__(self, contact: Contact, context: Context, view: TenantView) -> None:
        self.contact = contact
        self.context = context
        self.now = context.now
        self.tenant = view.tenant
        self.view = view
        self.data = self.journey = _NOTHING
        self.variables = {}
        self._decoded = {}
        self.effects: list[Effect] = []
        self.starting: list[tuple[CompiledScenario, Data]] = []
        self.attributes = contact.attributes
        self.record_version = contact.record_version
        self.consents = contact.consents
        self.counts = contact.counts
        self.journeys = list(contact.journeys)
        self.past = contact.past
        self.suppressions = contact.suppressions
        self.sends = contact.sends
        self.directs = contact.directs
        self.dropped = contact.dropped
        self.exposures = contact.exposures
        self.scores = contact.scores
        self.tags = contact.tags
        self.recent = contact.recent
        self.ordinal = contact.ordinal
        self.times = contact.times
        self.segments = contact.segments
        self.dates = contact.dates
        self.arms = contact.arms
        self.trials = contact.trials
        self.coupons = contact.coupons
        self.merging = contact.merging
        self.formers = contact.formers
        self.mails = contact.mails
        self.hours = contact.hours

    # ---- writing

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        if self.attributes is self.contact.attributes:
            self.attributes = dict(self.attributes)
        if value is None:
            self.attributes.pop(name, None)
        else:
            self.attributes[name] = value

    def count(self, event: str) -> None:
        """Count an event. Of new names there is a limit, or a name per page would grow the state."""
        self.ordinal += 1
        counts = self.counts
        if event not in counts and len(counts) >= _NAMES_MAX:
            self.record("event_not_counted", event=event)
            return
        if counts is self.contact.counts:
            counts = self.counts = dict(counts)
        counts[event] = counts.get(event, 0) + 1

    def note_time(self, event: str, at: int, window_ms: int) -> None:
        """Keep the time of an event; of those before the window only the newest, at most `_TIMES_MAX`."""
        times = (*self.times.get(event, ()), at)
        if len(times) > 1:
            if times[-2] > at:
                times = tuple(sorted(times))
            oldest = self.now - window_ms
            if times[0] <= oldest or len(times) > _TIMES_MAX:
                first = min(bisect_right(times, oldest), len(times) - 1)
                times = times[max(first, len(times) - _TIMES_MAX) :]
        self.times = {**self.times, event: times}

    def remember(self, scenario: str, key: str) -> None:
        """Note that the scenario was entered now; of many keys the newest are remembered."""
        name = f"{scenario}\0{key}" if key else scenario
        before = self.past.get(name)
        self.past = {**self.past, name: Past(before.opened + 1 if before else 1, self.now)}
        if key and len(self.past) > _KEYS_MAX:
            keyed = [one for one in self.past if one.startswith(f"{scenario}\0")]
            if len(keyed) > _KEYS_MAX:
                oldest = min(keyed, key=lambda one: (self.past[one].opened_at, one))
                del self.past[oldest]

    def replace(self, journey: Journey, after: Journey | None) -> None:
        """Put what became of a journey in its place; None takes it away.

        A journey that was ended in the meantime (by another that it started) stays ended.
        """
        journeys, identity = self.journeys, journey.id
        at = len(journeys) - 1
        if at < 0 or journeys[at].id != identity:  # one that has just been opened is the last
            at = next((at for at, one in enumerate(journeys) if one.id == identity), -1)
        if at < 0:
            return
        if after is None:
            del journeys[at]
        else:
            journeys[at] = after

    def end(self, journey: Journey, reason: str) -> None:
        """End a journey from outside: its messages that aren't begun are cancelled."""
        self.replace(journey, None)
        self.record("journey_ended", journey=journey.id, scenario=journey.scenario, reason=reason)
        self.tell_campaign(journey.scenario, "ended", reason)
        for message_id, send in self.sends.items():
            if send.journey == journey.id:
                self.cancel(message_id, send, reason)

    def stop(self, scenario: str, reason: str) -> None:
        """End all journeys of a scenario, and cancel mail of those that have ended already."""
        for journey in [one for one in self.journeys if one.scenario == scenario]:
            self.end(journey, reason)
        for message_id, send in self.sends.items():
            if send.scenario == scenario:
                self.cancel(message_id, send, reason)

    def cancel(self, message_id: bytes, send: JourneySend, reason: str) -> None:
        """Cancel a message that isn't begun; one that was to be sent anew isn't any more."""
        self.tell_message(message_id, Cancel(reason))
        if send.carried:
            left = msgspec.structs.replace(send, carried=False)
            self.sends = {**self.sends, message_id: left}

    def tell_campaign(self, scenario: str, what: str, reason: str = "", **more: Any) -> None:
        """Tell the campaign's feed what became of this contact."""
        if scenario.startswith(CAMPAIGN_PREFIX):
            self.effects += campaign_news(
                self.context.key, self.now, scenario, what, reason, **more
            )

    def add_send(self, message_id: bytes, send: JourneySend) -> None:
        """Note that a message of a journey is under way."""
        self.sends = {**self.sends, message_id: send}

    def settle(self, message_id: bytes) -> None:
        """Forget a message that has its final outcome."""
        if message_id in self.sends:
            self.sends = {key: send for key, send in self.sends.items() if key != message_id}
        elif message_id in self.directs:
            self.directs = {key: one for key, one in self.directs.items() if key != message_id}

    # ---- effects

    def record(self, fact: str, **detail: Any) -> None:
        """Keep a fact about the decision."""
        self.effects.append(Record(fact, detail))

    def tell_message(self, message_id: bytes, body: Any) -> None:
        """Tell a message of this contact."""
        self.effects.append(Tell(message_key(self.tenant, message_id), body))

    def emit(self, channel: str, body: Any) -> None:
        """Put an entry on a feed."""
        self.effects.append(Emit(channel, body))

    # ---- reading

    def holds(self, condition: Condition | None, where: str) -> bool:
        """Evaluate a condition in the scope as it stands.

        Without a value it doesn't hold, and that is recorded.
        """
        if condition is None:
            return True
        try:
            return condition.closure(self) is True
        except EvaluationError as error:
            self.record("expression_failed", where=where, why=str(error))
            return False

    def value(self, condition: Condition, where: str) -> Any:
        """Evaluate an expression; None where it has no value, and that is recorded."""
        try:
            return condition.closure(self)
        except EvaluationError as error:
            self.record("expression_failed", where=where, why=str(error))
            return None

    def look(self, condition: Condition, journey: Journey, step: str) -> None:
        """Make `journey` visible where the expression looks at it."""
        if condition.sees is not None:
            self.journey = condition.sees(self, journey, step, journey.visits.get(step, 1))

    def values_of(self, condition: Condition, values: dict[str, Any]) -> None:
        """Add what a condition looks at as it is now, short, for the record of the decision."""
        for name, closure in condition.looks:
            try:
                value = closure(self)
            except EvaluationError:
                value = None
            if isinstance(value, str):
                value = value[:_VALUE_CHARS]
            elif isinstance(value, (list, dict)):
                value = f"{len(value)} items"
            values[name] = value

    def zone(self) -> ZoneInfo:
        """Give the contact's time zone; an unknown or invalid one is the tenant's."""
        name = self.attributes.get(self.view.settings.zone_attribute)
        found = zone_of(name) if isinstance(name, str) else None
        return found or self.view.zone

    # ---- the end

    def transition(self) -> Transition:
        """Make the transition; the contact wakes when the first of its journeys is due."""
        contact = Contact(
            self.attributes,
            self.record_version,
            self.consents,
            self.counts,
            tuple(self.journeys),
            self.past,
            self.suppressions,
            self.sends,
            self.directs,
            self.contact.erased_at,
            self.dropped,
            self.exposures,
            self.scores,
            self.tags,
            self.recent,
            self.ordinal,
            self.times,
            self.segments,
            self.dates,
            self.arms,
            self.trials,
            self.coupons,
            self.contact.merged_into,
            self.merging,
            self.formers,
            self.mails,
            self.hours,
        )
        due = min(self.dates.values()) if self.dates else 0
        for journey in self.journeys:
            at = journey.due
            if at and (not due or at < due):
                due = at
        return Transition(contact, At(due) if due else None, self.effects)
