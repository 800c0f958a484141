"""The signed reverse-path of each message.

By it a bounce finds its message, and a forged one is told apart.

RFC 5321 §4.5.3.1.1 gives a local part 64 octets, and some systems change its case; so it is base32
in lower case:

    local part = "v-" + base32(version and key id (1) + last day (2) + tenant tag (4) + message id (16) + mac (12))

35 bytes are 56 characters, 58 with the prefix, without padding. The message id begins with the hash
that places its partition (`engine.ids`). There is no address in it. The mac is the first 96 bits of
HMAC-SHA256; keys are those of `tokens.KeyRing`, under a context of its own, so that a token can't
be passed off as a reverse-path.
"""

from __future__ import annotations

__all__ = ("PREFIX", "Verified", "make", "read")

import binascii
import hmac
from base64 import b32decode, b32encode

import msgspec

from deliverability.tokens import (
    DAY_MS,
    ID_BYTES,
    MAC_BYTES,
    KeyRing,
    Refusal,
    Refused,
    last_day,
    mac,
)

PREFIX = "v-"
_VERSION = 1
_CHARS = 58
_CONTEXT = b"veredus reverse-path\0"


class Verified(msgspec.Struct, frozen=True):
    """A reverse-path that we made and that hasn't expired."""

    tenant: int  # `tokens.tenant_tag`
    message_id: bytes
    last_day: int


def make(tenant: int, message_id: bytes, ring: KeyRing, now: int, ttl_days: int = 30) -> str:
    """Make the local part for a message.

    `now` (the message's date, ms) and `ttl_days` fix its last day.
    """
    assert len(message_id) == ID_BYTES, "a message id has 16 bytes"
    signed = b"".join(
        (
            bytes((_VERSION << 5 | ring.current,)),
            last_day(now, ttl_days).to_bytes(2),
            tenant.to_bytes(4),
            message_id,
        )
    )
    return (
        PREFIX + b32encode(signed + mac(ring.keys[ring.current], _CONTEXT, signed)).decode().lower()
    )


def read(local_part: str, ring: KeyRing, now: int) -> Verified | Refused:
    """Verify a local part that came back, in any case.

    The comparison takes the same time wherever it differs.
    """
    text = local_part.lower()
    if len(text) != _CHARS or not text.startswith(PREFIX) or not local_part.isascii():
        return Refused(Refusal.MALFORMED)
    try:
        raw = b32decode(text[len(PREFIX) :].upper())
    except (binascii.Error, ValueError):
        return Refused(Refusal.MALFORMED)
    if raw[0] >> 5 != _VERSION:
        return Refused(Refusal.MALFORMED)
    key = ring.keys.get(raw[0] & 31)
    if key is None:
        return Refused(Refusal.UNKNOWN_KEY)
    signed, seal = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if not hmac.compare_digest(mac(key, _CONTEXT, signed), seal):
        return Refused(Refusal.BAD_SIGNATURE)
    day = int.from_bytes(signed[1:3])
    if now // DAY_MS > day:
        return Refused(Refusal.EXPIRED)
    return Verified(int.from_bytes(signed[3:7]), signed[7:23], day)
