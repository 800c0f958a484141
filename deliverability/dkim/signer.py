"""Signing what `compose` made: one formatting, one hash and one private-key operation a signature.

The composer gives headers in relaxed canonical form and the hash of a body that is a fixed point of
relaxed canonicalisation; so all that is left is the DKIM-Signature field itself. It is formatted
once, in the form in which it is sent; taking out its folds gives the canonical form (each fold is
CRLF and one space). Everything the composer wrote is signed, and the names that matter are named
once more than they occur (oversigned, RFC 6376 §5.4.2 and §8.15), so that nobody can add a second
From or an unsubscribe link of his own.

In two steps, so that a batch may be signed elsewhere: `prepare` gives the digest, `finish` takes
the signature.
"""

from __future__ import annotations

__all__ = ("OVERSIGNED", "Prepared", "finish", "fold_names", "prepare", "sign")

from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

import msgspec

from deliverability.compose.template import Composed
from deliverability.dkim.keys import SigningKey

OVERSIGNED = (
    *("from", "to", "cc", "subject", "date", "message-id", "reply-to"),
    *("mime-version", "content-type", "list-unsubscribe", "list-unsubscribe-post"),
)
"""Names listed once more than they occur, present or not."""

_LINE = 76
_B64_LINE = 72


class Prepared(msgspec.Struct, frozen=True):
    """A signature to be made.

    `digest` (SHA-256) is what the key signs, `field` the field up to `b=`.
    """

    digest: bytes
    field: str


def prepare(composed: Composed, key: SigningKey, now: int, lifetime_s: int = 0) -> Prepared:
    """Format the signature field and hash what it covers.

    `now` in ms becomes t=; x= is left out at 0. Hot path.
    """
    signed_at = now // 1000
    expiry = f" x={signed_at + lifetime_s};" if lifetime_s else ""
    field = (
        f"{_start(key.algorithm, 'relaxed/relaxed', key.domain, key.selector)}{signed_at};{expiry}\r\n"
        f" bh={b64encode(composed.body_hash).decode()};\r\n h={_names(composed.fields)};\r\n b="
    )
    covered = composed.canonical + b"dkim-signature:" + field.replace("\r\n", "").encode()
    return Prepared(sha256(covered).digest(), field)


def finish(prepared: Prepared, signature: bytes) -> bytes:
    """Give the whole field, to stand before the headers, with its CRLF."""
    text = b64encode(signature).decode()
    folded = "\r\n ".join([text[at : at + _B64_LINE] for at in range(0, len(text), _B64_LINE)])
    return f"DKIM-Signature: {prepared.field}{folded}\r\n".encode()


def sign(composed: Composed, keys: Sequence[SigningKey], now: int, lifetime_s: int = 0) -> bytes:
    """Sign with every key (both algorithms, tenant's and platform's domain).

    Give the fields, the first key's first.
    """
    lines = []
    for key in keys:
        prepared = prepare(composed, key, now, lifetime_s)
        lines.append(finish(prepared, key.sign_digest(prepared.digest)))
    return b"".join(lines)


def fold_names(names: Sequence[str]) -> str:
    """Give the value of h=, folded after colons (RFC 6376 §3.5 has FWS there)."""
    lines, line = [], "h="
    for name in names:
        if len(line) + len(name) + 2 > _LINE:
            lines.append(line)
            line = ""
        line += name + ":"
    return "\r\n ".join((*lines, line))[2:-1]


@lru_cache(maxsize=1024)
def _names(fields: str) -> str:
    return fold_names((*fields.split(":"), *OVERSIGNED))


@lru_cache(maxsize=1024)
def _start(algorithm: str, canonicalisation: str, domain: str, selector: str) -> str:
    """The part that a key fixes. RFC 6376 §3.5."""
    return f"v=1; a={algorithm}; c={canonicalisation};\r\n d={domain}; s={selector};\r\n t="
