"""The working copy of a contact while one input is decided: changed in place, then made into a transition.

What the state holds is never changed; a container is copied when it is first written to.
"""

from __future__ import annotations

__all__ = ("Draft",)

from typing import Any

from engine.keyspace import message_key
from engine.machine import At, Context, Effect, Record, Tell, Transition
from engine.vocabulary import Consent
from scenarios.catalog import TenantView
from scenarios.cel.closures import Closure
from scenarios.cel.scope import Scope
from scenarios.cel.values import EvaluationError
from scenarios.compiling import Condition
from scenarios.state import Contact, Direct, Journey, JourneySend, Past, Suppression


class Draft:
    """One decision under way."""

    __slots__ = (
        "attributes",
        "consents",
        "contact",
        "context",
        "counts",
        "directs",
        "dropped",
        "effects",
        "journeys",
        "now",
        "past",
        "record_version",
        "scope",
        "sends",
        "suppressions",
        "tenant",
        "view",
    )

    def __init__(self, contact: Contact, context: Context, tenant: str, view: TenantView) -> None:
        self.contact = contact
        self.context = context
        self.now = context.now
        self.tenant = tenant
        self.view = view
        self.effects: list[Effect] = []
        self.attributes: dict[str, Any] = contact.attributes
        self.record_version = contact.record_version
        self.consents: dict[str, Consent] = contact.consents
        self.counts: dict[str, int] = contact.counts
        self.journeys: list[Journey] = list(contact.journeys)
        self.past: dict[str, Past] = contact.past
        self.suppressions: dict[str, Suppression] = contact.suppressions
        self.sends: dict[bytes, JourneySend] = contact.sends
        self.directs: dict[bytes, Direct] = contact.directs
        self.dropped = contact.dropped
        self.scope = Scope(self.attributes, self.counts, now=context.now)

    # ---- writing

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        if self.attributes is self.contact.attributes:
            self.attributes = self.scope.attributes = dict(self.attributes)
        if value is None:
            self.attributes.pop(name, None)
        else:
            self.attributes[name] = value

    def count(self, event: str) -> None:
        """Count an event."""
        counts = self.counts
        if counts is self.contact.counts:
            counts = self.counts = self.scope.counts = dict(counts)
        counts[event] = counts.get(event, 0) + 1

    def remember(self, scenario: str) -> None:
        """Note that the scenario was entered now."""
        before = self.past.get(scenario)
        opened = before.opened + 1 if before else 1
        self.past = {**self.past, scenario: Past(opened, self.now)}

    def replace(self, journey: Journey, after: Journey | None) -> None:
        """Put what became of a journey in its place; None takes it away."""
        at = self.journeys.index(journey)
        if after is None:
            del self.journeys[at]
        else:
            self.journeys[at] = after

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

    # ---- conditions

    def holds(self, condition: Condition | None, where: str) -> bool:
        """Evaluate a condition in the scope as it stands; without a value it doesn't hold, and that is recorded."""
        if condition is None:
            return True
        return self.value(condition.closure, where) is True

    def value(self, closure: Closure, where: str) -> Any:
        """Evaluate an expression; None where it has no value, and that is recorded."""
        try:
            return closure(self.scope)
        except EvaluationError as error:
            self.record("expression_failed", where=where, why=str(error))
            return None

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
        )
        due = 0
        for journey in self.journeys:
            if journey.due and (not due or journey.due < due):
                due = journey.due
        return Transition(contact, At(due) if due else None, self.effects)
