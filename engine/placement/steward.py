"""The controller's side of placement: who lives, who holds what, and the orders that bring it to the wanted table.

Everything is level-triggered: a worker's report says all that it holds, and the answer all that it should. A report or
an answer that is lost, late or doubled changes nothing for good. A worker is told to let go only once the next one
knows that it is about to take, so that a partition is without an owner for as short as can be. Orders carry the version
of the table, which never goes back, since it is written down before it is told.
"""

from __future__ import annotations

__all__ = ("Orders", "Report", "Steward", "Table")

from collections.abc import Callable, Mapping, Sequence

import msgspec

from engine.placement.table import moves_between, place

DEAD_MS = 3000
"""A worker that isn't heard of for so long has lost its partitions to others."""

LATE_MS = 30_000
"""A worker that holds what it was told to let go for so long is passed over: the next takes it, and fences it."""


class Table(msgspec.Struct, frozen=True):
    """Who owns what. `owners[p]` is "" while nobody can."""

    version: int
    owners: list[str]


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a worker says of itself. `number` grows within a life; `load` is of the partitions that it holds."""

    worker: str
    incarnation: int
    number: int
    holds: list[int]
    load: dict[int, float] = {}
    leaving: bool = False  # it wants to end, once others have its partitions
    version: int = -1  # of the newest orders that it heard; -1: an older Veredus, which doesn't say


class Orders(msgspec.Struct, frozen=True, array_like=True):
    """What a worker should do: let go of some, take some, all by a version of the table."""

    version: int
    release: list[int]
    take: list[int]


class _Worker:
    def __init__(self, incarnation: int, now: int) -> None:
        self.incarnation = incarnation
        self.number = -1
        self.heard = now
        self.holds: set[int] = set()
        self.leaving = False
        self.version = -1


class Steward:
    """Places partitions on workers.

    Args:
        partitions: how many there are.
        table: as it was written down; None: there is none yet.
        write: writes a table down, durably, before it is told.
        now: ms, monotonic.
    """

    def __init__(
        self,
        partitions: int,
        table: Table | None,
        write: Callable[[Table], None],
        now: int,
    ) -> None:
        self.table = table or Table(0, [""] * partitions)
        self._write = write
        self._begun = now
        self._workers: dict[str, _Worker] = {}
        self._load: dict[int, float] = {}
        self._draining: set[str] = set()
        self._wanted_since: dict[
            int, int
        ] = {}  # partition whose holder should let go -> since when

    # ---- what comes in

    def report(self, report: Report, now: int) -> Orders | None:
        """Hear a worker; None for a report that is older than another."""
        known = self._workers.get(report.worker)
        if known is None or report.incarnation > known.incarnation:
            known = self._workers[report.worker] = _Worker(report.incarnation, now)
        if report.incarnation < known.incarnation or report.number <= known.number:
            return None
        known.number, known.heard = report.number, now
        known.holds, known.leaving = set(report.holds), report.leaving
        known.version = report.version
        for partition in known.holds:
            if self.table.owners[partition] == report.worker:
                self._wanted_since.pop(partition, None)
        self._load.update(report.load)
        self._settle(now)
        return self._orders(report.worker, now)

    def look(self, now: int) -> None:
        """Let time pass: whoever isn't heard of any more loses its partitions."""
        self._settle(now)

    def drain(self, worker: str) -> None:
        """Take all partitions from a worker, and give it none."""
        self._draining.add(worker)

    def undrain(self, worker: str) -> None:
        """Let a worker have partitions again."""
        self._draining.discard(worker)

    def forget(self, worker: str) -> None:
        """Hear that a worker has gone for good: it holds nothing, and won't report again."""
        self._workers.pop(worker, None)
        self._draining.discard(worker)

    def rebalance(self, now: int) -> int:
        """Place by the load as it is now. Returns how many partitions will move."""
        return self._place(now, settle=True)

    # ---- what is known

    def living(self, now: int) -> list[str]:
        """Name the workers that were heard of lately; at the begin also those of the table, which may still report."""
        found = {name for name, one in self._workers.items() if one.heard + DEAD_MS > now}
        if self._begun + DEAD_MS > now:
            found |= {name for name in self.table.owners if name and name not in self._workers}
        return sorted(found)

    def fit(self, now: int) -> list[str]:
        """Name those that may own partitions."""
        leaving = {name for name, one in self._workers.items() if one.leaving}
        return [w for w in self.living(now) if w not in self._draining and w not in leaving]

    def holds(self) -> Mapping[str, set[int]]:
        """Tell what each worker said that it holds."""
        return {name: one.holds for name, one in sorted(self._workers.items())}

    def in_motion(self, now: int) -> list[int]:
        """List the partitions that aren't with their owner; one that was passed over may still believe it has them."""
        living = set(self.living(now))
        held = {
            (name, p) for name, one in self._workers.items() if name in living for p in one.holds
        }
        return [p for p, owner in enumerate(self.table.owners) if (owner, p) not in held]

    def load(self) -> Mapping[int, float]:
        """Tell the load of partitions, as reported last."""
        return self._load

    # ---- inside

    def _settle(self, now: int) -> None:
        fit = set(self.fit(now))
        owners = set(self.table.owners)
        if not owners <= fit or fit - owners:
            self._place(now, settle=False)

    def _place(self, now: int, *, settle: bool) -> int:
        fit = self.fit(now)
        before = self.table.owners
        if not fit:
            return 0
        was = before if any(before) else ()
        after = place(len(before), fit, was, self._load, settle=settle)
        moved = moves_between(before, after)
        if moved:
            for partition in moved:
                self._wanted_since.pop(partition, None)
            self._say(after)
        return len(moved)

    def _say(self, owners: Sequence[str]) -> None:
        table = Table(self.table.version + 1, list(owners))
        self._write(table)
        self.table = table

    def _orders(self, name: str, now: int) -> Orders:
        living = set(self.living(now))
        mine = self._workers[name]
        owners = self.table.owners
        ready = {one for one in living if self._knows_all(one)}
        release = sorted(p for p in mine.holds if owners[p] != name and owners[p] in ready)
        for partition in release:
            self._wanted_since.setdefault(partition, now)
        take = []
        for partition, owner in enumerate(owners):
            wanted = owner == name and partition not in mine.holds
            if wanted and not self._held_elsewhere(partition, name, living, now):
                take.append(partition)  # again and again until it is there: an answer may be lost
        return Orders(self.table.version, release, take)

    def _knows_all(self, name: str) -> bool:
        """Whether a worker has heard of the table as it is: until then it isn't waiting to take anything."""
        version = self._workers[name].version if name in self._workers else -1
        return version in (-1, self.table.version)

    def _held_elsewhere(self, partition: int, name: str, living: set[str], now: int) -> bool:
        """Whether a living worker has it and should be let finish; one that takes too long is passed over."""
        for other, one in self._workers.items():
            if other != name and other in living and partition in one.holds:
                since = self._wanted_since.setdefault(partition, now)
                return since + LATE_MS > now
        return False
