"""How rows of each index decode; see `engine.rows` for how they lie."""

from __future__ import annotations

__all__ = ("INDEXES", "key_in", "read_row")

from collections.abc import Callable
from typing import Any

import msgspec

from engine.feed import entries_of
from engine.inputs import Meta, TellOut
from engine.quarantine import Quarantined
from engine.rows import (
    AGENDA,
    ENTITY,
    FEED_INDEX,
    HELD,
    META,
    OUTBOX,
    QUARANTINE,
    READY,
    RECORD,
    RETIRED,
    SEEN,
    TALLY,
)
from engine.store.protocol import STAND, Stand
from engine.tally import Tally

INDEXES = {
    "entity": ENTITY,
    "agenda": AGENDA,
    "ready": READY,
    "held": HELD,
    "retired": RETIRED,
    "seen": SEEN,
    "record": RECORD,
    "outbox": OUTBOX,
    "quarantine": QUARANTINE,
    "feed": FEED_INDEX,
    "meta": META,
    "tally": TALLY,
    "stand": STAND,
}
"""Index bytes by the names that `engine.rows` gives them."""


def read_row(index: bytes, raw: bytes) -> Any:
    """Decode what a row of an index holds; of one whose key says all, None. Entities: see `Machines.read`.

    Raises: msgspec.MsgspecError: it isn't what it should be.
    """
    decode = _DECODERS.get(index)
    return decode(raw) if decode is not None else None


def key_in(row: bytes) -> bytes:
    """Give the entity's key in a row of an index of places."""
    index = row[2:3]
    if index == READY:
        return row[4 + row[3] + 8 :]
    if index == HELD:
        return row[4 + row[3] :]
    return row[11:]


def _stand(raw: bytes) -> Stand:
    return Stand(int.from_bytes(raw[:8]), int.from_bytes(raw[8:]))


_DECODERS: dict[bytes, Callable[[bytes], Any]] = {
    STAND: _stand,
    META: msgspec.msgpack.Decoder(Meta).decode,
    TALLY: Tally.decode,
    OUTBOX: msgspec.msgpack.Decoder(TellOut).decode,
    QUARANTINE: msgspec.msgpack.Decoder(Quarantined).decode,
    RECORD: msgspec.msgpack.Decoder(list[Any]).decode,
    FEED_INDEX: entries_of,
}
