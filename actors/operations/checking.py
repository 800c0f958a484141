"""Walks every row of a directory on which nothing runs, and tells what doesn't agree with the rest.

Rows decode; each entity lies in the partition of its key, and stands in the index that its record names; each row of an
index has its entity, and none lies below the mark where scans begin; counters equal a recount; Tells add up; the feed
can be read. Damage names store, partition and row. Memory doesn't grow with the data.
"""

from __future__ import annotations

__all__ = ("Checked", "Damage", "check")

from collections.abc import Callable, Iterator

import msgspec

from actors.operations.counting import (
    FINDINGS_MAX,
    PartitionCount,
    Tells,
    View,
    outbox_findings,
    slices,
    told_findings,
)
from actors.operations.files import Directory, StoreFiles
from actors.operations.reading import key_in, read_row
from engine.entities import Entry
from engine.errors import DamageError, StoreError
from engine.inputs import Meta
from engine.machine import Place
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
    place_row,
)
from engine.store.protocol import FEED, STAND, Rows, partition_prefix
from engine.tally import Tally

_INDEXES = (AGENDA, READY, HELD, RETIRED)
_KEY_BYTES = {SEEN: 23, RECORD: 23, QUARANTINE: 11, FEED_INDEX: 15}


class Damage(msgspec.Struct, frozen=True):
    """Something that doesn't agree; `row` in hexadecimal, empty where it is no single row's."""

    store: str
    partition: int
    row: str
    what: str

    def __str__(self) -> str:
        """Tell it in one line."""
        row = f", row {self.row}" if self.row else ""
        return f"store {self.store}, partition {self.partition}{row}: {self.what}"


class Checked(msgspec.Struct):
    """What a check came to."""

    stores: int = 0
    entities: int = 0
    rows: int = 0
    damage: list[Damage] = []
    damage_more: int = 0  # found beyond the first hundred

    @property
    def fine(self) -> bool:
        """Whether all agrees."""
        return not self.damage

    def find(self, damage: Damage) -> None:
        """Note damage."""
        if len(self.damage) < FINDINGS_MAX:
            self.damage.append(damage)
        else:
            self.damage_more += 1


def check(directory: Directory, seen: Callable[[int], None]) -> Checked:
    """Check everything. `seen` hears of rows as they are read."""
    checked = Checked(stores=len(directory.stores))
    tells: list[Tells] = []
    for store in directory.stores:
        walk = _Walk(directory, store, checked, seen)
        walk.strangers()
        for number in store.numbers:
            told = walk.partition(number)
            if told is not None:
                tells.append(told)
        walk.feed()
    for what in told_findings(tells):
        checked.find(Damage("all", -1, "", what))
    return checked


