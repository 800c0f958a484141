"""DKIM signatures on a message that is at hand: what they cover, and whether they verify. RFC 6376 §3.5, §6.1.

For messages that are checked before they are sent, in one pass, linear in the message; RSA and Ed25519 (RFC 8463).
"""

from __future__ import annotations

__all__ = ("Signature", "SignatureVerdict", "read_signatures", "verify")

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

from deliverability.dkim.canonical import (
    relaxed_body,
    relaxed_header,
    simple_body,
    split_headers,
)
from deliverability.dns.asking import Asking
from deliverability.dns.names import is_under
from deliverability.policy.dkim_record import KeyRecord, Published, find_key
from deliverability.policy.tags import Mistake, parse_tags

_SIGNATURES_MAX = 10
_NAMES_MAX = 400
_MIN_RSA_BITS = 1024  # RFC 8301 §3.2
_PKCS1 = padding.PKCS1v15()
_DIGEST = utils.Prehashed(hashes.SHA256())

_blanks = re.compile(r"[ \t\r\n]+")
_own_b = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class Signature(msgspec.Struct, frozen=True):
    """A DKIM-Signature field. `signed` are the names of h=, in lower case; times in seconds, None if absent.

    `wrong` says why it is none, and then only the names that could be read are there.
    """

    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    header_form: str = "simple"
    body_form: str = "simple"
    signed: tuple[str, ...] = ()
    body_hash: bytes = b""
    value: bytes = b""
    identity: str = ""
    length: int | None = None
    expires_s: int | None = None
    wrong: str = ""
    field: tuple[bytes, bytes] = (b"", b"")


class SignatureVerdict(msgspec.Struct, frozen=True):
    """What became of a signature: it verifies when `why_not` is empty. `published` None if DNS wasn't asked."""

    signature: Signature
    why_not: str = ""
    published: Published | None = None

    @property
    def passes(self) -> bool:
        """Whether it verifies."""
        return not self.why_not


def read_signatures(headers: bytes) -> list[Signature]:
    """Read the DKIM-Signature fields of a header section (CRLF), the topmost first, at most ten."""
    fields = split_headers(headers)
    own = [field for field in fields if field[0].strip().lower() == b"dkim-signature"]
    return [_read(field) for field in own[:_SIGNATURES_MAX]]


def verify(signature: Signature, headers: bytes, body: bytes, now: int) -> Asking[SignatureVerdict]:
    """Verify one signature against the key in DNS. `headers` and `body` with CRLF, without the empty line between."""
    if signature.wrong:
        return SignatureVerdict(signature, signature.wrong)
    if signature.expires_s is not None and signature.expires_s * 1000 < now:
        return SignatureVerdict(signature, "it has expired (x=)")
    published = yield from find_key(signature.selector, signature.domain)
    record = published.record
    why = published.why_not if record is None else _wrong_record(record, signature)
    if not why and record is not None:
        why = _wrong_content(record, signature, headers, body)
    return SignatureVerdict(signature, why, published)


def _read(field: tuple[bytes, bytes]) -> Signature:
    tags = parse_tags(field[1].replace(b"\r\n", b""))
    if isinstance(tags, Mistake):
        return Signature(wrong=f"the field can't be read: {tags.why}", field=field)
    domain, selector = tags.get("d", "").lower(), tags.get("s", "").lower()
    header_form, _, body_form = tags.get("c", "simple/simple").lower().partition("/")
    named = [name.strip().lower() for name in tags.get("h", "").split(":")]
    signature = Signature(
        domain,
        selector,
        tags.get("a", "").lower(),
        header_form,
        body_form or "simple",
        tuple(named[:_NAMES_MAX]),
        _binary(tags.get("bh", "")),
        _binary(tags.get("b", "")),
        tags.get("i", f"@{domain}"),
        _number(tags.get("l")),
        _number(tags.get("x")),
        field=field,
    )
    return msgspec.structs.replace(signature, wrong=_wrong_form(signature, tags.get("v", "")))


def _wrong_form(signature: Signature, version: str) -> str:
    """§6.1.1."""
    if version != "1":
        return "v=1 is missing"
    if not (signature.domain and signature.selector and signature.value and signature.body_hash):
        return "one of d=, s=, b=, bh= is missing or empty"
    if signature.algorithm not in ("rsa-sha256", "ed25519-sha256"):
        return f"the algorithm {signature.algorithm[:30]!r} doesn't count (RFC 8301 §3.1)"
    if {signature.header_form, signature.body_form} - {"relaxed", "simple"}:
        return "c= names a canonicalisation that doesn't exist"
    if "from" not in signature.signed:
        return "From isn't signed"
    identity_domain = signature.identity.rpartition("@")[2].lower()
    if not is_under(identity_domain, signature.domain):
        return "i= isn't within d="
    return ""


def _wrong_record(record: KeyRecord, signature: Signature) -> str:
    """§6.1.2."""
    if record.revoked:
        return "its key is revoked: p= is empty"
    if record.why_unusable:
        return record.why_unusable
    if not signature.algorithm.startswith(record.kind):
        return f"its key is of type {record.kind}, the signature is {signature.algorithm}"
    if record.kind == "rsa" and record.bits < _MIN_RSA_BITS:
        return f"its key has {record.bits} bits, at least {_MIN_RSA_BITS} count (RFC 8301 §3.2)"
    if record.hashes and "sha256" not in record.hashes:
        return "its key doesn't allow sha256 (h=)"
    if not {"*", "email"} & set(record.services):
        return "its key isn't for email (s=)"
    if record.strict and signature.identity.rpartition("@")[2].lower() != signature.domain:
        return "its key wants i= to have the domain of d= (t=s)"
    return ""


def _wrong_content(record: KeyRecord, signature: Signature, headers: bytes, body: bytes) -> str:
    """§6.1.3."""
    canonical = (relaxed_body if signature.body_form == "relaxed" else simple_body)(body)
    if signature.length is not None:
        if signature.length > len(canonical):
            return "l= is more than the body has"
        canonical = canonical[: signature.length]
    if sha256(canonical).digest() != signature.body_hash:
        return "the body has changed since it was signed"
    digest = sha256(_covered(signature, split_headers(headers))).digest()
    if not _holds(record, signature.value, digest):
        return "the signature doesn't fit: a signed field has changed, or another key signed"
    return ""


def _covered(signature: Signature, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """What §3.7 says is signed; fields that occur more than once from the bottom up (§5.4.2)."""
    held: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for field in fields:
        held.setdefault(field[0].strip(b" \t").lower(), []).append(field)
    chosen = []
    for name in signature.signed:
        occurring = held.get(name.encode())
        if occurring:
            chosen.append(occurring.pop())
    own = (signature.field[0], _own_b.sub(rb"\1", signature.field[1]))
    if signature.header_form == "relaxed":
        return b"".join(relaxed_header(*one) + b"\r\n" for one in chosen) + relaxed_header(*own)
    return b"".join(b":".join(one) + b"\r\n" for one in chosen) + b":".join(own)


def _holds(record: KeyRecord, value: bytes, digest: bytes) -> bool:
    key = record.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, digest, _PKCS1, _DIGEST)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(value, digest)  # RFC 8463 §3
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode(_blanks.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else None
