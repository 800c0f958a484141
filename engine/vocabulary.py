"""What scenarios and deliverability both speak of: contact, message, outcome. Types only, no rules.

A `send` step of a journey tells the message machine `Send`; the message asks its contact `MaySend` once a credit is at
hand; the contact answers `Permit` or `Refuse` in the same unit; what became of it comes back as `OutcomeNotice`.
"""

from __future__ import annotations

__all__ = (
    "CALLS",
    "CONSENT_AGAIN",
    "EAGER_MAX",
    "TRANSACTIONAL",
    "Call",
    "CallAnswered",
    "Cancel",
    "Consent",
    "ConsentAgain",
    "ConsentGiven",
    "ContactPut",
    "Data",
    "Erase",
    "Event",
    "MarkSuppressed",
    "MaySend",
    "Message",
    "MessageClass",
    "OutcomeKind",
    "OutcomeNotice",
    "Permit",
    "Personal",
    "Refuse",
    "RefuseReason",
    "Send",
    "SendDirect",
    "data_of",
)

from typing import Annotated, Any, Literal

import msgspec

TRANSACTIONAL = "transactional"

EAGER_MAX = 10
"""The most eager reader."""

Personal = msgspec.Meta(extra={"personal": True})
"""Marks a field of a stored Struct as personal: it goes through the record codec and is gone after erasure."""

MessageClass = Literal[0, 1, 2]  # 0 urgent (one-time passwords), 1 transactional, 2 bulk

OutcomeKind = Literal[
    "delivered", "deferred", "bounced", "cancelled", "unattempted", "in_doubt", "expired"
]

RefuseReason = Literal[
    "erased",
    "suppressed",
    "no_consent",
    "late",
    "cap",
    "quiet_hours",
    "cancelled",
    "no_address",
    "paused",
]


class Consent(msgspec.Struct, frozen=True, array_like=True):
    """What a contact said about a topic: granted or withdrawn, when (ms), where it is on record."""

    granted: bool
    at: int
    source: str = ""


# ---- inputs of a contact from outside


Data = dict[str, Any] | bytes
"""Data of an event: an object, or the JSON text of one as it came, checked at the edge. Read it by `data_of`.

As text it is one object in memory, in state and feed: nobody walks its fields but who looks at them (an event of 420
octets: 2.1 µs to decode, 0.5 to encode, and 15 objects for the life of its journey).
"""


def data_of(data: Data) -> dict[str, Any]:
    """Give the fields of an event's data."""
    return _DATA.decode(data) if isinstance(data, bytes) else data


_DATA = msgspec.json.Decoder(dict[str, Any])


class Event(msgspec.Struct, frozen=True, tag="event", array_like=True, gc=False):
    """Something that happened to a contact. `at` is the event's own time in ms, which may be late.

    `historical` (the mode of ingest): it updates counts and attributes, but opens no journey and sends nothing.
    """

    name: str
    at: int
    data: Data = {}
    historical: bool = False


class ContactPut(msgspec.Struct, frozen=True, tag="put", array_like=True):
    """Attributes to set (None removes one). A `version` lower than the one stored is ignored."""

    attributes: Annotated[dict[str, Any], Personal]
    version: int | None = None


class ConsentGiven(msgspec.Struct, frozen=True, tag="consent", array_like=True):
    """A consent granted or withdrawn. The newest by its own time wins; of equals the withdrawal."""

    topic: str
    granted: bool
    at: int
    source: str = ""


CONSENT_AGAIN = "consent"
"""The feed's channel of `ConsentAgain`."""


class ConsentAgain(msgspec.Struct, frozen=True):
    """On the feed: a contact granted a topic that it had withdrawn; what unsubscribing suppressed is lifted."""

    contact: str
    topic: str


CALLS = "call"
"""The feed's channel of `Call`."""


class Call(msgspec.Struct, frozen=True):
    """On the feed: a journey calls a system outside, which a tenant's configuration knows as `endpoint`.

    Whoever posts it does so at least once and always under `call_id`, not after `not_after` (ms), and only while the
    journey stands at the step; then it gives the contact `CallAnswered`. Of the answer only the fields `keep` go back.
    """

    call_id: str
    endpoint: str
    contact: str
    scenario: str
    version: str
    step: str
    journey: str
    visit: int
    at: int
    not_after: int
    data: dict[str, Any]
    keep: tuple[str, ...] = ()


