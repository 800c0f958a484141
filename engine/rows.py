r"""How rows lie in the store: index bytes, key layouts, the envelope of a record.

    partition (2 bytes) + index (1 byte) + what orders the index

    \0  stand     -                               (epoch, seq), written by the store
    M   meta      -                               last now, low-water marks, told and applied numbers
    C   tally     -                               counters of the conservation law
    e   entity    entity key                      envelope, seen ids, state
    a   agenda    due (8) + entity key            -
    r   ready     length + queue + order (8) + entity key
    h   held      length + holder + entity key
    z   retired   until (8) + entity key
    s   seen      bucket (4) + hash (16)          seen ids that no record holds (`engine.seen`)
    R   record    bucket (4) + now (8) + n (8)    inputs and decisions of one tick
    o   outbox    target (2) + seq (8)            Tells to other partitions
    Q   quarantine  n (8)                         inputs that raised, with their entity
    f   feed      position (8) + n (4)            entries of one tick from n on; only in the pseudo-partition FEED

An envelope: version, schema of the state, codec and kind of place (a byte each), what the place says, number of seen
ids (1), seen ids. One of version 1 has no seen ids: they lie in rows.

Numbers are big-endian and unsigned, so that bytes sort as numbers do.
"""

from __future__ import annotations

__all__ = (
    "AGENDA",
    "ENTITY",
    "FEED_INDEX",
    "HELD",
    "META",
    "OUTBOX",
    "QUARANTINE",
    "READY",
    "RECORD",
    "RETIRED",
    "SEEN",
    "TALLY",
    "Codec",
    "PlainCodec",
    "open_envelope",
    "place_row",
    "queue_prefix",
    "seal_envelope",
    "waiting_head",
)

import struct
from typing import Protocol

from engine.errors import DamageError
from engine.machine import At, Held, Place, Ready, Retired, Stuck
from engine.seen import HEAD, ITEM, UNKNOWN

META = b"M"
TALLY = b"C"
ENTITY = b"e"
AGENDA = b"a"
READY = b"r"
HELD = b"h"
RETIRED = b"z"
SEEN = b"s"
RECORD = b"R"
OUTBOX = b"o"
QUARANTINE = b"Q"
FEED_INDEX = b"f"

ENVELOPE_VERSION = 2
BEFORE_SEEN = 1  # envelopes of this version hold no seen ids
_HEAD = struct.Struct(">BBBB")  # envelope version, schema of the state, codec, place

NO_PLACE, IS_AT, IS_READY, IS_HELD, IS_RETIRED, IS_STUCK = range(6)


class Codec(Protocol):
    """Turns an encoded state into what is stored. A key per contact, whose deletion erases, comes later."""

    number: int  # kept in each envelope, so that records of older codecs stay readable

    def seal(self, key: bytes, state: bytes) -> bytes:
        """Make what is stored of an entity's encoded state."""

    def open(self, key: bytes, stored: bytes) -> bytes:
        """Give the encoded state back."""


class PlainCodec:
    """Stores states as they are."""

    number = 0

    def seal(self, key: bytes, state: bytes) -> bytes:  # noqa: ARG002 -- the interface of codecs
        """Store as it is."""
        return state

    def open(self, key: bytes, stored: bytes) -> bytes:  # noqa: ARG002 -- the interface of codecs
        """Read as it is."""
        return stored


def queue_prefix(queue: bytes) -> bytes:
    """Give what leads all rows of one ready queue or holder, after the index byte."""
    return len(queue).to_bytes(1) + queue


def place_row(place: Place | None, key: bytes) -> bytes | None:
    """Give the index row (without partition) that shows where an entity stands; None where no index does."""
    if type(place) is At:  # first: the most frequent by far
        return AGENDA + place.due.to_bytes(8) + key
    match place:
        case Ready(queue=queue, order=order):
            return b"".join((READY, queue_prefix(queue), order.to_bytes(8), key))
        case Held(holder=holder):
            return HELD + queue_prefix(holder) + key
        case Retired(until=until):
            return RETIRED + until.to_bytes(8) + key
        case At() | Stuck() | None:
            return None


def waiting_head(schema: int, codec: int) -> bytes:
    """Give the first bytes of the record of an entity in the agenda; its due time and its state follow."""
    return _head(schema, codec, IS_AT)


def _head(schema: int, codec: int, tag: int) -> bytes:
    return _HEAD.pack(ENVELOPE_VERSION, schema, codec, tag)


def seal_envelope(schema: int, codec: int, place: Place | None, ids: bytes, stored: bytes) -> bytes:
    """Write a record: versions, codec, place and seen ids in front of the stored state."""
    count = (len(ids) // ITEM).to_bytes(1)
    match place:
        case None:
            return b"".join((_head(schema, codec, NO_PLACE), count, ids, stored))
        case At(due=due):
            head = _head(schema, codec, IS_AT)
            return b"".join((head, due.to_bytes(8), count, ids, stored))
        case Ready(queue=queue, order=order):
            head = _head(schema, codec, IS_READY)
            return b"".join((head, order.to_bytes(8), queue_prefix(queue), count, ids, stored))
        case Held(holder=holder):
            head = _head(schema, codec, IS_HELD)
            return b"".join((head, queue_prefix(holder), count, ids, stored))
        case Retired(until=until):
            head = _head(schema, codec, IS_RETIRED)
            return b"".join((head, until.to_bytes(8), count, ids, stored))
        case Stuck():
            return b"".join((_head(schema, codec, IS_STUCK), count, ids, stored))


def open_envelope(key: bytes, raw: bytes) -> tuple[int, int, Place | None, bytes, bytes]:
    """Read a record: (schema, codec, place, seen ids, stored state).

    Raises: DamageError when it isn't an envelope of a version that this program knows.
    """
    try:
        version, schema, codec, tag = _HEAD.unpack_from(raw)
        if version not in (ENVELOPE_VERSION, BEFORE_SEEN):
            raise DamageError(f"record {key.hex()}: envelope version {version} is newer than mine")
        place, at = _place_of(key, raw, tag)
        if version == BEFORE_SEEN:
            return schema, codec, place, UNKNOWN, raw[at:]
        end = at + 1 + HEAD + raw[at] * ITEM
        if end > len(raw):
            raise IndexError
        return schema, codec, place, raw[at + 1 : end], raw[end:]
    except (struct.error, IndexError) as error:
        raise DamageError(f"record {key.hex()}: {len(raw)} bytes are no envelope") from error


def _place_of(key: bytes, raw: bytes, tag: int) -> tuple[Place | None, int]:
    """Read the place that a record names, and tell where what follows it begins."""
    if tag == NO_PLACE:
        return None, 4
    if tag == IS_AT:
        return At(int.from_bytes(raw[4:12])), 12
    if tag == IS_READY:
        end = 13 + raw[12]
        return Ready(raw[13:end], int.from_bytes(raw[4:12])), end
    if tag == IS_HELD:
        end = 5 + raw[4]
        return Held(raw[5:end]), end
    if tag == IS_RETIRED:
        return Retired(int.from_bytes(raw[4:12])), 12
    if tag == IS_STUCK:
        return Stuck(), 4
    raise DamageError(f"record {key.hex()}: unknown place {tag}")