class _Walk:
    """One store."""

    def __init__(
        self,
        directory: Directory,
        store: StoreFiles,
        checked: Checked,
        seen: Callable[[int], None],
    ) -> None:
        self._directory = directory
        self._machines = directory.machines
        self._store = store
        self._rows: View = store.rows
        self._checked = checked
        self._seen = seen

    def _find(self, number: int, what: str, row: bytes = b"") -> None:
        self._checked.find(Damage(self._store.name, number, row.hex(), what))

    def _read(self, number: int, prefix: bytes) -> Iterator[Rows]:
        """Read rows by slices; what can't be read any further is told, and the walk goes on elsewhere."""
        try:
            for rows in slices(self._rows, prefix):
                self._checked.rows += len(rows)
                self._seen(len(rows))
                yield rows
        except StoreError as error:
            self._find(number, f"rows {prefix[2:].hex()} can't be read: {error}")

    # ---- which partitions there are

    def strangers(self) -> None:
        """Tell of partitions that don't belong here: they would never be read."""
        mine = {*self._store.numbers, FEED}
        start = b""
        try:
            while rows := self._rows.scan(start, b"\xff" * 40, 1):
                number = int.from_bytes(rows[0][0][:2])
                if number not in mine:
                    self._find(number, "it doesn't belong into this store", rows[0][0])
                start = rows[0][0][:2] + b"\xff" * 38
        except StoreError as error:
            self._find(-1, f"rows can't be read: {error}")

    # ---- one partition

    def partition(self, number: int) -> Tells | None:
        """Check one partition. Returns its side of all Tells; None when it was never written."""
        prefix = partition_prefix(number)
        meta, tally = self._control(number, prefix)
        if meta is None:
            self._must_be_empty(number, prefix)
            return None
        count = PartitionCount(number, self._machines)
        self._entities(number, prefix, count)
        for index in _INDEXES:
            self._index(number, prefix, index, meta)
        held = self._plain(number, prefix, QUARANTINE)
        for index in (SEEN, RECORD):
            self._plain(number, prefix, index)
        self._outbox(number, prefix, meta)
        self._unknown(number, prefix)
        for what in count.differences(tally, held):
            self._find(number, what.removeprefix(f"partition {number}").lstrip(":, "))
        self._checked.entities += count.entities
        return Tells(number, 0, meta.told, meta.confirmed, meta.applied)

    def _must_be_empty(self, number: int, prefix: bytes) -> None:
        try:
            rows = self._rows.scan(prefix, partition_prefix(number + 1), 1)
        except StoreError as error:
            self._find(number, f"rows can't be read: {error}")
            return
        if rows:
            self._find(number, "it has rows, and no control state", rows[0][0])

    def _control(self, number: int, prefix: bytes) -> tuple[Meta | None, Tally]:
        meta: Meta | None = None
        tally = Tally()
        for row in (META, TALLY):
            try:
                raw = self._rows.get([prefix + row])[0]
                if raw is not None and row == META:
                    meta = read_row(META, raw)
                elif raw is not None:
                    tally = Tally.decode(raw)
            except (StoreError, msgspec.MsgspecError) as error:
                self._find(number, f"its control state can't be read: {error}", prefix + row)
        return meta, tally

    def _entities(self, number: int, prefix: bytes, count: PartitionCount) -> None:
        for rows in self._read(number, prefix + ENTITY):
            wanted: list[tuple[bytes, bytes, Place | None]] = []
            for row, raw in rows:
                entry = self._entity(number, row, raw)
                if entry is None:
                    continue
                count.take(row[3:], entry)
                index = place_row(entry[1], row[3:])
                if index is not None:
                    wanted.append((prefix + index, row, entry[1]))
            for (_, row, place), found in zip(
                wanted, self._get(number, [index for index, _, _ in wanted]), strict=True
            ):
                if found is None:
                    self._find(number, f"no index shows that it stands at {place}", row)

    def _entity(self, number: int, row: bytes, raw: bytes) -> Entry | None:
        key = row[3:]
        try:
            entry = self._machines.read(key, raw)
        except (DamageError, IndexError) as error:
            self._find(number, str(error), row)
            return None
        if self._directory.keyspace.partition(key) != number:
            self._find(number, "its key belongs to another partition", row)
        return entry

    def _index(self, number: int, prefix: bytes, index: bytes, meta: Meta) -> None:
        mark = {AGENDA: meta.agenda_mark, RETIRED: meta.retired_mark}.get(index, 0)
        for rows in self._read(number, prefix + index):
            keys = [prefix + ENTITY + key_in(row) for row, _ in rows]
            for (row, _), key, raw in zip(rows, keys, self._get(number, keys), strict=True):
                entry = self._quietly(key, raw)
                if entry is None:
                    self._find(number, "the entity that it names isn't there", row)
                elif place_row(entry[1], key[3:]) != row[2:]:
                    self._find(number, f"its entity stands elsewhere: {entry[1]}", row)
                elif int.from_bytes(row[3:11]) < mark:
                    self._find(number, f"it lies below the mark {mark} where scans begin", row)

    def _quietly(self, key: bytes, raw: bytes | None) -> Entry | None:
        """Decode an entity whose own damage is told where it is walked."""
        if raw is None:
            return None
        try:
            return self._machines.read(key[3:], raw)
        except (DamageError, IndexError):
            return None

    def _plain(self, number: int, prefix: bytes, index: bytes) -> int:
        """Decode the rows of an index that stands for itself. Returns how many there are."""
        size = _KEY_BYTES[index]
        total = 0
        for rows in self._read(number, prefix + index):
            total += len(rows)
            for row, raw in rows:
                if len(row) != size:
                    self._find(number, f"its key should have {size} bytes", row)
                try:
                    read_row(index, raw)
                except msgspec.MsgspecError as error:
                    self._find(number, f"it can't be decoded: {error}", row)
        return total

    def _outbox(self, number: int, prefix: bytes, meta: Meta) -> None:
        waiting: dict[int, list[int]] = {}
        for rows in self._read(number, prefix + OUTBOX):
            for row, raw in rows:
                try:
                    read_row(OUTBOX, raw)
                except msgspec.MsgspecError as error:
                    self._find(number, f"it can't be decoded: {error}", row)
                waiting.setdefault(int.from_bytes(row[3:5]), []).append(int.from_bytes(row[5:]))
        for what in outbox_findings(number, meta, waiting):
            self._find(number, what.removeprefix(f"partition {number}: "))

    def _unknown(self, number: int, prefix: bytes) -> None:
        """Tell of rows of an index that nobody reads."""
        known = {STAND, META, TALLY, ENTITY, SEEN, RECORD, OUTBOX, QUARANTINE, *_INDEXES}
        start, end = prefix, partition_prefix(number + 1)
        try:
            while rows := self._rows.scan(start, end, 1):
                index = rows[0][0][2:3]
                if index not in known:
                    self._find(number, f"there is no index {index!r}", rows[0][0])
                start = prefix + bytes((index[0] + 1,)) if index < b"\xff" else end
        except StoreError as error:
            self._find(number, f"rows can't be read: {error}")

    def _get(self, number: int, keys: list[bytes]) -> list[bytes | None]:
        try:
            return self._rows.get(keys)
        except StoreError as error:
            self._find(number, f"rows can't be read: {error}")
            return [None] * len(keys)

    # ---- the feed

    def feed(self) -> None:
        """Check that every entry of the feed can be read."""
        self._plain(FEED, partition_prefix(FEED), FEED_INDEX)
