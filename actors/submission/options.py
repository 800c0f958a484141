"""What a client may say about its message beside the envelope: fields of its own, taken out before it is sent. Pure.

Veredus-Stream: marketing
Veredus-Campaign: spring-sale
Veredus-Pool: bulk
"""

from __future__ import annotations

__all__ = ("Options", "take_options", "with_received")

import re

import msgspec

from deliverability.compose.headers import date
from deliverability.compose.raw import RawMessage
from deliverability.smtp.policy import Peer
from engine.errors import InputError, Place

_FIELD = re.compile(
    rb"^Veredus-([A-Za-z]{1,20})[ \t]*:[ \t]*([^\r\n]*)(?:\r\n|\Z)", re.IGNORECASE | re.MULTILINE
)
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,198}")
_NAMES = {b"stream": "stream", b"campaign": "campaign", b"pool": "pool"}


class Options(msgspec.Struct, frozen=True):
    """How a message is to be treated."""

    stream: str
    pool: str = ""
    campaign: str = ""


def take_options(content: bytes, usual: Options) -> tuple[bytes, Options]:
    """Read the fields in which a client says how its message is to be treated, and take them out.

    `content` has CRLF as line ends. Raises: InputError: a field that isn't known, or a value that can't be one.
    """
    end = content.find(b"\r\n\r\n")
    head = content if end < 0 else content[: end + 2]
    if b"veredus-" not in head.lower():
        return content, usual
    found: dict[str, str] = {}

    def read(match: re.Match[bytes]) -> bytes:
        name = _NAMES.get(match[1].lower())
        value = match[2].decode("ascii", "replace").strip()
        place = Place(path=f"Veredus-{match[1].decode()}")
        if name is None:
            raise InputError("there is no such field", place, "Stream, Campaign or Pool")
        if not _VALUE.fullmatch(value):
            raise InputError("expected letters, digits, spaces and ._-", place)
        found[name] = value
        return b""

    rest = _FIELD.sub(read, head)
    return rest + content[len(head) :], msgspec.structs.replace(usual, **found)


def with_received(
    message: RawMessage, peer: Peer, by: str, transaction: str, now_ms: int
) -> RawMessage:
    """Put the trace field before a message. RFC 5321 §4.4, with the protocol names of RFC 3848 and RFC 6531.

    It names the client as it named itself, not by its address, which is nobody's business outside.
    """
    with_ = ("UTF8SMTP" if message.smtputf8 else "ESMTP" if peer.extended else "SMTP") + (
        ("S" if peer.tls else "") + ("A" if peer.username else "") if peer.extended else ""
    )
    name = peer.helo_name if re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,255}", peer.helo_name) else "x"
    field = (
        f"Received: from {name}\r\n by {by} with {with_} id {transaction};\r\n"
        f" {date(now_ms // 1000)}\r\n"
    )
    return msgspec.structs.replace(message, headers=field.encode() + message.headers)
