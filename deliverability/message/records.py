"""What the message machine is told and what it tells, beside the engine's vocabulary."""

from __future__ import annotations

__all__ = (
    "GREYLISTED",
    "HELD",
    "LOOK",
    "PACE_CAUSES",
    "SUPPRESSED",
    "AttemptOutcome",
    "CancelAttempt",
    "Look",
    "OutcomeRecord",
    "Settle",
    "words_of",
)

import msgspec

from deliverability.returned import Returned
from engine.vocabulary import OutcomeKind

PACE_CAUSES = ("sending-too-fast", "too-many-connections")
"""Deferrals that are the queue's fault, not the message's: they burn none of its attempts."""

HELD = "held"
"""Cause of an attempt that wasn't begun: a limit of its tenant or stream is used up, for `retry_ms` perhaps."""
GREYLISTED = "greylisted"
SUPPRESSED = "suppressed"
"""Cause of an attempt that the egress cancelled because the address is on the suppression list."""


class AttemptOutcome(msgspec.Struct, frozen=True, tag="attempt_outcome", array_like=True):
    """What an egress says of an attempt. `code` 0: there was no reply."""

    attempt: int
    kind: OutcomeKind
    cause: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    phase: str = ""
    at: int = 0  # wall time, ms
    host: str = ""
    source: str = ""  # address that it was sent from
    retry_ms: int = (
        0  # how long the site's greylisting is known to want, or a limit holds it; 0: not known
    )


class Settle(msgspec.Struct, frozen=True, tag="settle", array_like=True):
    """An operator's word on a message held in doubt: it arrived, or it must be sent again."""

    resend: bool


class CancelAttempt(msgspec.Struct, frozen=True, array_like=True):
    """To the egress: don't begin this one any more."""

    message_id: bytes
    attempt: int


class Look(msgspec.Struct, frozen=True, tag="look", array_like=True, gc=False):
    """The sweep's turn: look at the marks."""


LOOK = Look()


class OutcomeRecord(msgspec.Struct, frozen=True):
    """What the feed tells about a message: no address, only ids."""

    message_id: str
    contact: str
    scenario: str
    step: str
    stream: str
    kind: str
    attempt: int
    at: int
    cause: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    final: bool = True
    first_attempt: int = 0  # when it was first handed over, ms; 0: never
    accepted: int = 0  # when it was told to be sent, ms
    domain: str = ""  # of the forward-path
    recipient: str = ""  # keyed hash of the forward-path, unless it was delivered
    topic: str = ""
    phase: str = ""  # the command that was answered
    source: str = ""  # where it was sent from
    returned: Returned | None = None  # what came back after the outcome


def words_of(outcome: AttemptOutcome) -> str:
    """Tell an outcome in the words of a story line."""
    parts = (outcome.phase, str(outcome.code or ""), outcome.enhanced, outcome.text, outcome.cause)
    return " ".join(part for part in parts if part)