class CallAnswered(msgspec.Struct, frozen=True, tag="call_answered", array_like=True):
    """What came of a `Call`: `taken`, or refused for good. `status` is the reply's (RFC 9110 §15)."""

    journey: bytes
    step: str
    visit: int
    taken: bool
    status: int
    fields: Annotated[dict[str, Any], Personal] = {}


class Erase(msgspec.Struct, frozen=True, tag="erase", array_like=True):
    """Article 17 of the GDPR: personal fields go at once, all is cancelled, a tombstone remains."""

    reason: str = ""


class MarkSuppressed(msgspec.Struct, frozen=True, tag="suppress", array_like=True):
    """No more mail to this contact on a stream ("" for all), with the reason."""

    reason: str
    stream: str = ""


class SendDirect(msgspec.Struct, frozen=True, tag="send_direct", array_like=True):
    """A message asked for by API, without a journey. The id was derived from the idempotency key."""

    message_id: bytes
    template: str
    variables: Annotated[dict[str, Any], Personal]
    stream: str = TRANSACTIONAL
    address: Annotated[str, Personal] = ""  # "" takes the contact's own
    message_class: int = 1
    due: int = 0
    expires: int = 0
    pool: str = ""
    campaign: str = ""  # a name for the sends that belong together


# ---- between contact and message


class Send(msgspec.Struct, frozen=True, tag="send", array_like=True):
    """Contact to message: be sent. `due` and `expires` in ms (`expires` 0: the stream's default age)."""

    contact: bytes  # the contact's key
    template: str
    stream: str
    domain: str  # of the forward-path, in lower case, as A-labels
    due: int
    expires: int = 0
    message_class: int = 2
    scenario: str = ""
    version: str = ""
    step: str = ""
    journey: bytes = b""
    topic: str = ""
    pool: str = ""
    opened_by: bytes = b""  # id of the input that caused it
    eager: int = 0  # how eager a reader the contact is, 0 to 10


class MaySend(msgspec.Struct, frozen=True, tag="may_send", array_like=True):
    """Message to contact: a credit is at hand; may it go? Asked anew for each attempt."""

    message_id: bytes
    attempt: int
    stream: str
    topic: str
    due: int  # when it was meant to go, ms


class Permit(msgspec.Struct, frozen=True, tag="permit", array_like=True):
    """Contact to message: it may. The first permit fixes what every attempt renders."""

    attempt: int
    address: Annotated[str, Personal]
    variables: Annotated[dict[str, Any], Personal]
    display_name: Annotated[str, Personal] = ""


class Refuse(msgspec.Struct, frozen=True, tag="refuse", array_like=True):
    """Contact to message: it may not. With `retry_at` (ms) it is scheduled again, else it ends as skipped."""

    attempt: int
    reason: RefuseReason
    retry_at: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    """Don't send it any more, if it isn't begun."""

    reason: str = ""


class OutcomeNotice(msgspec.Struct, frozen=True, tag="outcome", array_like=True):
    """Message to contact: what became of an attempt, or of the message when `final`."""

    message_id: bytes
    kind: OutcomeKind
    attempt: int
    at: int
    final: bool
    journey: bytes = b""
    step: str = ""
    cause: str = ""


class Message(msgspec.Struct, frozen=True, array_like=True):
    """What an egress is handed: all that it needs to render, sign and send one message once."""

    message_id: bytes
    tenant: str
    attempt: int
    route: str
    message_class: int
    template: str
    address: Annotated[str, Personal]
    display_name: Annotated[str, Personal]
    variables: Annotated[dict[str, Any], Personal]
    stream: str
    scenario: str
    step: str
    date: int  # ms; fixed by the first permit, the Date of the header
    not_after: int  # on the egress's monotonic clock, ms
    incarnation: int
    contact: bytes = b""  # the contact's key
    epoch: int = 0  # of the partition that handed it over
    topic: str = ""  # of consent
