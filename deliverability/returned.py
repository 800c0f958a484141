"""What came back about a message after its outcome: a bounce by mail, a complaint, an unsubscribe by mail.

It is believed because whoever told it proved that it is about this message (`feedback.attribution`), and enters at the
message. The law of messages isn't moved by it: what was delivered stays delivered, and counts as `returned` besides.
"""

from __future__ import annotations

__all__ = ("EVENTS", "OFTEN", "Reported", "Returned", "ReturnedKind", "about", "event_name")

from typing import Any, Literal

import msgspec

from deliverability.leaving import Leaving
from engine.vocabulary import Event, Send

ReturnedKind = Literal[
    "returned",  # a bounce: it could not be delivered after all
    "delayed",  # it is still on its way elsewhere
    "complained",
    "unsubscribed",  # by a mail to the address of List-Unsubscribe, RFC 2369 §3.2
    "auto_replied",  # a machine answered, RFC 3834
    "opened",
    "clicked",
]

EVENTS: dict[str, str] = {
    "returned": "mail.bounced",
    "delayed": "mail.delayed",
    "complained": "mail.complained",
    "unsubscribed": "mail.unsubscribed",
    "auto_replied": "mail.auto_replied",
    "opened": "mail.opened",
    "clicked": "mail.clicked",
}
"""What the contact hears, so that a journey can react."""


class Returned(msgspec.Struct, frozen=True, tag="returned", array_like=True):
    """One report about a message. No text of the mail: only what was understood of it, without address."""

    kind: ReturnedKind
    cause: str = ""
    permanent: bool = False
    status: str = ""  # RFC 3463
    reply_code: str = ""
    reporter: str = ""  # domain of who reports: the DKIM domain, or the remote host
    proof: str = ""  # reverse-path, dkim:DOMAIN, token
    report: str = ""  # digest of the mail in hexadecimal, by which it is found again
    topic: str = ""  # of an unsubscribe; "" is the message's own
    data: dict[str, Any] = {}  # of an open or a click: which link, by whom
    leaving: Leaving | None = None  # of an unsubscribe: what its token knows without the message


def event_name(kind: ReturnedKind) -> str:
    """Name the event that the contact hears."""
    return EVENTS[kind]


class Reported(msgspec.Struct, frozen=True, gc=False):
    """A report on its way to its message. Idempotent by message and input id."""

    tenant: str
    message_id: bytes
    returned: Returned
    input_id: str


OFTEN: frozenset[ReturnedKind] = frozenset(("opened", "clicked"))
"""What happens many times to a message: it is told to the contact, and neither to the feed nor to the story."""


def about(returned: Returned, message_id: bytes, send: Send, now: int, left: int) -> Event:
    """Make the event that the contact hears. `left`: when the message was handed over, ms."""
    told: dict[str, Any] = {
        "message_id": message_id.hex(),
        "scenario": send.scenario,
        "step": send.step,
        "stream": send.stream,
        "topic": returned.topic or send.topic,
        "after_s": max(now - left, 0) // 1000,
    }
    told |= returned.data if returned.kind in OFTEN else _facts(returned)
    return Event(event_name(returned.kind), now, told)


def _facts(returned: Returned) -> dict[str, Any]:
    return {"cause": returned.cause, "permanent": returned.permanent, "proof": returned.proof}
