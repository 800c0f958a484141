"""Planted bugs: each breaks one promise, and the seeds must find it."""

from __future__ import annotations

__all__ = ("VARIANTS",)

from engine.placement.steward import Orders, Steward
from engine.placement.tenure import Tenure
from engine.store.protocol import Stand
from tests.engine.placement.worker import Commit, Held, Worker
from tests.engine.placement.world import Plan, Register


class KeepsEpoch(Worker):
    """Takes a partition without raising its epoch."""

    def claimed(self, held: Stand) -> Stand:
        """The next number alone."""
        return Stand(max(held.epoch, 1), held.seq + 1)


class KnowsNothing(Worker):
    """A new owner doesn't look at what its predecessor applied."""

    def known(self, seen: set[int]) -> set[int]:
        """Nothing."""
        return set()


class TellsBefore(Worker):
    """Acknowledges what is only on its way."""

    def sent(self, commit: Commit) -> None:
        """Tell at once."""
        for _, _, inputs in commit.batches:
            self.world.acknowledged.update(inputs)
            self.world.post(self.world._heard, inputs)


class TellsStale(Worker):
    """Acknowledges a batch that the store refused."""

    def acknowledge(self, commit: Commit, stale: list[int]) -> None:
        """Tell all."""
        super().acknowledge(commit, [])


class TellsUnknown(Worker):
    """Takes a commit without an answer for one that is there."""

    def unknown(self, flying: list[Commit]) -> None:
        """Tell all."""
        for commit in flying:
            self.acknowledge(commit, [])


class TakesAnyStand(Worker):
    """After an unknown commit goes on from whatever it reads, also when somebody else wrote it."""

    def _mend(self, partition: int, stand: Stand, seen: set[int]) -> None:
        if partition in self.held:
            self.held[partition] = Held(stand, seen)


class KeepsEpochAfterDoubt(Worker):
    """After an unknown commit goes on under its epoch, two commits ahead of the answer."""

    def _mend(self, partition: int, stand: Stand, seen: set[int]) -> None:
        held = self.held.get(partition)
        if held is not None and stand.epoch == held.epoch:
            self.held[partition] = Held(stand, seen)
        elif held is not None:
            self._lose([partition])


class AnyNumber(Register):
    """A store that looks at the epoch alone."""

    def accepts(self, held: Stand, offered: Stand) -> bool:
        """Whatever its number."""
        return offered.epoch >= held.epoch


class AnyEpoch(Register):
    """A store that takes a number beyond the one it has, whoever's it is."""

    def accepts(self, held: Stand, offered: Stand) -> bool:
        """Whatever its epoch."""
        return offered.seq > held.seq


class Forgets(Steward):
    """A steward that begins with an empty table."""

    def __init__(self, partitions, _table, write, now) -> None:  # type: ignore[no-untyped-def]  # a variant
        super().__init__(partitions, None, write, now)


class NeverDead(Steward):
    """A steward that waits for the dead."""

    def living(self, now: int) -> list[str]:
        """All that ever lived."""
        return sorted({*super().living(now), *self._workers})


class Patient(Steward):
    """A steward that lets a worker keep what it was told to let go, for ever."""

    def _held_elsewhere(self, partition: int, name: str, living: set[str], now: int) -> bool:
        self._wanted_since.pop(partition, None)
        return super()._held_elsewhere(partition, name, living, now)


class HearsAll(Tenure):
    """A tenure that follows whatever comes last, however old."""

    def hear(self, orders: Orders) -> None:
        """Follow."""
        self._version = 0
        super().hear(orders)


VARIANTS = {
    "keeps_epoch": Plan(worker=KeepsEpoch),
    "knows_nothing": Plan(worker=KnowsNothing),
    "tells_before": Plan(worker=TellsBefore),
    "tells_stale": Plan(worker=TellsStale),
    "tells_unknown": Plan(worker=TellsUnknown),
    "takes_any_stand": Plan(worker=TakesAnyStand),
    "keeps_epoch_after_doubt": Plan(worker=KeepsEpochAfterDoubt),
    "any_number": Plan(store=AnyNumber),
    "any_epoch": Plan(store=AnyEpoch),
    "table_not_kept": Plan(keeps_table=False),
    "forgets_the_table": Plan(steward=Forgets),
    "never_dead": Plan(steward=NeverDead),
    "patient": Plan(steward=Patient),
    "hears_all": Plan(tenure=HearsAll),
}
