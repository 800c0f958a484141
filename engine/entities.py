"""Entities in memory: how records become states and back, and the cache of what was read."""

from __future__ import annotations

__all__ = ("ABSENT", "EntityCache", "Entry", "Known", "Machines")

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.errors import DamageError
from engine.machine import At, Machine, Place
from engine.rows import Codec, PlainCodec, open_envelope, seal_envelope, waiting_head
from engine.seen import ITEM, NOTHING

Entry = tuple[Any, Place | None]  # state (None: there is no such entity) and place

Known = tuple[Any, Place | None, bytes]
"""State, place, and seen ids; b"" for an entity that isn't there: its partition knows where they are."""

ABSENT: Known = (None, None, b"")

_COUNTS = [n.to_bytes(1) for n in range(256)]


class Machines:
    """The kinds of entities of a deployment, with their decoders made once."""

    def __init__(self, machines: Iterable[Machine], codec: Codec | None = None) -> None:
        self.by_kind: dict[int, Machine] = {machine.kind: machine for machine in machines}
        self.codec = codec or PlainCodec()
        self.encode = msgspec.msgpack.Encoder().encode
        self._plain = type(self.codec) is PlainCodec
        self._at_heads = {
            m.kind: waiting_head(m.schema, self.codec.number) for m in self.by_kind.values()
        }
        self._states = {
            m.kind: msgspec.msgpack.Decoder(m.state_type) for m in self.by_kind.values()
        }
        self._inputs = {
            m.kind: msgspec.msgpack.Decoder(m.input_type) for m in self.by_kind.values()
        }

    def read(self, key: bytes, raw: bytes | None) -> Entry:
        """Decode a stored entity."""
        return self.load(key, raw)[:2]

    def load(self, key: bytes, raw: bytes | None) -> Known:
        """Decode a stored entity with its seen ids."""
        if raw is None:
            return ABSENT
        _schema, codec, place, ids, stored = open_envelope(key, raw)
        if codec != self.codec.number:
            raise DamageError(f"record {key.hex()}: unknown codec {codec}")
        try:
            return self._states[key[4]].decode(self.codec.open(key, stored)), place, ids
        except (msgspec.MsgspecError, KeyError) as error:
            raise DamageError(f"record {key.hex()}: {error}") from error

    def write(self, key: bytes, state: Any, place: Place | None) -> bytes:
        """Make an entity's record for the store."""
        return self.seal(key, self.encode(state), place)

    def seal(self, key: bytes, encoded: bytes, place: Place | None, ids: bytes = NOTHING) -> bytes:
        """Make the record of an entity whose state is encoded already."""
        stored = encoded if self._plain else self.codec.seal(key, encoded)
        if type(place) is At:  # the most frequent place by far
            head, count = self._at_heads[key[4]], _COUNTS[len(ids) // ITEM]
            return b"".join((head, place.due.to_bytes(8), count, ids, stored))
        return seal_envelope(self.by_kind[key[4]].schema, self.codec.number, place, ids, stored)

    def read_input(self, key: bytes, raw: bytes) -> Any:
        """Decode an input of the kind that the key names."""
        return self._inputs[key[4]].decode(raw)


class EntityCache:
    """Decoded entities as they are on disk, shared by the partitions of a worker; about twice `size` at most.

    What is forgotten goes a few at a time, with what comes: twenty thousand at once stood in everybody's way for
    tens of ms, when journeys of very many contacts came due together (bench/ `wake`).
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}
        self._leaving: dict[bytes, Known] = {}

    def get(self, key: bytes) -> Known | None:
        """Give what is known, and keep it longer."""
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.get(key)
            if entry is not None:
                self.put(key, entry)
        return entry

    def put(self, key: bytes, entry: Known) -> None:
        """Keep an entity; when the young half is full the old half is forgotten."""
        self._young[key] = entry
        if self._leaving:
            self._let_go(1)
        if len(self._young) > self._size:
            self._turn()

    def put_all(self, entries: Mapping[bytes, Known]) -> None:
        """Keep many entities at once; the young half may grow beyond its size by as many."""
        self._young.update(entries)
        if self._leaving:
            self._let_go(len(entries))
        if len(self._young) > self._size:
            self._turn()

    def clear(self) -> None:
        """Forget all: after a failed or unknown commit."""
        self._young.clear()
        self._old.clear()
        self._leaving.clear()

    def _turn(self) -> None:
        """Let the young half be the old one; of the one before that, all has left by now, or leaves at once."""
        self._leaving, self._old, self._young = self._old, self._young, {}

    def _let_go(self, came: int) -> None:
        """Forget as many as came, and as many again: what leaves is gone before the young half is full."""
        leave = self._leaving.popitem
        for _ in range(min(2 * came, len(self._leaving))):
            leave()
