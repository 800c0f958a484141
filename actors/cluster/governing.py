"""The governor beside the controller: one book of leases, whose epoch and known lives outlive it in a file.

`governor.json` in the data directory is written before the first answer to a life that it doesn't name yet, and when a
new governor begins. Nothing of a lease itself is written: a new governor waits a term instead.

A life that isn't heard of any more may still use what it was promised, its connections for half an hour. Nobody begins
another under its name where a node is lost for good, so the governor looks itself: the ledger of a life is locked as
long as its process lives, on whichever node.
"""

from __future__ import annotations

__all__ = ("SILENT_MS", "GoverningDesk", "budgets_of", "ledger_unlocked")

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import structlog

from actors.cluster.views import Use
from deliverability.governor import Limit
from deliverability.leasing.book import Book
from deliverability.leasing.terms import Answer, Ask, Budget, Life
from deliverability.transport.ledger import ledger_path, writer_lives
from engine.errors import StoreError
from engine.store.catalog_files import write_durably

log = structlog.get_logger()

SILENT_MS = 1000
"""A life asks four times as often; one that doesn't is looked after, and again so long after that."""


class _Kept(msgspec.Struct, frozen=True):
    """What is written down. `run`: lives of another run of the instance are dead."""

    epoch: int
    run: int
    lives: list[Life]


class GoverningDesk:
    """The book of one governor's life.

    Args:
        folder: the data directory.
        run: names this run of the instance.
        budget_of: gives what a budget's name stands for.
        mono_ms: the monotonic clock.
        is_over: tells whether a life of a holder (its name, its incarnation) is over for certain.

    Raises: StoreError: what a former life wrote can't be read.
    """

    def __init__(
        self,
        folder: Path,
        run: int,
        budget_of: Callable[[str], Budget],
        mono_ms: Callable[[], int],
        is_over: Callable[[str, int], bool],
    ) -> None:
        self._is_over = is_over
        self._look_at = 0
        self._path = folder / "governor.json"
        self._mono_ms = mono_ms
        self._budget_of = budget_of
        self._run = run
        kept = self._read()
        former = kept.lives if kept is not None and kept.run == run else []
        self._epoch = kept.epoch + 1 if kept is not None else 1
        self._book = Book(budget_of, self._epoch, mono_ms(), former)
        self._written: list[Life] = list(former)
        self._write()

    def ask(self, ask: Ask) -> Answer | None:
        """Answer a holder; what it must be remembered by is durable first."""
        now = self._mono_ms()
        self._look(now)
        answer = self._book.ask(ask, now)
        self._remember()
        return answer

    def begins(self, holder: str, incarnation: int) -> None:
        """Hear that a holder begins a life: who restarts it does so when the former is dead."""
        for life in self._book.lives():
            if life.holder == holder and life.incarnation != incarnation:
                self._book.died(life.holder, life.incarnation)
        self._remember()

    def ended(self, holder: str) -> None:
        """Hear that a holder has gone for good: what it was promised is free again."""
        for life in self._book.lives():
            if life.holder == holder:
                self._book.died(life.holder, life.incarnation)
        self._remember()

    def _look(self, now: int) -> None:
        """Free what lives had that are over without anybody having said so."""
        if now < self._look_at:
            return
        self._look_at = now + SILENT_MS
        for holder, incarnation in self._book.silent(now, SILENT_MS):
            if self._is_over(holder, incarnation):
                self._book.died(holder, incarnation)
                log.info("leases_freed", holder=holder, incarnation=incarnation)

    def uses(self) -> list[Use]:
        """Tell how much of each budget is promised."""
        now = self._mono_ms()
        found = []
        for key in self._book.keys:
            connections, per_minute = self._book.used(key, now)
            budget = self._budget_of(key)
            found.append(Use(key, connections, budget.connections, per_minute, budget.per_minute))
        return found

    def _remember(self) -> None:
        lives = self._book.lives()
        if lives != self._written:
            self._written = lives
            self._write()

    def _write(self) -> None:
        kept = _Kept(self._epoch, self._run, self._written)
        write_durably(self._path, msgspec.json.encode(kept))

    def _read(self) -> _Kept | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise StoreError(f"{self._path}: {error}") from error


def ledger_unlocked(folder: Path) -> Callable[[str, int], bool]:
    """Give what tells by the ledgers of a data directory whether a life is over: its process had it locked."""

    def is_over(holder: str, incarnation: int) -> bool:
        return not writer_lives(ledger_path(folder, holder, incarnation))

    return is_over


def budgets_of(limits: Sequence[Limit]) -> Callable[[str], Budget]:
    """Give what the budget of a route `pool/domain` is: the first limit that fits the domain."""

    def budget_of(key: str) -> Budget:
        domain = key.rpartition("/")[2]
        limit = next((one for one in limits if fnmatchcase(domain, one.domain)), Limit())
        return Budget(limit.connections, limit.messages_per_minute, limit.burst)

    return budget_of
