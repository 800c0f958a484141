"""What the token of an unsubscribe link knows by itself, so that it holds longer than its message is remembered.

A message is forgotten some weeks after its end (`StreamPolicy.retention_ms`), and its link must work for a year. So the
token names contact, stream and topic; sealed, since a contact's name may be an address, and links are seen by many.

    data = text XOR stream        text   = contact NUL stream NUL topic, in UTF-8
                                  stream = HMAC-SHA256(key, "veredus leaving" NUL message id, counter (2)), joined

The seal hides, the token's own mac vouches. A message's text is always the same, so its stream is used for one text.
"""

from __future__ import annotations

__all__ = ("SEALED_MAX", "Leaving", "seal", "unseal")

import hmac

import msgspec

from deliverability.tokens import KeyRing, Token

SEALED_MAX = 360
"""Octets: a longer one wouldn't fit into a header field; such a token holds as long as its message."""

_CONTEXT = b"veredus leaving\0"
_DIGEST = 32


class Leaving(msgspec.Struct, frozen=True, array_like=True):
    """Whose link it is, and the stream and topic that its mail was of ("": none)."""

    contact: str
    stream: str
    topic: str = ""


def seal(leaving: Leaving, ring: KeyRing, message_id: bytes) -> bytes:
    """Seal with the current key, for the token of this message; nothing if there is no contact, or too much."""
    text = f"{leaving.contact}\0{leaving.stream}\0{leaving.topic}".encode()
    if not leaving.contact or len(text) > SEALED_MAX:
        return b""
    return _mixed(text, ring.keys[ring.current], message_id)


def unseal(token: Token, ring: KeyRing) -> Leaving | None:
    """Read what a verified token carries; None: it is older than this, or carries nothing."""
    if not token.data or token.key not in ring.keys:
        return None
    text = _mixed(token.data, ring.keys[token.key], token.message_id).decode("utf-8", "replace")
    parts = text.split("\0")
    return Leaving(*parts) if len(parts) == 3 and parts[0] else None


def _mixed(text: bytes, key: bytes, message_id: bytes) -> bytes:
    blocks = -(-len(text) // _DIGEST)
    stream = b"".join(
        hmac.digest(key, _CONTEXT + message_id + number.to_bytes(2), "sha256")
        for number in range(blocks)
    )[: len(text)]
    return (int.from_bytes(text) ^ int.from_bytes(stream)).to_bytes(len(text))
