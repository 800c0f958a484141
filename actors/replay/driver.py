"""Runs time from a log: events are admitted at their time, timers fire at theirs, mail is really sent in between.

Log time passes t only when nothing is due at or before t and every message handed over has its outcome. At one
time: timers, with their Tells and outcomes; then all events of that time in file order; then one barrier for
theirs. Workers are asked one by one only when they have something to do at a time. A worker that died is waited
for, and asked again: input ids make it harmless. DESIGN §4, "In a replay".
"""

from __future__ import annotations

__all__ = ("Driver", "arrivals_of")

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Protocol

import structlog

from actors.cluster.calls import WorkerLostError
from actors.cluster.handle import WorkerHandle
from actors.cluster.running import Cluster
from actors.replay.rows import LogRow
from actors.worker.wire import Arriving, WireArrival, WorkerStatus
from engine.errors import CapacityError
from engine.keyspace import Keyspace, contact_key
from engine.vocabulary import ContactPut

log = structlog.get_logger()

BATCH = 2000  # inputs of one time given to a worker at once
REMEMBERED_MAX = 2_000_000  # contacts whose last attributes and consents are known by hash


class Clock(Protocol):
    """A clock that can be set: the twin's."""

    def set(self, now_ms: int) -> None:
        """Set the time."""


class Driver:
    """Drives one replay.

    Args:
        cluster: started, with workers in log time.
        keyspace: places contacts.
        clock: is set to log time before anything happens at it.
        tenant: whose contacts these are.
        begin: log time of the first event, ms.
        progress: called after each step of time with log time and the newest statuses.
    """

    def __init__(
        self,
        cluster: Cluster,
        keyspace: Keyspace,
        clock: Clock,
        tenant: str,
        progress: Callable[[int, list[WorkerStatus], int], None],
        begin: int = 0,
    ) -> None:
        self._cluster = cluster
        self._keyspace = keyspace
        self._clock = clock
        self._tenant = tenant
        self._progress = progress
        self._statuses: dict[int, WorkerStatus] = {}
        self._known: dict[bytes, bytes] = {}
        self.events = 0
        self.steps = 0
        self.now = begin

    async def run(self, instants: Iterator[tuple[int, list[LogRow]]]) -> None:
        """Replay everything, then let time go on until nothing is due."""
        for at, rows in instants:
            await self._timers_until(at)
            await self._admit(at, rows)
        await self._timers_until(None)

    @property
    def statuses(self) -> list[WorkerStatus]:
        """The newest status of each worker, by number."""
        return [self._statuses[index] for index in sorted(self._statuses)]

    async def _timers_until(self, until: int | None) -> None:
        """Pass all times at which timers are due, up to and including `until`."""
        if not self._statuses:
            await self._all(self.now, lambda _worker: [])
        while True:
            due = [s.next_due for s in self._statuses.values() if s.next_due is not None]
            first = min(due, default=None)
            if first is None or (until is not None and first > until):
                return
            now = max(first, self.now)
            busy = {
                s.index
                for s in self._statuses.values()
                if s.next_due is not None and s.next_due <= now
            }
            await self._all(now, lambda _worker: [], busy)

    async def _admit(self, at: int, rows: list[LogRow]) -> None:
        """Admit the events of one time, in file order for each contact."""
        by_worker: dict[int, list[WireArrival]] = {}
        workers = len(self._cluster.workers)
        for row in rows:
            place = by_worker.setdefault(
                self._keyspace.partition(contact_key(self._tenant, row.contact)) % workers, []
            )
            place += self._fresh_arrivals(row)
        self.events += len(rows)
        await self._all(at, lambda worker: by_worker.get(worker, []), set(by_worker))

    def _fresh_arrivals(self, row: LogRow) -> list[WireArrival]:
        """Give a row's inputs; what it says of its contact only when the last row said something else."""
        key = contact_key(self._tenant, row.contact)
        consents = [
            (one.topic, one.granted, one.source) for one in row.consents
        ]  # each row has its own time
        said = blake2b(repr((row.attributes, consents)).encode(), digest_size=8).digest()
        known = self._known.get(key) == said
        if not known and len(self._known) < REMEMBERED_MAX:
            self._known[key] = said
        return arrivals_of(self._tenant, row, event_only=known)

    async def _all(
        self, now: int, items: Callable[[int], list[WireArrival]], only: set[int] | None = None
    ) -> None:
        """Let workers pass to a time, all at once, and wait until they are quiet."""
        self.now = max(self.now, now)
        self._clock.set(self.now)
        workers = [w for w in self._cluster.workers if only is None or w.index in only]
        if len(workers) == 1:
            statuses = [await self._pass(workers[0], items(workers[0].index))]
        else:
            statuses = await asyncio.gather(*(self._pass(w, items(w.index)) for w in workers))
        for status in statuses:
            self._statuses[status.index] = status
        self.steps += 1
        self._progress(self.now, self.statuses, self.events)

    async def _pass(self, worker: WorkerHandle, items: list[WireArrival]) -> WorkerStatus:
        status: WorkerStatus | None = None
        batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)] or [[]]
        for batch in batches:
            status = await self._insist(worker, partial(worker.pass_time, self.now, batch))
        assert status is not None, "there is always one batch"
        return status

    async def _insist(
        self, worker: WorkerHandle, call: Callable[[], Awaitable[WorkerStatus]]
    ) -> WorkerStatus:
        """Call until it is answered: a dead worker comes back, an overloaded one gets through its work."""
        while True:
            try:
                return await call()
            except WorkerLostError as error:
                log.warning("worker_lost", worker=worker.index, error=str(error))
                await self._cluster.revive(worker)
            except CapacityError as error:
                await asyncio.sleep(error.retry_after_s)


def arrivals_of(tenant: str, row: LogRow, *, event_only: bool = False) -> list[WireArrival]:
    """Make the inputs of one row: what it says of its contact, then the event. Ids derive from the row's."""
    key = contact_key(tenant, row.contact)
    made: list[WireArrival] = []

    def add(body: Arriving, suffix: bytes) -> None:
        made.append(WireArrival(key, body, row.input_id + suffix, historical=True))

    if not event_only:
        if row.attributes:
            add(ContactPut(row.attributes), b"put")
        for consent in row.consents:
            add(consent, b"consent" + consent.topic.encode())
    add(row.event, b"")
    return made
