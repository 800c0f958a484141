"""The control log: who changed what, when and why, chained by hashes so that no entry can be altered or removed unseen.

Each record carries the hash of the one before it, so the hash of the newest stands for the whole history: whoever
keeps that one value elsewhere can tell later whether anything before it was changed. Digests say which content was
published or replaced, not the content itself, so a log can be shown to an auditor.

    seq 7 · 2024-05-01T12:00:00Z · alice · publish · scenario default/winback · before 9f2c… · after 41aa… · "new copy"
"""

from __future__ import annotations

__all__ = (
    "GENESIS",
    "Break",
    "Change",
    "ControlRecord",
    "append",
    "decode",
    "digest_of",
    "encode",
    "verify",
)

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from engine.errors import DamageError

GENESIS = bytes(32)
"""The hash before the first record."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change to be logged. Names and reasons are free text, but never contain an address."""

    actor: str  # who: a login, a key's fingerprint, `config`
    action: str  # what was done: publish, suspend, suppress, use_key, ...
    subject: str  # to what: `scenario default/winback`
    tenant: str = ""  # "" concerns the whole instance
    reason: str = ""
    before: bytes = b""  # digest of what was there; empty: nothing
    after: bytes = b""  # digest of what is there now; empty: nothing


class ControlRecord(msgspec.Struct, frozen=True, array_like=True):
    """A change in its place in the chain. Fields are only ever added at the end."""

    seq: int  # from 1, without gaps
    at: int  # ms, as the writer's clock said; never lower than the record before
    change: Change
    previous: bytes
    hash: bytes


class Break(msgspec.Struct, frozen=True):
    """Where a chain doesn't hold, and why."""

    seq: int
    reason: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ControlRecord)


def digest_of(content: bytes) -> bytes:
    """Hash published content for `before` and `after`."""
    return sha256(content).digest()


def append(last: ControlRecord | None, now: int, change: Change) -> ControlRecord:
    """Make the record that follows `last` (None: the first). A clock that went back is not believed."""
    seq = last.seq + 1 if last else 1
    at = max(now, last.at) if last else now
    previous = last.hash if last else GENESIS
    return ControlRecord(seq, at, change, previous, _hash(seq, at, change, previous))


def verify(
    records: Iterable[ControlRecord],
    after: ControlRecord | None = None,
    head: bytes | None = None,
) -> Break | None:
    """Check a run of the chain, from `after` (None: the beginning) to its end; None when it holds.

    Args:
        records: in order.
        after: the record before the first, which is trusted.
        head: what the hash of the last record must be; this alone shows that the end was cut off.
    """
    last = after
    for record in records:
        reason = _reason_against(last, record)
        if reason:
            return Break(record.seq, reason)
        last = record
    found = last.hash if last else GENESIS
    if head is not None and found != head:
        return Break(last.seq if last else 0, "the newest record isn't the one expected")
    return None


def encode(record: ControlRecord) -> bytes:
    """Encode a record for the store: MessagePack, the same bytes for the same record."""
    return _encoder.encode(record)


def decode(raw: bytes) -> ControlRecord:
    """Decode a record from the store.

    Raises:
        DamageError: the bytes aren't a record.
    """
    try:
        return _decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise DamageError(f"a record of the control log can't be read: {error}") from None


def _reason_against(last: ControlRecord | None, record: ControlRecord) -> str:
    seq, previous, at = (last.seq + 1, last.hash, last.at) if last else (1, GENESIS, record.at)
    if record.seq != seq:
        return f"expected record {seq}"
    if record.previous != previous:
        return "it doesn't follow the record before it"
    if record.at < at:
        return "its time lies before that of the record before it"
    if record.hash != _hash(record.seq, record.at, record.change, record.previous):
        return "its content isn't what was logged"
    return ""


def _hash(seq: int, at: int, change: Change, previous: bytes) -> bytes:
    """Hash each part behind its length, so that no two different records are hashed from the same bytes."""
    parts = (
        previous,
        str(seq).encode(),
        str(at).encode(),
        *(part.encode() for part in (change.actor, change.action, change.subject)),
        *(part.encode() for part in (change.tenant, change.reason)),
        change.before,
        change.after,
    )
    chain = sha256(b"veredus control log 1")
    for part in parts:
        chain.update(len(part).to_bytes(8))
        chain.update(part)
    return chain.digest()
