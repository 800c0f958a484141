"""Planted bugs: each is one honest class with one thing wrong. The simulation must find every one of them.

What a variant breaks is what a hurried change could break; none of them patches anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deliverability.egress import Asked, Concluded, Egress
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import LedgerFile
from engine.errors import StoreError
from engine.host import Host
from engine.inputs import Arrival, TellOut, Verdict
from engine.keyspace import EntityKey
from engine.machine import Context, Place
from engine.partition import Partition
from engine.store.protocol import STAND, Batch, encode_stand, partition_prefix
from engine.tick import Released
from engine.unit import Change
from tests.simulation.cluster import Plan
from tests.simulation.disk import SimStore
from tests.simulation.life import Life, Reply

__all__ = ("VARIANTS",)


class HostOf(Host):
    """A host whose partitions are of another class."""

    partition_class: Any = Partition

    def _open(self, number: int) -> None:
        super()._open(number)
        honest = self.partitions[number]
        self.partitions[number] = self.partition_class(
            number,
            self.store,
            self._machines,
            self.keyspace,
            self._cache,
            self.settings.partition,
            honest.epoch,
        )


def _host_of(kind: type[Partition]) -> type[Host]:
    return type(f"HostOf{kind.__name__}", (HostOf,), {"partition_class": kind})


# ---- the worker


class AcknowledgesEarly(Life):
    """Acknowledges inputs when they come, before they are durable."""

    def admit(self, batch: list[Arrival], reply: Reply) -> None:
        """Say yes at once."""
        super().admit(batch, lambda _: None)
        reply(["accepted"] * len(batch))


class ConfirmsEarly(Life):
    """Lets the egress forget outcomes before the partition has them durably."""

    def about_to_commit(self, concluded: list[Concluded]) -> None:
        """Confirm too early."""
        self.egress.confirmed(concluded)


class ForgetsOutbox(Life):
    """Never repeats a Tell."""

    def tell_again(self) -> None:
        """Don't."""

    def begin(self) -> None:
        """Start without what the outbox remembers."""
        self.inputs.answers += self.resolve()
        self.wake()


class TellsBeforeTheSync(Life):
    """Acknowledges and releases what is written and not synced yet."""

    def leave_to_others(self, concluded: list[Concluded], released: Released) -> None:
        """Go on at once; the sync comes when it comes."""
        self.world.after(self.store.sync_ms, self.disk_synced)
        self._finish(concluded, released)

    def disk_synced(self) -> None:
        """It came."""
        if not self.dead:
            self.cluster.disks[self.index].synced()


class ReadsBeforeTheSync(Life):
    """Answers questions with what is written and not synced yet."""

    @property
    def readable(self) -> bool:
        """Whenever somebody asks."""
        return True


class TrustsMissingLedgers(Life):
    """Takes a ledger that isn't there for one without marks."""

    def ask_later(self, key: EntityKey, asked: Asked, incarnation: int, epoch: int) -> None:
        """Answer at once for an egress that doesn't run."""
        super().ask_later(key, asked, incarnation, epoch)
        if incarnation not in self.cluster.lives:
            self._answered(asked, AttemptOutcome(asked.attempt, "unattempted", "no_ledger"))


class ReleasesEarly(Host):
    """Lets hand-overs out before the commit."""

    early: Any = None

    def _commit(self, released: Released) -> None:
        for partition in self.partitions.values():
            releases = [(partition.epoch, release) for release in partition.releases]
            self.early(Released(releases=releases))
            partition.releases = []
        super()._commit(released)


class LifeThatReleasesEarly(Life):
    """Drives a host that lets hand-overs out before the commit."""

    def begin(self) -> None:
        """Connect the two."""
        self.host.early = self._release
        super().begin()


# ---- store, ledger and egress


class NoEpochCheck(SimStore):
    """Takes every batch, whoever wrote it."""

    def _put(self, batches: Sequence[Batch]) -> list[int]:
        for batch in batches:
            held = self.stand(batch.partition)
            forced = Batch(batch.partition, held._replace(seq=held.seq + 1))
            forced.puts, forced.deletes, forced.ranges = batch.puts, batch.deletes, batch.ranges
            row = partition_prefix(batch.partition) + STAND
            self.disk.rows.commit([forced])
            self.disk.rows._put(row, encode_stand(batch.stand))
        return []


class NoLedger(LedgerFile):
    """Writes no begin marks."""

    def begin(self, message_id: bytes, attempt: int) -> None:
        """Write nothing."""


