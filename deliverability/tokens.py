"""Signed tokens for links, the open pixel and unsubscribing.

Short, safe in a URL, good for a purpose and a time.

    token = base64url(head + data + mac)
    head  = version and key id (1) + purpose (1) + last day (2) + tenant tag (4) + message id (16)
    mac   = first 12 bytes of HMAC-SHA256(key, "veredus token" NUL head data)

`data` is the target of a link (with its number), or who leaves, sealed (`deliverability.leaving`); a
token without data has 48 characters. It contains no address in the clear, but the target of a link
may, if the template puts one there.
The tag is a hash of the tenant's name. A day is 86,400 s since the epoch; the token is good through
the end of its last day. 96 bits of mac can't be guessed online; keys are rotated by adding one to
the ring and making it current, old ones verify until they are taken out.
"""

from __future__ import annotations

__all__ = (
    "CLICK",
    "DAY_MS",
    "ID_BYTES",
    "MAC_BYTES",
    "OPEN",
    "UNSUBSCRIBE",
    "KeyRing",
    "Refusal",
    "Refused",
    "Stamp",
    "Token",
    "last_day",
    "mac",
    "make",
    "read",
    "tenant_tag",
)

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hashlib import _Hash

CLICK = ord("c")
OPEN = ord("o")
UNSUBSCRIBE = ord("u")

DAY_MS = 86_400_000
KEY_IDS = 32
MAC_BYTES = 12
MIN_KEY_BYTES = 16
_VERSION = 1
ID_BYTES = 16
_HEAD_BYTES = 24
_BLOCK = 64  # of SHA-256
_MAX_CHARS = 8192  # a longer one is refused unread
_CONTEXT = b"veredus token\0"
_alphabet = re.compile(r"[A-Za-z0-9_-]*").fullmatch


class KeyRing(msgspec.Struct, frozen=True):
    """Secrets by key id (0 to 31); `current` signs, all verify.

    At least 16 bytes each, better 32.
    """

    current: int
    keys: Mapping[int, bytes]

    def __post_init__(self) -> None:
        """Refuse a ring that can't sign.

        Where keys come from the user, the reader of keys says it better.
        """
        if self.current not in self.keys:
            raise ValueError("the current key isn't in the ring")
        if any(not 0 <= number < KEY_IDS for number in self.keys):
            raise ValueError("a key id lies between 0 and 31")
        if any(len(key) < MIN_KEY_BYTES for key in self.keys.values()):
            raise ValueError("a key has at least 16 bytes")

    def __repr__(self) -> str:
        """Say which keys there are, never what they are."""
        return f"KeyRing(current={self.current}, ids={sorted(self.keys)})"


class Refusal(Enum):
    """Why a token or a reverse-path isn't believed."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"


class Refused(msgspec.Struct, frozen=True):
    """The answer to something that isn't believed."""

    reason: Refusal


class Token(msgspec.Struct, frozen=True):
    """What a token says."""

    purpose: int
    tenant: int  # `tenant_tag`
    message_id: bytes
    last_day: int
    data: bytes = b""
    key: int = 0  # id of the key that verified it


@lru_cache(maxsize=1024)
def tenant_tag(tenant: str) -> int:
    """Hash a tenant's name to 32 bits, to be looked up among the tenants there are."""
    return int.from_bytes(
        blake2b(tenant.encode(), digest_size=4, person=b"veredus tenant").digest()
    )


def last_day(now: int, ttl_days: int) -> int:
    """Tell the last day of something that is good for `ttl_days` full days from `now` (ms).

    Capped at 2149.
    """
    return min(now // DAY_MS + ttl_days + 1, 0xFFFF)


class Stamp:
    """Makes the tokens of one message; what they have in common is written once. Hot where links are tracked."""

    __slots__ = ("_head", "_key", "_place")

    def __init__(self, tenant: int, message_id: bytes, last_day: int, ring: KeyRing) -> None:
        assert len(message_id) == ID_BYTES, "a message id has 16 bytes"
        self._head = _VERSION << 5 | ring.current
        self._place = last_day.to_bytes(2) + tenant.to_bytes(4) + message_id
        self._key = ring.keys[ring.current]

    def token(self, purpose: int, data: bytes = b"") -> str:
        """Sign a token for a purpose, with the current key."""
        signed = bytes((self._head, purpose)) + self._place + data
        return urlsafe_b64encode(signed + mac(self._key, _CONTEXT, signed)).rstrip(b"=").decode()


def make(token: Token, ring: KeyRing) -> str:
    """Sign a token with the current key."""
    stamp = Stamp(token.tenant, token.message_id, token.last_day, ring)
    return stamp.token(token.purpose, token.data)


def read(text: str, purpose: int, ring: KeyRing, now: int) -> Token | Refused:
    """Verify a token that came from outside.

    The comparison takes the same time wherever it differs.
    """
    raw = _decode(text)
    if raw is None or len(raw) < _HEAD_BYTES + MAC_BYTES or raw[0] >> 5 != _VERSION:
        return Refused(Refusal.MALFORMED)
    key = ring.keys.get(raw[0] & 31)
    if key is None:
        return Refused(Refusal.UNKNOWN_KEY)
    signed, seal = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if not hmac.compare_digest(mac(key, _CONTEXT, signed), seal) or raw[1] != purpose:
        return Refused(Refusal.BAD_SIGNATURE)
    day = int.from_bytes(signed[2:4])
    if now // DAY_MS > day:
        return Refused(Refusal.EXPIRED)
    return Token(purpose, int.from_bytes(signed[4:8]), signed[8:24], day, signed[24:], raw[0] & 31)


def _decode(text: str) -> bytes | None:
    if len(text) > _MAX_CHARS or len(text) % 4 == 1 or not _alphabet(text):
        return None
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # the last character has bits to spare: only one spelling of a token is good
    return raw if urlsafe_b64encode(raw).rstrip(b"=") == text.encode() else None


def mac(key: bytes, context: bytes, signed: bytes) -> bytes:
    """Give the first 96 bits of HMAC-SHA256 (RFC 2104) over context and text.

    From states kept per key: a third of the time of `hmac.digest`, which sets up OpenSSL each time.
    """
    begun_inner, begun_outer = _states(key, context)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(signed)
    outer.update(inner.digest())
    return outer.digest()[:MAC_BYTES]


@lru_cache(maxsize=256)
def _states(key: bytes, context: bytes) -> tuple[_Hash, _Hash]:
    """RFC 2104 §4: the hashes after their first block, the inner one after the context too."""
    block = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner = sha256(bytes(octet ^ 0x36 for octet in block) + context)
    return inner, sha256(bytes(octet ^ 0x5C for octet in block))
