"""What is posted, and its signature, as Standard Webhooks (standardwebhooks.com) have it. Pure.

webhook-id: out_…            the same at each try: who has seen it, has it
webhook-timestamp: seconds   of this try
webhook-signature: v1,base64(HMAC-SHA256(secret, id "." timestamp "." body))
"""

from __future__ import annotations

__all__ = ("Event", "event_of", "make_secret", "read_secret", "signed_headers", "test_event")

import binascii
import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from hashlib import blake2b, sha256

import msgspec

from actors.backend import OutcomeEntry
from engine.errors import ConfigError, Place

PREFIX = "whsec_"
_SECRET_BYTES_MIN, _SECRET_BYTES_MAX = 24, 64  # as the specification has it


class Event(msgspec.Struct, frozen=True):
    """One event, ready to be posted; `message_id` tells whose order it keeps.

    `not_after` (ms; 0: the sender's own patience): later it isn't posted any more. `about`: for whoever hears its end.
    """

    id: str
    message_id: str
    body: bytes
    not_after: int = 0
    about: bytes = b""


class _Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: OutcomeEntry


def event_of(entry: OutcomeEntry) -> Event:
    """Make the event of an outcome. Its id is derived from what it tells, so that telling it twice is seen."""
    told = (entry.message_id, str(entry.attempt), entry.kind, str(entry.final), str(entry.at_ms))
    digest = blake2b("\0".join(told).encode(), digest_size=16).hexdigest()
    when = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    body = msgspec.json.encode(_Payload(f"message.{entry.kind}", when, entry))
    return Event(f"out_{digest}", entry.message_id, body)


def test_event(now_ms: int) -> Event:
    """Make an event that says nothing but that the endpoint is reached."""
    when = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    body = msgspec.json.encode({"type": "webhook.test", "timestamp": when, "data": {}})
    return Event(f"test_{now_ms}", "", body)


def signed_headers(event: Event, secret: bytes, now_ms: int) -> dict[str, str]:
    """Make the headers of one try."""
    seconds = str(now_ms // 1000)
    signed = b".".join((event.id.encode(), seconds.encode(), event.body))
    signature = b64encode(hmac.digest(secret, signed, sha256)).decode()
    return {
        "content-type": "application/json",
        "webhook-id": event.id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{signature}",
    }


def make_secret(octets: bytes) -> str:
    """Write a secret as both ends keep it."""
    return PREFIX + b64encode(octets).decode()


def read_secret(text: str, file: str) -> bytes:
    """Read a secret. Raises: ConfigError: it isn't `whsec_` and 24 to 64 octets in base64."""
    try:
        octets = b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except binascii.Error:
        octets = b""
    if not _SECRET_BYTES_MIN <= len(octets) <= _SECRET_BYTES_MAX:
        raise ConfigError(
            f"expected {PREFIX} and {_SECRET_BYTES_MIN} to {_SECRET_BYTES_MAX} octets in base64",
            Place(file=file),
            "`veredus webhook secret` makes one",
        )
    return octets
