"""Entities in memory: how records become states and back, and the cache of what was read."""

from __future__ import annotations

__all__ = ("ABSENT", "EntityCache", "Entry", "Machines")

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.errors import DamageError
from engine.machine import At, Machine, Place
from engine.rows import Codec, PlainCodec, open_envelope, seal_envelope, waiting_head

Entry = tuple[Any, Place | None]  # state (None: there is no such entity) and place

ABSENT: Entry = (None, None)


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
        if raw is None:
            return ABSENT
        _schema, codec, place, stored = open_envelope(key, raw)
        if codec != self.codec.number:
            raise DamageError(f"record {key.hex()}: unknown codec {codec}")
        try:
            return self._states[key[4]].decode(self.codec.open(key, stored)), place
        except (msgspec.MsgspecError, KeyError) as error:
            raise DamageError(f"record {key.hex()}: {error}") from error

    def write(self, key: bytes, state: Any, place: Place | None) -> bytes:
        """Make an entity's record for the store."""
        return self.seal(key, self.encode(state), place)

    def seal(self, key: bytes, encoded: bytes, place: Place | None) -> bytes:
        """Make the record of an entity whose state is encoded already."""
        stored = encoded if self._plain else self.codec.seal(key, encoded)
        if type(place) is At:  # the most frequent place by far
            return b"".join((self._at_heads[key[4]], place.due.to_bytes(8), stored))
        return seal_envelope(self.by_kind[key[4]].schema, self.codec.number, place, stored)

    def read_input(self, key: bytes, raw: bytes) -> Any:
        """Decode an input of the kind that the key names."""
        return self._inputs[key[4]].decode(raw)


class EntityCache:
    """Decoded entities as they are on disk, shared by the partitions of a worker; about twice `size` at most."""

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}

    def get(self, key: bytes) -> Entry | None:
        """Give what is known, and keep it longer."""
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.get(key)
            if entry is not None:
                self.put(key, entry)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep an entity; when the young half is full the old half is forgotten."""
        self._young[key] = entry
        if len(self._young) > self._size:
            self._old, self._young = self._young, {}

    def put_all(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep many entities at once; the young half may grow beyond its size by as many."""
        self._young.update(entries)
        if len(self._young) > self._size:
            self._old, self._young = self._young, {}

    def clear(self) -> None:
        """Forget all: after a failed or unknown commit."""
        self._young.clear()
        self._old.clear()
