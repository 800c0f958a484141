"""Rows and entities of a directory on which nothing runs, as a human reads them."""

from __future__ import annotations

__all__ = ("EntityView", "IndexSize", "Stats", "dump", "entity", "stats")

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.operations.counting import slices
from actors.operations.files import Directory, StoreFiles
from actors.operations.reading import INDEXES, key_in, read_row
from actors.operations.showing import kind_name, name_shown, shown
from engine.entities import Machines
from engine.errors import DamageError
from engine.feed import FeedEntry
from engine.keyspace import CONTACT, tenant_of
from engine.quarantine import Quarantined
from engine.rows import AGENDA, ENTITY, FEED_INDEX, HELD, READY, RETIRED, TALLY
from engine.store.protocol import FEED, Stand, partition_prefix
from engine.tally import Tally


class EntityView(msgspec.Struct, frozen=True):
    """Everything stored of an entity."""

    kind: str
    tenant: str
    name: str
    key: str  # hexadecimal
    store: str
    partition: int
    place: Any
    state: Any
    stored_bytes: int


class IndexSize(msgspec.Struct):
    """Rows of one index, before compression."""

    rows: int = 0
    key_bytes: int = 0
    value_bytes: int = 0


class Stats(msgspec.Struct):
    """Sizes of a directory. `disk_bytes` is what the files of all stores take."""

    stores: int
    partitions: int
    disk_bytes: int
    indexes: dict[str, IndexSize]
    contacts: int = 0

    @property
    def disk_bytes_a_contact(self) -> float:
        """Disk of all that is stored, by contact."""
        return self.disk_bytes / self.contacts if self.contacts else 0.0


def entity(directory: Directory, key: bytes) -> EntityView | None:
    """Find an entity; None when there is none.

    Raises: DamageError: its record can't be read.
    """
    store = directory.store_of(key)
    partition = directory.keyspace.partition(key)
    raw = store.rows.get([partition_prefix(partition) + ENTITY + key])[0]
    if raw is None:
        return None
    return _entity_view(directory.machines, store, partition, key, raw)


def dump(directory: Directory, index: str, partition: int | None) -> Iterator[dict[str, Any]]:
    """Give all rows of an index as JSON objects, by store, partition and key; damaged ones say so."""
    byte = INDEXES[index]
    for store in directory.stores:
        numbers = [FEED] if byte == FEED_INDEX else store.numbers
        for number in numbers:
            if partition is not None and number != partition and number != FEED:
                continue
            for rows in slices(store.rows, partition_prefix(number) + byte):
                for row, raw in rows:
                    yield {
                        "store": store.name,
                        "partition": number,
                        "row": row.hex(),
                        **_shown(directory.machines, store, byte, row, raw),
                    }


def stats(directory: Directory, seen: Callable[[int], None]) -> Stats:
    """Measure all rows by index. `seen` hears of rows as they are read."""
    made = Stats(
        stores=len(directory.stores),
        partitions=directory.format.partitions,
        disk_bytes=sum(store.rows.size_bytes() for store in directory.stores),
        indexes={name: IndexSize() for name in INDEXES},
    )
    for store in directory.stores:
        for number in (*store.numbers, FEED):
            for name, byte in INDEXES.items():
                size = made.indexes[name]
                for rows in slices(store.rows, partition_prefix(number) + byte):
                    seen(len(rows))
                    size.rows += len(rows)
                    size.key_bytes += sum(len(row) for row, _ in rows)
                    size.value_bytes += sum(len(raw) for _, raw in rows)
                    if byte == ENTITY:
                        made.contacts += sum(row[7] == CONTACT for row, _ in rows)
    return made


def _entity_view(
    machines: Machines, store: StoreFiles, partition: int, key: bytes, raw: bytes
) -> EntityView:
    state, place = machines.read(key, raw)
    return EntityView(
        kind=kind_name(key),
        tenant=tenant_of(key),
        name=name_shown(key),
        key=key.hex(),
        store=store.name,
        partition=partition,
        place=shown(place),
        state=shown(state),
        stored_bytes=len(raw),
    )


def _shown(
    machines: Machines, store: StoreFiles, index: bytes, row: bytes, raw: bytes
) -> dict[str, Any]:
    try:
        if index == ENTITY:
            number = int.from_bytes(row[:2])
            view = _entity_view(machines, store, number, row[3:], raw)
            return {
                name: getattr(view, name) for name in ("kind", "tenant", "name", "place", "state")
            }
        if index in (AGENDA, READY, HELD, RETIRED):
            return _place_shown(index, row)
        return {"value": _value_shown(index, raw)}
    except (DamageError, msgspec.MsgspecError, LookupError, ValueError) as error:
        return {"damage": str(error), "raw": raw.hex()}


def _place_shown(index: bytes, row: bytes) -> dict[str, Any]:
    key = key_in(row)
    told: dict[str, Any] = {}
    if index in (AGENDA, RETIRED):
        told["at_ms"] = int.from_bytes(row[3:11])
    else:
        name = row[4 : 4 + row[3]]
        told["queue" if index == READY else "holder"] = shown(name)
    if index == READY:
        told["order"] = int.from_bytes(row[4 + row[3] : 12 + row[3]])
    return told | {"kind": kind_name(key), "tenant": tenant_of(key), "name": name_shown(key)}


def _value_shown(index: bytes, raw: bytes) -> Any:
    value = read_row(index, raw)
    if index == TALLY:
        assert isinstance(value, Tally), "the row of counters"
        return shown({"counts": value.counts, "dropped": value.dropped, "facts": value.facts})
    if isinstance(value, Stand):
        return value._asdict()
    if index == FEED_INDEX:
        return [_feed_shown(entry) for entry in value]
    if isinstance(value, Quarantined):
        body = _inner(value.body)
        return {**shown(value), "key": value.key.hex(), "body": body}
    return shown(value)


def _feed_shown(entry: FeedEntry) -> dict[str, Any]:
    body = msgspec.msgpack.decode(entry.body)
    return {"channel": entry.channel, "tenant": entry.tenant, "body": shown(body)}


def _inner(raw: bytes) -> Any:
    try:
        return shown(msgspec.msgpack.decode(raw))
    except msgspec.MsgspecError:
        return raw.hex()
