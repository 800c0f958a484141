"""Signing what others made: raw MIME messages, with headers in any order and form.

Canonicalisation is done properly (RFC 6376 §3.4), relaxed or simple for each of header and body.
Fields that occur more than once are taken from the bottom up, as §5.4.2 has it.
"""

from __future__ import annotations

__all__ = ("SIGNED", "Canonicalisation", "prepare_foreign", "sign_foreign")

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

from deliverability.dkim.canonical import (
    relaxed_body,
    relaxed_header,
    simple_body,
    split_headers,
)
from deliverability.dkim.keys import SigningKey
from deliverability.dkim.signer import OVERSIGNED, Prepared, finish, fold_names
from engine.errors import InputError, Place

Canonicalisation = Literal["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]

SIGNED = (
    *("from", "to", "cc", "subject", "date", "message-id", "reply-to", "sender", "in-reply-to"),
    *("references", "mime-version", "content-type", "content-transfer-encoding", "content-id"),
    *("content-description", "feedback-id", "list-id", "list-help", "list-unsubscribe"),
    *("list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive"),
    *("resent-date", "resent-from", "resent-to", "resent-cc", "resent-message-id"),
)
"""Names that are signed where they occur: RFC 6376 §5.4.1, RFC 8058 §4."""


def prepare_foreign(
    headers: bytes,
    body: bytes,
    key: SigningKey,
    now: int,
    lifetime_s: int = 0,
    canonicalisation: Canonicalisation = "relaxed/relaxed",
) -> Prepared:
    """Format the signature field for a header section and a body, both with CRLF.

    `headers` without the empty line.

    Raises:
        InputError: there is no From to sign (RFC 6376 §5.4: it MUST be).
    """
    fields = split_headers(headers)
    names, chosen = _choose(fields)
    header_form, _, body_form = canonicalisation.partition("/")
    hashed = relaxed_body(body) if body_form == "relaxed" else simple_body(body)
    expiry = f" x={now // 1000 + lifetime_s};" if lifetime_s else ""
    field = (
        f"v=1; a={key.algorithm}; c={canonicalisation};\r\n d={key.domain}; s={key.selector};\r\n"
        f" t={now // 1000};{expiry}\r\n bh={b64encode(sha256(hashed).digest()).decode()};\r\n"
        f" h={fold_names(names)};\r\n b="
    )
    own = (b"DKIM-Signature", b" " + field.encode())
    if header_form == "relaxed":
        covered = b"".join(relaxed_header(*f) + b"\r\n" for f in chosen) + relaxed_header(*own)
    else:
        covered = b"".join(n + b":" + v + b"\r\n" for n, v in chosen) + b":".join(own)
    return Prepared(sha256(covered).digest(), field)


def sign_foreign(
    headers: bytes,
    body: bytes,
    keys: Sequence[SigningKey],
    now: int,
    lifetime_s: int = 0,
    canonicalisation: Canonicalisation = "relaxed/relaxed",
) -> bytes:
    """Sign with every key; give the fields, to stand before the headers.

    Raises:
        InputError: there is no From.
    """
    lines = []
    for key in keys:
        prepared = prepare_foreign(headers, body, key, now, lifetime_s, canonicalisation)
        lines.append(finish(prepared, key.sign_digest(prepared.digest)))
    return b"".join(lines)


def _choose(fields: list[tuple[bytes, bytes]]) -> tuple[list[str], list[tuple[bytes, bytes]]]:
    """The names for h=, and the fields they stand for, from the bottom up."""
    names: list[str] = []
    chosen: list[tuple[bytes, bytes]] = []
    for field in reversed(fields):
        name = field[0].strip(b" \t").lower().decode("ascii", "replace")
        if name in SIGNED:
            names.append(name)
            chosen.append(field)
    if "from" not in names:
        raise InputError("the message has no From field", Place(path="headers.From"))
    return [*names, *OVERSIGNED], chosen
