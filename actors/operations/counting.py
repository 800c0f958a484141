"""The conservation law, counted anew: every entity, every input in quarantine, every Tell, against the counters.

Counters move in the same batch as the states that they count, so over a consistent view of a store both must agree to
the last message. A count goes through a store in slices, between which the worker decides other things.

    accepted = delivered + bounced + ... + queued     by tenant and stream
    told     = applied + in the outbox                by pair of partitions; what is in quarantine counts as applied
"""

from __future__ import annotations

__all__ = (
    "FINDINGS_MAX",
    "Counted",
    "PartitionCount",
    "StoreCount",
    "Tells",
    "View",
    "told_findings",
)

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from engine.entities import Entry, Machines
from engine.errors import DamageError
from engine.inputs import Meta
from engine.keyspace import tenant_of
from engine.machine import At, Stuck
from engine.rows import ENTITY, META, OUTBOX, QUARANTINE, TALLY
from engine.store.protocol import Rows, partition_prefix
from engine.tally import ACCEPTED, QUARANTINED, Counts, Tally, holds

FINDINGS_MAX = 100
"""Findings beyond are counted, not told."""

_SLICE = 500
_META = msgspec.msgpack.Decoder(Meta)


class View(Protocol):
    """Rows that don't change while one looks."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows at once."""

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""


class Tells(msgspec.Struct, frozen=True, array_like=True):
    """One partition's side of all Tells: numbers by the other partition. `seen` is when, in ns of this machine."""

    partition: int
    seen: int
    told: dict[int, int]
    confirmed: dict[int, int]
    applied: dict[int, int]


class Counted(msgspec.Struct):
    """What a count came to."""

    entities: int = 0
    rows: int = 0
    quarantined: int = 0
    law: dict[
        str, Counts
    ] = {}  # "tenant\0stream", counted anew, with what was dropped after its retention
    findings: list[str] = []
    findings_more: int = 0
    tells: list[Tells] = []

    def find(self, what: str) -> None:
        """Note that something doesn't agree."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(what)
        else:
            self.findings_more += 1


class PartitionCount:
    """One partition, counted."""

    def __init__(self, number: int, machines: Machines) -> None:
        self.number = number
        self.entities = 0
        self._machines = machines
        self._facts: Counter[str] = Counter()
        self._law: dict[str, Counter[str]] = {}

    def take(self, key: bytes, entry: Entry) -> None:
        """Count an entity."""
        state, place = entry
        self.entities += 1
        self._facts[f"entities:{key[4]:c}"] += 1
        if type(place) is At:
            self._facts[f"timers:{key[4]:c}"] += 1
        counted = self._machines.by_kind[key[4]].tally(state)
        if counted is not None:
            stream, bucket = counted
            bucket = QUARANTINED if type(place) is Stuck else bucket
            self._law.setdefault(f"{tenant_of(key)}\0{stream}", Counter())[bucket] += 1

    def law(self, tally: Tally) -> dict[str, Counts]:
        """Give what was counted, with what the counters say was dropped after its retention."""
        total: dict[str, Counts] = {}
        for owner in {**self._law, **tally.dropped}:
            counts = Counter(self._law.get(owner, {}))
            counts.update(tally.dropped.get(owner, {}))
            total[owner] = {ACCEPTED: counts.total(), **counts}
        return total

    def differences(self, tally: Tally, in_quarantine: int) -> Iterator[str]:
        """Tell where counters break the law, or aren't what was counted."""
        recounted = self.law(tally)
        for owner in sorted({**recounted, **tally.counts}):
            told, found = tally.counts.get(owner, {}), recounted.get(owner, {})
            name = owner.replace("\0", "/")
            if not holds(told):
                yield f"partition {self.number}, {name}: the law doesn't hold: {_sorted(told)}"
            if {k: n for k, n in told.items() if n} != {k: n for k, n in found.items() if n}:
                yield (
                    f"partition {self.number}, {name}: counters say {_sorted(told)}, "
                    f"counted {_sorted(found)}"
                )
        yield from self._fact_differences(tally, in_quarantine)

    def _fact_differences(self, tally: Tally, in_quarantine: int) -> Iterator[str]:
        facts = tally.facts
        names = {name for name in facts if name.startswith(("entities:", "timers:"))}
        for name in sorted(names | set(self._facts)):
            if facts.get(name, 0) != self._facts[name]:
                yield (
                    f"partition {self.number}: {name} counts {facts.get(name, 0)}, "
                    f"there are {self._facts[name]}"
                )
        left = facts.get("quarantined_inputs", 0)
        left -= facts.get("quarantine_replayed", 0) + facts.get("quarantine_dropped", 0)
        if left != in_quarantine:
            yield f"partition {self.number}: {left} inputs should be in quarantine, there are {in_quarantine}"


