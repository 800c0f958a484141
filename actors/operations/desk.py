"""What operators ask of one worker, and what stops its intake: repairs, recount, room, a store that fails.

The worker owns one desk and drives it from its loop. While something is short or broken nothing new is taken and
nothing is handed over; outcomes of what was handed over are still written.
"""

from __future__ import annotations

__all__ = ("Desk",)

import asyncio
from collections import deque

import structlog

from actors.backend import QuarantineDetail
from actors.operations import quarantine
from actors.operations.blob_marks import Marking
from actors.operations.recounting import Recounting
from actors.operations.room import Room
from actors.worker import wire
from engine.errors import DamageError, StoreError
from engine.host import Host
from engine.tick import Repair, TickInputs

log = structlog.get_logger()

LOOKS_APART_S = 0.5


class Desk:
    """See the module."""

    def __init__(self, room: Room, worker: int) -> None:
        self.room = room
        self.recounting = Recounting()
        self.marking = Marking()
        self.damage: DamageError | None = None
        self.failures = 0  # commits that failed in this life
        self.failures_running = 0  # since the last that didn't
        self._failing = ""
        self._worker = worker
        self._asked: deque[asyncio.Future[str]] = deque()
        self._looked = float("-inf")

    # ---- what stops intake

    @property
    def trouble(self) -> str:
        """Why nothing new is taken; "" when it is."""
        if self.damage is not None:
            return f"its store is damaged: {self.damage}"
        return self._failing or self.room.short

    def look(self, now_s: float) -> bool:
        """Look at disk and memory, twice a second. Returns whether there is room again."""
        if now_s - self._looked < LOOKS_APART_S:
            return False
        self._looked = now_s
        before = self.room.short
        short = self.room.look()
        if short and not before:
            log.error("intake_stops", worker=self._worker, reason=short)
        elif before and not short:
            log.info("intake_goes_on", worker=self._worker)
        return bool(before) and not short

    def store_failed(self, error: StoreError) -> None:
        """Note a commit that failed."""
        self.failures += 1
        self.failures_running += 1
        self._failing = f"its store fails: {error}"
        log.error("store_failed", worker=self._worker, error=str(error))

    def store_opened(self) -> None:
        """Note that it could be opened again."""
        self._failing = ""

    def store_works(self) -> None:
        """Note a commit that didn't fail."""
        self.failures_running = 0

    def store_damaged(self, error: DamageError) -> None:
        """Note that what is stored can't be trusted: this worker decides nothing any more."""
        self.damage = error
        self.fail(error)
        log.critical("store_damaged", worker=self._worker, error=str(error))

    # ---- the quarantine

    def show(self, host: Host, question: wire.QuarantineQuestion) -> wire.QuarantineAnswer:
        """List inputs in quarantine, or show one."""
        if question.limit:
            after = (question.partition, question.number)
            return wire.QuarantineAnswer(quarantine.listed(host, after, question.limit))
        return wire.QuarantineAnswer([], self._detail(host, question))

    def _detail(self, host: Host, question: wire.QuarantineQuestion) -> QuarantineDetail | None:
        partition = host.partitions.get(question.partition)
        held = partition.quarantine.find(question.number) if partition is not None else None
        if partition is None or held is None:
            return None
        numbers = (question.partition, question.number)
        return quarantine.detail_of(partition.machines, *numbers, held)

    def ask(self, inputs: TickInputs, repair: Repair) -> asyncio.Future[str]:
        """Put a repair before the next tick."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        inputs.repairs.append(repair)
        self._asked.append(future)
        return future

    def told(self, repaired: list[str | None]) -> None:
        """Answer the repairs of a durable tick, in order."""
        for told in repaired:
            future = self._asked.popleft()
            if future.done():
                continue
            if told is None:
                future.set_exception(wire.NotMineError("this partition went to another worker"))
            else:
                future.set_result(told)

    def fail(self, error: StoreError) -> None:
        """Nobody knows whether the repairs that wait are durable: they may be asked for again."""
        for future in self._asked:
            if not future.done():
                future.set_exception(error)
        self._asked.clear()
