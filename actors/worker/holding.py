"""Partitions that come and go: what a worker does about the orders of the controller, between its ticks.

Letting go of a partition: nothing more is handed over of it, what is in hand gets its outcome, the partition leaves
with the tick that made the last of it durable. Taking one: its epoch is raised in the store, what a former holder had
in hand is looked up in that holder's ledger, its Tells go on their way. A ledger whose writer lives is waited for;
after `egress_lost_after_s` what it held is in doubt. A worker that finds itself fenced ends (`Worker._tick`): its
ledger then tells its successors the truth.
"""

from __future__ import annotations

__all__ = ("Holding", "Placed", "clear_old_ledgers")

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from actors.worker.assembly import Assembly, ledgers_of
from actors.worker.egress_port import LocalEgress
from actors.worker.recovery import held_in, of_former
from deliverability.egress import Asked
from deliverability.message.records import AttemptOutcome
from deliverability.message.state import MessageState
from deliverability.transport.ledger import Adopted, adopt
from engine.errors import RefusedError
from engine.keyspace import EntityKey, name_of
from engine.placement.steward import Orders, Report, Table
from engine.placement.tenure import Tenure
from engine.tick import Answer

log = structlog.get_logger()

BEAT_S = 0.25
HASTY_BEAT_S = 0.02
"""Between two reports while something of ours is in motion."""

LOOK_AGAIN_S = 0.5
DAY_S = 86_400


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """The controller's answer to a report: orders, and the table when it is a newer one."""

    orders: Orders | None
    table: Table | None = None


class _Pending(msgspec.Struct):
    """A message whose former holder may still live."""

    key: EntityKey
    state: MessageState
    holder: bytes
    until: float


