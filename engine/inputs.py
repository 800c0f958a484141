"""What a partition takes in and remembers of itself: inputs from outside and from other partitions, control state."""

from __future__ import annotations

__all__ = ("HOUR", "Arrival", "Meta", "PartitionSettings", "TellOut", "Used", "Verdict")

from typing import Any, Literal

import msgspec

from engine.keyspace import EntityKey

Verdict = Literal["accepted", "duplicate", "too_old", "quarantined", "lost"]
"""What became of an input; "lost": nothing, its partition belongs to somebody else now."""

Used = Literal["used", "unused", "empty"]  # what became of a credit; after "unused" try the next

HOUR = 3_600_000


class PartitionSettings(msgspec.Struct, frozen=True):
    """How long a partition remembers."""

    horizon_ms: int = (
        7 * 24 * HOUR
    )  # an input older than this is refused; seen ids live twice as long
    record_bucket_ms: int = 24 * HOUR
    records_kept_ms: int = 90 * 24 * HOUR


class Meta(msgspec.Struct, array_like=True):
    """What a partition must know to go on: the control state that is loaded at start. Fields are only ever appended."""

    now: int = 0
    agenda_mark: int = 0
    retired_mark: int = 0
    record_n: int = 0
    quarantine_n: int = 0
    told: dict[int, int] = {}  # target partition -> number of the last Tell
    applied: dict[int, int] = {}  # source partition -> number of the last Tell decided
    swept_buckets: int = 0
    confirmed: dict[int, int] = {}  # target partition -> number up to which all are confirmed
    scattered: int = -1  # newest bucket of seen ids of entities without a record; -1: not known


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An input from outside. `raw` is kept as the record of it; `at` is its own time (ms; 0: when it arrives)."""

    key: EntityKey
    body: Any
    input_id: bytes
    at: int = 0
    raw: bytes = b""
    historical: bool = False  # not refused for its age


class TellOut(msgspec.Struct, frozen=True, array_like=True):
    """A Tell that waits in an outbox, numbered for its pair of partitions from 1."""

    source: int
    target: int
    seq: int
    key: bytes
    body: bytes  # msgpack of an input of the target's machine
