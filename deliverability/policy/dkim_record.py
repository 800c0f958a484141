"""DKIM key records at `SELECTOR._domainkey.DOMAIN`, read and compared with a key. RFC 6376 §3.6.1, RFC 8463."""

from __future__ import annotations

__all__ = ("KeyRecord", "Published", "compare", "find_key", "key_name", "parse_key_record")

import base64
import binascii
import re
from typing import TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from deliverability.dkim.keys import SigningKey
from deliverability.dns.asking import Answer, Asking, RecordType, ask
from deliverability.policy.tags import Mistake, parse_tags

PublicKey: TypeAlias = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_blanks = re.compile(r"[ \t\r\n]+")


class KeyRecord(msgspec.Struct, frozen=True):
    """A key record. `kind` is rsa or ed25519, `key` what p= holds, b"" when the key is revoked.

    `bits` 0 for a key that can't be loaded (then `why_unusable` says why). `testing`: t=y, verifiers may treat
    its mail as unsigned. `strict`: t=s, i= must have the same domain as d=.
    """

    kind: str
    key: bytes
    bits: int
    testing: bool = False
    strict: bool = False
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    why_unusable: str = ""

    @property
    def revoked(self) -> bool:
        """Whether p= is empty."""
        return not self.key

    def public_key(self) -> PublicKey | None:
        """Load the key, or None where it can't be."""
        loaded = _load(self.kind, self.key)
        return None if isinstance(loaded, str) else loaded


class Published(msgspec.Struct, frozen=True):
    """What DNS shows under the name of a key; `record` only where there is one good record."""

    name: str
    answer: Answer
    record: KeyRecord | None = None
    why_not: str = ""


def key_name(selector: str, domain: str) -> str:
    """Tell where a key's record is. RFC 6376 §3.6.2.1."""
    return f"{selector}._domainkey.{domain}"


def parse_key_record(record: bytes) -> KeyRecord | Mistake:
    """Read a key record; unknown tags are skipped. A key that can't be loaded is kept, and said."""
    tags = parse_tags(record)
    if isinstance(tags, Mistake):
        return tags
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != "DKIM1"):
        return Mistake("v=DKIM1 must stand first, if it stands")
    if "p" not in tags:
        return Mistake("there is no p=, the key itself")
    kind = tags.get("k", "rsa").lower()
    try:
        key = base64.b64decode(_blanks.sub("", tags["p"]), validate=True)
    except (binascii.Error, ValueError):
        return Mistake("p= isn't base64")
    loaded = _load(kind, key)
    flags = _words(tags.get("t", ""))
    return KeyRecord(
        kind,
        key,
        0 if isinstance(loaded, str) else _bits(loaded),
        testing="y" in flags,
        strict="s" in flags,
        hashes=_words(tags.get("h", "")),
        services=_words(tags.get("s", "*")) or ("*",),
        why_unusable=loaded if isinstance(loaded, str) else "",
    )


def find_key(selector: str, domain: str) -> Asking[Published]:
    """Ask for the key record of a selector, now."""
    name = key_name(selector, domain)
    answer = yield from ask(name, RecordType.TXT)
    if not answer.texts:
        return Published(name, answer, why_not=f"{name}: {answer.outcome}")
    if len(answer.texts) > 1:
        # RFC 6376 §3.6.2.2: results are then undefined
        return Published(name, answer, why_not=f"{name} has {len(answer.texts)} TXT records")
    record = parse_key_record(answer.texts[0])
    if isinstance(record, Mistake):
        return Published(name, answer, why_not=f"{name}: {record.why}")
    return Published(name, answer, record)


def compare(published: Published, key: SigningKey) -> str:
    """Say why mail that a key signs would not verify against what is published; "" when it would."""
    record = published.record
    if record is None:
        return published.why_not
    if record.revoked:
        return f"{published.name} is revoked: its p= is empty"
    kind = "rsa" if key.algorithm == "rsa-sha256" else "ed25519"
    if record.kind != kind:
        return f"{published.name} holds an {record.kind} key, the one that signs is {kind}"
    if record.key != key.public_bytes() and not _same(record, key):
        return f"{published.name} holds another key than the one that signs"
    if record.hashes and "sha256" not in record.hashes:
        return f"{published.name} allows only the hashes {':'.join(record.hashes)}"
    if not {"*", "email"} & set(record.services):
        return f"{published.name} is for {':'.join(record.services)}, not for email"
    return ""


def _same(record: KeyRecord, key: SigningKey) -> bool:
    """Whether a key is the same in another encoding (RSAPublicKey instead of SubjectPublicKeyInfo)."""
    published = record.public_key()
    ours = _load("rsa", key.public_bytes()) if record.kind == "rsa" else None
    return (
        isinstance(published, rsa.RSAPublicKey)
        and isinstance(ours, rsa.RSAPublicKey)
        and published.public_numbers() == ours.public_numbers()
    )


def _load(kind: str, key: bytes) -> PublicKey | str:
    if not key:
        return "revoked"
    try:
        if kind == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(key)  # RFC 8463 §4.2: bare
        loaded = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm, OverflowError):
        return f"p= can't be loaded as a key of type {kind[:20]}"
    if kind != "rsa" or not isinstance(loaded, rsa.RSAPublicKey):
        return f"a key of type {kind[:20]} isn't one that verifiers know"
    return loaded


def _bits(key: PublicKey) -> int:
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else 256


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value.split(":") if word.strip())