class Holding:
    """The partitions of one life of a worker. Drive it from the worker's loop, between ticks.

    Args:
        index: the worker's number.
        parts: what it is made of.
        data_dir: where ledgers lie.
        lost_after_s: how long a ledger whose writer lives is waited for.
        clock: monotonic, s.
    """

    def __init__(
        self,
        index: int,
        parts: Assembly,
        data_dir: Path,
        lost_after_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._data = data_dir
        self._lost_after_s = lost_after_s
        self._clock = clock
        self.name = f"w{index}"
        self.tenure = Tenure(self.name, parts.egress.incarnation)
        self.table = Table(0, [])
        self._ours: set[int] = set()  # by the table
        self.leaving = False
        self.answers: list[Answer] = []
        """Fates that were found for messages of partitions just taken; the worker takes them."""
        self.fresh: list[int] = []
        """Partitions just taken, whose Tells are to be sent."""
        self._pending: list[_Pending] = []
        self._look_at = 0.0
        self._decided: dict[int, int] = {}

    # ---- reports and orders

    def report(self) -> Report:
        """Say what is held."""
        return self.tenure.report(self._load(), leaving=self.leaving)

    def hear(self, placed: Placed) -> None:
        """Follow the controller's answer."""
        if placed.table is not None and placed.table.version >= self.table.version:
            self.table = placed.table
            owners = enumerate(placed.table.owners)
            self._ours = {number for number, owner in owners if owner == self.name}
        if placed.orders is not None:
            self.tenure.hear(placed.orders)

    def owner(self, partition: int) -> int | None:
        """Give the number of the worker that owns a partition, as far as known here."""
        owners = self.table.owners
        name = owners[partition] if partition < len(owners) else ""
        return int(name[1:]) if name else None

    @property
    def incomplete(self) -> bool:
        """Whether something that is ours by the table isn't here."""
        return not self._ours <= self.tenure.holds

    def coming(self, partitions: set[int]) -> bool:
        """Whether one of these is ours by the table, and on its way here."""
        return bool((partitions & self._ours) - self.tenure.holds)

    @property
    def beat_s(self) -> float:
        """Tell how long until the next report."""
        tenure = self.tenure
        motion = tenure.releasing or tenure.taking or self._ours != tenure.holds
        return HASTY_BEAT_S if motion else BEAT_S

    # ---- between ticks

    def step(self) -> bool:
        """Take what is to be taken, let go of what can be. Returns whether something changed.

        Raises: StoreError.
        """
        tenure, host = self.tenure, self._parts.host
        changed = False
        if tenure.taking:
            claimed = host.take(sorted(tenure.taking))
            tenure.took(claimed)
            self.fresh += claimed
            self._resolve(claimed)
            changed = bool(claimed)
        host.freeze(set(tenure.releasing))
        if tenure.releasing:
            gone = tenure.releasing - self._busy()
            host.give(gone)
            tenure.lost(gone)
            changed = changed or bool(gone)
        if self._pending and self._clock() >= self._look_at:
            self._look_again()
        return changed

    def recovered(self) -> None:
        """After a failed commit: what was found and not made durable is looked for again."""
        self._pending = []
        self.answers = []
        numbers = list(self._parts.host.partitions)
        mine = self._parts.egress.incarnation
        for epoch, _, key, state in held_in(self._parts, frozenset(numbers)):
            if _life_of(state) == mine:
                asked = Asked(name_of(key), state.attempt)
                outcome = self._parts.egress.fate(asked, epoch, fence=False)
                if outcome is not None:
                    touched = (EntityKey(state.send.contact),)
                    self.answers.append(Answer(key, outcome, touched))
        self._resolve(numbers)

    def _busy(self) -> set[int]:
        """Name the partitions of which something is in hand, or has an outcome that isn't durable."""
        egress = self._parts.egress
        assert isinstance(egress, LocalEgress), (
            "partitions move between workers that send themselves"
        )
        number_of = self._parts.host.keyspace.partition
        waiting = {number_of(one.key) for one in self._pending}
        return waiting | {number_of(message_id) for message_id in egress.message_ids()}

    def _load(self) -> dict[int, float]:
        """Tell how much each partition did since the last report: rows of records are written by each commit."""
        load = {}
        for number, partition in self._parts.host.partitions.items():
            seq = partition.stand.seq
            load[number] = float(seq - self._decided.get(number, seq))
            self._decided[number] = seq
        return load

    # ---- what former holders had in hand

    def _resolve(self, numbers: Sequence[int]) -> None:
        until = self._clock() + self._lost_after_s
        for _, holder, key, state in held_in(self._parts, frozenset(numbers)):
            if _life_of(state) != self._parts.egress.incarnation:
                self._pending.append(_Pending(key, state, holder, until))
        if self._pending:
            self._look_again()

    def _look_again(self) -> None:
        """Look into the ledgers of former holders; those whose writers live come later."""
        self._look_at = self._clock() + LOOK_AGAIN_S
        ledgers = {
            holder: self._ledgers(holder) for holder in {one.holder for one in self._pending}
        }
        now = self._clock()
        left = []
        for one in self._pending:
            outcome = self._fate(one, *ledgers[one.holder], late=now >= one.until)
            if outcome is None:
                left.append(one)
                continue
            self.answers.append(Answer(one.key, outcome, (EntityKey(one.state.send.contact),)))
        self._pending = left

    def _ledgers(self, holder: bytes) -> tuple[list[Adopted], set[int]]:
        """Read what can be read of a holder's ledgers. Returns them, and the lives whose writers live."""
        adopted, living = [], set()
        for path in ledgers_of(self._data, holder.decode()):
            try:
                adopted.append(adopt(path))
            except RefusedError:
                living.add(_life(path))
            except FileNotFoundError:
                continue
        return adopted, living

    @staticmethod
    def _fate(
        one: _Pending, adopted: list[Adopted], living: set[int], *, late: bool
    ) -> AttemptOutcome | None:
        attempt = one.state.attempt
        outcome = of_former(adopted, name_of(one.key), attempt)
        if outcome is not None:
            return outcome
        life = _life_of(one.state)
        if life in {_life(Path(ledger.path)) for ledger in adopted if not ledger.damaged}:
            return AttemptOutcome(attempt, "unattempted", "egress_died")
        if life in living and not late:
            return None
        return AttemptOutcome(
            attempt, "in_doubt", "egress_lost" if life in living else "ledger_lost"
        )


def clear_old_ledgers(data_dir: Path, kept_s: float) -> None:
    """Remove ledgers that nothing can be asked of any more: no message lives so long."""
    for path in (data_dir / "ledgers").glob("w*.ledger"):
        try:
            if path.stat().st_mtime + kept_s < time.time():
                adopt(path)
                path.unlink(missing_ok=True)
        except (RefusedError, FileNotFoundError):
            continue


def _life_of(state: MessageState) -> int:
    """Tell which life of an egress has a message in hand."""
    return state.credit.credit.incarnation if state.credit is not None else 0


def _life(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
