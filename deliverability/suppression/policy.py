"""From what became of a message to what is said about its address. Pure; rules as data.

An outcome suppresses only by its cause: a permanent reply about content, source or volume says nothing of the
address. What came back later suppresses because it was proven before it got here (`feedback.attribution`).
"""

from __future__ import annotations

__all__ = ("DEFAULT_POLICY", "Repeats", "SuppressionPolicy", "said_of")

import msgspec

from deliverability.feedback.taxonomy import MEANINGS, Action, Cause
from deliverability.message.records import OutcomeRecord
from deliverability.suppression.entry import Entry, scope_of
from deliverability.suppression.machine import SoftBounce, Suppress

DAY = 86_400_000


class Repeats(msgspec.Struct, frozen=True):
    """How often a failure must happen before it suppresses, and for how long it does."""

    times: int = 3
    days: int = 30
    holds_days: int = 90  # 0: until it is lifted


class SuppressionPolicy(msgspec.Struct, frozen=True):
    """What suppresses by itself. `repeats` by cause; `default` for all others that say something of the address."""

    hard_days: int = 0  # 0: until it is lifted
    repeats: tuple[tuple[str, Repeats], ...] = (
        ("default", Repeats()),
        ("mailbox-full", Repeats(times=4, days=45, holds_days=60)),
        ("recipient-refused", Repeats(times=3, days=60, holds_days=180)),
        ("mailbox-disabled", Repeats(times=2, days=60, holds_days=180)),
        ("timed-out", Repeats(times=4, days=60, holds_days=30)),
    )

    def of(self, cause: str) -> Repeats:
        """Give the rule of a cause."""
        rules = dict(self.repeats)
        return rules.get(cause) or rules.get("default") or Repeats()


DEFAULT_POLICY = SuppressionPolicy()
_CAUSES = {str(cause): meaning for cause, meaning in MEANINGS.items()}
_ENDED = ("bounced", "expired")


def said_of(
    record: OutcomeRecord, tenant: str, policy: SuppressionPolicy = DEFAULT_POLICY
) -> Suppress | SoftBounce | None:
    """Tell what an outcome says of its address; None: nothing, or it isn't known whose it is."""
    kind = record.kind
    if not record.recipient and kind != "unsubscribed":
        return None
    if kind == "complained":
        return Suppress(_entry(record, scope_of("tenant", tenant), "complaint"))
    if kind == "unsubscribed":
        return Suppress(_entry(record, _unsubscribed(record, tenant), "unsubscribe"))
    returned = record.returned
    if kind == "returned" and returned is not None and returned.permanent:
        return _hard(record, tenant, policy)
    if kind not in (*_ENDED, "returned"):
        return None
    meaning = _CAUSES.get(record.cause)
    if meaning is None:
        return None
    transient = 400 <= record.code < 500  # says nothing lasting, whatever its words
    if meaning.hard and not transient:
        return _hard(record, tenant, policy)
    if meaning.hard or meaning.action is Action.SUPPRESS_AFTER_REPEATS:
        return _soft(record, tenant, policy)
    return None


def _hard(record: OutcomeRecord, tenant: str, policy: SuppressionPolicy) -> Suppress:
    expires = record.at + policy.hard_days * DAY if policy.hard_days else 0
    return Suppress(_entry(record, scope_of("tenant", tenant), "hard-bounce", expires))


def _soft(record: OutcomeRecord, tenant: str, policy: SuppressionPolicy) -> SoftBounce:
    rule = policy.of(record.cause)
    expires = record.at + rule.holds_days * DAY if rule.holds_days else 0
    entry = _entry(record, scope_of("tenant", tenant), "soft-bounces", expires)
    cause = record.cause or str(Cause.UNDETERMINED)
    return SoftBounce(entry, cause, rule.times, rule.days * DAY)


def _unsubscribed(record: OutcomeRecord, tenant: str) -> str:
    topic = record.returned.topic if record.returned is not None else ""
    topic = topic or record.topic
    return scope_of("topic", tenant, topic) if topic else scope_of("stream", tenant, record.stream)


def _entry(record: OutcomeRecord, scope: str, reason: str, expires: int = 0) -> Entry:
    codes = " ".join(filter(None, (str(record.code or ""), record.enhanced, record.cause)))
    returned = record.returned
    source = "smtp" if returned is None else returned.proof or "report"
    evidence = f"message {record.message_id} {codes}".strip()
    if returned is not None and returned.report:
        evidence += f" report {returned.report}"
    return Entry(scope, reason, source, evidence[:300], record.at, expires)
