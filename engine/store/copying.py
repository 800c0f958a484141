"""Rows of partitions carried from one place to another: read whole, loaded as they are, compared by digest.

For stores that nobody is writing. A loaded partition stands where it stood, (epoch, seq) included, so that what was
granted under an epoch stays older than the next owner.
"""

from __future__ import annotations

__all__ = ("Loadable", "PartitionDigest", "Readable", "chunks", "digest_of", "digesting", "load")

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec

from engine.errors import DamageError, RefusedError
from engine.store.protocol import STAND, Rows, partition_prefix

CHUNK = 2000


class Readable(Protocol):
    """What can be copied."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read rows."""

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""


class Loadable(Readable, Protocol):
    """What rows can be loaded into."""

    def load(self, rows: Rows) -> None:
        """Write rows as they are, the stand among them, without comparing it; durable on return."""


class PartitionDigest(msgspec.Struct, frozen=True):
    """What a partition consists of: two are alike when these are."""

    rows: int
    digest: str  # BLAKE2b over all rows in order, lengths included


def chunks(source: Readable, partition: int) -> Iterator[Rows]:
    """Read all rows of a partition in order, a chunk at a time."""
    start = partition_prefix(partition)
    end = start + b"\xff" * 16
    while rows := source.scan(start, end, CHUNK):
        yield rows
        start = rows[-1][0] + b"\0"


def digesting(parts: Iterable[Rows]) -> Iterator[tuple[Rows, PartitionDigest]]:
    """Pass rows on, each chunk with the digest of all up to it."""
    state, number = blake2b(digest_size=16), 0
    for rows in parts:
        for key, value in rows:
            state.update(len(key).to_bytes(4) + key + len(value).to_bytes(4) + value)
        number += len(rows)
        yield rows, PartitionDigest(number, state.hexdigest())


def digest_of(parts: Iterable[Rows]) -> PartitionDigest:
    """Tell what rows come to."""
    found = PartitionDigest(0, blake2b(digest_size=16).hexdigest())
    for _, digest in digesting(parts):
        found = digest
    return found


def load(target: Loadable, partition: int, parts: Iterable[Rows]) -> PartitionDigest:
    """Load a partition's rows into an empty place, then read them back and compare.

    Raises:
        RefusedError: the partition isn't empty there.
        DamageError: what is read back isn't what was written.
    """
    prefix = partition_prefix(partition)
    if target.scan(prefix, prefix + b"\xff" * 16, 1):
        raise RefusedError(
            f"partition {partition} has rows there already", mend="begin with an empty place"
        )
    written = PartitionDigest(0, blake2b(digest_size=16).hexdigest())
    stand: Rows = []
    for rows, digest in digesting(parts):
        stand += [row for row in rows if row[0] == prefix + STAND]
        target.load([row for row in rows if row[0] != prefix + STAND])
        written = digest
    target.load(stand)  # last: a partition that was cut short is one that was never written
    read = digest_of(chunks(target, partition))
    if read != written:
        raise DamageError(
            f"partition {partition}: {read.rows} rows read back, {written.rows} written, or others"
        )
    return written