class StoreCount:
    """The partitions of one store, counted slice by slice.

    Args:
        view: rows that don't change meanwhile.
        machines: what decodes and weighs entities.
        numbers: the partitions of this store.
        seen: when the view was taken, in ns of this machine.
    """

    def __init__(
        self, view: View, machines: Machines, numbers: Iterable[int], seen: int = 0
    ) -> None:
        self.counted = Counted()
        self._view = view
        self._machines = machines
        self._seen = seen
        self._work = self._all(numbers)

    def step(self) -> bool:
        """Count one slice, a few milliseconds of work. Returns whether there is more.

        Raises: StoreError when the view can't be read any more.
        """
        return next(self._work, None) is not None

    def _all(self, numbers: Iterable[int]) -> Iterator[bool]:
        for number in numbers:
            yield from self._partition(number)

    def _partition(self, number: int) -> Iterator[bool]:
        prefix = partition_prefix(number)
        count = PartitionCount(number, self._machines)
        for rows in slices(self._view, prefix + ENTITY):
            for row, raw in rows:
                try:
                    count.take(row[3:], self._machines.read(row[3:], raw))
                except DamageError as error:
                    self.counted.find(f"partition {number}: {error}")
            self.counted.rows += len(rows)
            yield True
        held = 0
        for rows in slices(self._view, prefix + QUARANTINE):
            held += len(rows)
            yield True
        self.counted.entities += count.entities
        self.counted.quarantined += held
        self._compare(count, held)

    def _compare(self, count: PartitionCount, held: int) -> None:
        prefix = partition_prefix(count.number)
        raw_meta, raw_tally = self._view.get([prefix + META, prefix + TALLY])
        tally = Tally.decode(raw_tally)
        meta = _META.decode(raw_meta) if raw_meta is not None else Meta()
        for difference in count.differences(tally, held):
            self.counted.find(difference)
        for owner, counts in count.law(tally).items():
            into = self.counted.law.setdefault(owner, {})
            for bucket, number in counts.items():
                into[bucket] = into.get(bucket, 0) + number
        waiting: dict[int, list[int]] = {}
        for rows in slices(self._view, prefix + OUTBOX):
            for row, _ in rows:
                waiting.setdefault(int.from_bytes(row[3:5]), []).append(int.from_bytes(row[5:]))
        for difference in outbox_findings(count.number, meta, waiting):
            self.counted.find(difference)
        self.counted.tells.append(
            Tells(count.number, self._seen, meta.told, meta.confirmed, meta.applied)
        )


def slices(view: View, prefix: bytes) -> Iterator[Rows]:
    """Read all rows that begin with a prefix, some hundreds at a time."""
    start, end = prefix, prefix[:-1] + bytes((prefix[-1] + 1,))
    while rows := view.scan(start, end, _SLICE):
        yield rows
        start = rows[-1][0] + b"\0"


def outbox_findings(number: int, meta: Meta, waiting: Mapping[int, list[int]]) -> Iterator[str]:
    """Tell where an outbox isn't what was told and isn't confirmed."""
    for target in sorted({**meta.told, **waiting}):
        told, confirmed = meta.told.get(target, 0), meta.confirmed.get(target, 0)
        found = waiting.get(target, [])
        if found != list(range(confirmed + 1, told + 1)):
            yield (
                f"partition {number}: its outbox for {target} should hold Tells {confirmed + 1} to {told}, "
                f"it holds {len(found)}" + (f": {found[0]} to {found[-1]}" if found else "")
            )


def told_findings(sides: Iterable[Tells]) -> Iterator[str]:
    """Tell which pairs of partitions don't agree on their Tells: confirmed <= applied <= told.

    Sides of different stores may have been seen at different times; then only what that can't explain is told.
    """
    by_number = {side.partition: side for side in sides}
    for source in by_number.values():
        for target in sorted(source.told):
            other = by_number.get(target)
            if other is None:
                continue
            told, confirmed = source.told[target], source.confirmed.get(target, 0)
            applied = other.applied.get(source.partition, 0)
            early, late = other.seen <= source.seen, other.seen >= source.seen
            if (late and applied < confirmed) or (early and applied > told):
                yield (
                    f"Tells from partition {source.partition} to {target}: told {told}, "
                    f"applied {applied}, confirmed {confirmed}"
                )


def _sorted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{bucket} {n}" for bucket, n in sorted(counts.items()) if n) or "nothing"
