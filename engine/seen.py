"""Which inputs an entity has seen: the newest stand in its own record, so that looking costs no read of its own.

    scattered (4)    the newest time bucket in which ids of this entity were written as rows of the index `s`
    bucket (4) + digest (16), up to `KEPT_MAX` times, oldest first

A time bucket is as long as the horizon; an id counts while its bucket is the present one or the last. When a record is
full, the older half goes to rows, each under its bucket, and these are looked at until their buckets are over. An
entity without a record leaves rows too: its partition remembers the newest bucket of such rows. Records of older forms
don't say which ids they saw (`UNKNOWN`), so for them rows are looked at.
"""

from __future__ import annotations

__all__ = (
    "KEPT_MAX",
    "NOTHING",
    "UNKNOWN",
    "added",
    "bucket_bytes",
    "digest_of",
    "head_of",
    "is_scattered",
    "items_of",
    "saw",
)

from collections.abc import Sequence
from hashlib import blake2b

KEPT_MAX = 16
"""Ids in a record, 20 octets each: a contact has that many inputs in two buckets rarely."""

NOTHING = b"\0\0\0\0"
"""No id is known, and none lies in rows."""

UNKNOWN = b"\xff\xff\xff\xff"
"""Ids of any bucket until now may lie in rows."""

HEAD = 4
ITEM = 20
FULL = HEAD + KEPT_MAX * ITEM
HALF = HEAD + KEPT_MAX // 2 * ITEM


def bucket_bytes(bucket: int) -> bytes:
    """Give the four bytes of a time bucket; they sort as numbers do."""
    return bucket.to_bytes(4)


def digest_of(key: bytes, input_id: bytes) -> bytes:
    """Give the 16 bytes that stand for an input of an entity."""
    return blake2b(key + input_id, digest_size=16).digest()


def saw(ids: bytes, digest: bytes, oldest: bytes) -> bool:
    """Tell whether a record holds an id whose bucket isn't before `oldest`."""
    at = ids.find(digest, HEAD)
    return at >= 0 and (at - HEAD) % ITEM == HEAD and ids[at - 4 : at] >= oldest


def is_scattered(ids: bytes, oldest: bytes) -> bool:
    """Tell whether ids that still count may lie in rows."""
    return ids[:HEAD] >= oldest


def added(ids: bytes, digest: bytes, bucket: bytes, oldest: bytes) -> tuple[bytes, Sequence[bytes]]:
    """Add an id. Returns the new ids of the record, and items that go to rows (mostly none)."""
    item = bucket + digest
    size = len(ids)
    if size == HEAD or (size < FULL and ids[HEAD : HEAD + 4] >= oldest):
        head = bucket + ids[HEAD:] if ids[:HEAD] == UNKNOWN else ids
        return head + item, ()
    at = HEAD
    while at < size and ids[at : at + 4] < oldest:
        at += ITEM
    head = ids[:HEAD]
    gone: Sequence[bytes] = ()
    if head == UNKNOWN:
        head = bucket
    if size - at >= FULL - HEAD:
        gone = items_of(ids[:HALF])
        at = HALF
        head = max(head, gone[-1][:4])
    return b"".join((head, ids[at:], item)), gone


def head_of(ids: bytes) -> bytes:
    """Give the newest bucket in which ids lie in rows."""
    return ids[:HEAD]


def items_of(ids: bytes) -> list[bytes]:
    """Cut ids into their items, bucket and digest: what a row's key ends with."""
    return [ids[at : at + ITEM] for at in range(HEAD, len(ids), ITEM)]