class LedgerLosesOutcomes(LedgerFile):
    """Writes a confirmation where the outcome belongs, so that its mark is forgotten."""

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        """Write the wrong entry."""
        self.confirm([(message_id, attempt)])


class NeverFenced(Egress):
    """Answers for what it hasn't begun, but goes on with it."""

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Answer without raising the floor or dropping anything."""
        known = self._concluded.get((asked.message_id, asked.attempt))
        if known is not None:
            return known.outcome
        hand = self._hands.get(asked.message_id)
        if hand is not None and hand.state == "begun":
            return None
        return AttemptOutcome(asked.attempt, "unattempted", "not_begun")


# ---- the partition


class MarkNeverLowered(Partition):
    """Keeps the low-water mark of the agenda where it once was."""

    def _stand_at(self, key: bytes, place: Place | None) -> None:
        mark = self.agenda.mark
        super()._stand_at(key, place)
        self.agenda.mark = max(mark, self.agenda.mark)


class AppliedForgotten(Partition):
    """Decides a Tell whenever it comes."""

    def deliver(self, tell: TellOut, context: Context) -> bool:
        """Take any number for the next one."""
        self.meta.applied[tell.source] = tell.seq - 1
        return super().deliver(tell, context)


class SeenForgotten(Partition):
    """Doesn't write which inputs it has seen."""

    def arrive(self, arrival: Arrival, digest: bytes, *, seen: bool, context: Context) -> Verdict:
        """Decide, and forget that."""
        verdict = super().arrive(arrival, digest, seen=seen, context=context)
        self._seen.clear()
        return verdict

    def _weighed(self, *change: Any) -> Change:
        key, old, state, place = change[:4]
        return super()._weighed(key, old, state, place, b"")


class UnitNotUndone(Partition):
    """Keeps what a unit had decided before it failed."""

    def _decide_all(self, key: EntityKey, body: Any, context: Context, *more: Any) -> None:
        changed = more[0]
        try:
            super()._decide_all(key, body, context, *more)
        except StoreError:
            raise
        except Exception:
            self._merge([self._weighed(k, *one) for k, one in changed.items()])
            raise


class CountersForgotten(Partition):
    """Leaves the counters out of the batch of a tick that has records."""

    def _put_control(self, batch: Batch) -> None:
        self.tally.changed = self.tally.changed and not self._records
        super()._put_control(batch)


class ConfirmsUndecided(Partition):
    """Confirms Tells that it hasn't decided."""

    def deliver(self, tell: TellOut, context: Context) -> bool:
        """Confirm whatever comes."""
        super().deliver(tell, context)
        return True


class AdoptsNothing(Life):
    """Takes every mark of a dead egress for a message that was never begun."""

    def adopt_ledgers(self) -> set[int]:
        """Read the ledgers and forget their marks."""
        incarnations = super().adopt_ledgers()
        for ledger in self.adopted:
            ledger.in_doubt.clear()
        return incarnations


VARIANTS: dict[str, Plan] = {
    "acknowledged_before_the_sync": Plan(life=AcknowledgesEarly),
    "told_before_the_sync": Plan(life=TellsBeforeTheSync),
    "read_before_the_sync": Plan(life=ReadsBeforeTheSync),
    "no_epoch_check": Plan(store=NoEpochCheck),
    "no_ledger": Plan(ledger=NoLedger),
    "outcome_not_in_the_ledger": Plan(ledger=LedgerLosesOutcomes),
    "doubt_not_adopted": Plan(life=AdoptsNothing),
    "missing_ledger_trusted": Plan(life=TrustsMissingLedgers),
    "agenda_mark_not_lowered": Plan(host=_host_of(MarkNeverLowered)),
    "outbox_not_redelivered": Plan(life=ForgetsOutbox),
    "tell_confirmed_undecided": Plan(host=_host_of(ConfirmsUndecided)),
    "applied_number_forgotten": Plan(host=_host_of(AppliedForgotten)),
    "seen_id_not_written": Plan(host=_host_of(SeenForgotten)),
    "released_before_the_commit": Plan(host=ReleasesEarly, life=LifeThatReleasesEarly),
    "outcome_confirmed_before_the_commit": Plan(life=ConfirmsEarly),
    "floor_ignored": Plan(egress=NeverFenced),
    "unit_not_undone": Plan(host=_host_of(UnitNotUndone)),
    "counters_not_in_the_batch": Plan(host=_host_of(CountersForgotten)),
}
"""By name: the production classes with one of them replaced."""
