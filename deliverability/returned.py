"""What came back about a message after its outcome: a bounce by mail, a complaint, an unsubscribe by mail.

It is believed because whoever told it proved that it is about this message (`feedback.attribution`), and enters at the
message. The law of messages isn't moved by it: what was delivered stays delivered, and counts as `returned` besides.
"""

from __future__ import annotations

__all__ = ("EVENTS", "Returned", "ReturnedKind", "about", "event_name")

from typing import Literal

import msgspec

from engine.vocabulary import Event, Send

ReturnedKind = Literal[
    "returned",  # a bounce: it could not be delivered after all
    "delayed",  # it is still on its way elsewhere
    "complained",
    "unsubscribed",  # by a mail to the address of List-Unsubscribe, RFC 2369 §3.2
    "auto_replied",  # a machine answered, RFC 3834
]

EVENTS: dict[str, str] = {
    "returned": "mail.bounced",
    "delayed": "mail.delayed",
    "complained": "mail.complained",
    "unsubscribed": "mail.unsubscribed",
    "auto_replied": "mail.auto_replied",
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


def event_name(kind: ReturnedKind) -> str:
    """Name the event that the contact hears."""
    return EVENTS[kind]


def about(returned: Returned, message_id: bytes, send: Send, now: int) -> Event:
    """Make the event that the contact hears."""
    told = {
        "message_id": message_id.hex(),
        "scenario": send.scenario,
        "step": send.step,
        "stream": send.stream,
        "topic": send.topic,
        "cause": returned.cause,
        "permanent": returned.permanent,
    }
    return Event(event_name(returned.kind), now, told)
