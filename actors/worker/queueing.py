"""The queues of one worker: the sweep that marks need, and questions about what waits.

Everything here walks rows in short steps between which the loop turns, and gives inputs to the ticks like anybody else,
so that no sender waits for it.
"""

from __future__ import annotations

__all__ = ("Queueing",)

import asyncio
from collections import Counter
from collections.abc import Callable
from heapq import heappush, heappushpop

import structlog

from actors.queues import DoubtView, QueueLine, SampleView
from actors.worker import wire
from deliverability.marks import DOUBT_QUEUE, Selection, is_parked
from deliverability.message.state import MessageState
from deliverability.sweep import Sweep, key_of
from engine.errors import StoreError
from engine.host import Host
from engine.keyspace import MESSAGE, EntityKey, kind_of, name_of, tenant_of
from engine.machine import CatalogView
from engine.rows import AGENDA, HELD, READY
from engine.store.protocol import partition_prefix
from engine.tick import Answer

log = structlog.get_logger()

STEP_ROWS = 200  # about 2 ms of the loop
REST = 4.0  # times as long as a step took, the sweep rests: a fifth of the loop at most
REST_MIN_S = 0.001
LOOK_S = 1.0  # between looks at suspended messages whose time is over
EXPIRED_MAX = 500
COUNTED_MAX = 10_000  # messages of one queue and partition that a listing counts
SAMPLES_MAX = 10  # of a short queue, looked at for when they expire; of a longer one, one each step
SAMPLES = 20
_INDEXES = (READY, HELD, AGENDA)


class Queueing:
    """Keeps the queues of a worker.

    Args:
        host: the partitions.
        tenants: whose marks are looked at.
        now: the time of inputs, ms.
        give: gives inputs to the next tick.
    """

    def __init__(
        self,
        host: Host,
        tenants: list[str],
        now: Callable[[], int],
        give: Callable[[list[Answer]], None],
    ) -> None:
        self._host = host
        self._tenants = tenants
        self._now = now
        self._give = give
        self._sweep = Sweep(host)
        self._news = asyncio.Event()
        self._ticked = asyncio.Event()
        self._taken = False  # whether the tick under way has what was given
        self._catalog: CatalogView | None = None

    @property
    def swept(self) -> dict[str, int]:
        """By tenant, the newest mark that every message of this worker has looked at."""
        return self._sweep.swept

    def look(self, catalog: CatalogView) -> None:
        """Hear of a catalog: of new marks, if it has some."""
        self._catalog = catalog
        self._sweep.begin(catalog, self._tenants)
        if self._sweep.under_way:
            self._news.set()

    def decide(self) -> None:
        """Hear that a tick takes what was given; what is given while it is being synced waits for the next."""
        self._taken = not self._ticked.is_set()

    def ticked(self) -> None:
        """Hear that a tick is durable."""
        if self._taken:
            self._ticked.set()

    def again(self, catalog: CatalogView) -> None:
        """Hear that a tick was lost, and with it perhaps what it was given."""
        self._sweep.again()
        self.look(catalog)
        self._ticked.set()  # no tick decides it any more

    def took(self, numbers: list[int]) -> None:
        """Hear of partitions that came from another worker."""
        self._sweep.took(numbers)
        if self._sweep.under_way:
            self._news.set()

    async def run(self) -> None:
        """Walk while there is something to walk; look after suspended messages now and then. Until cancelled."""
        while True:
            try:
                await self._walk()
            except StoreError as error:
                log.warning("sweep_interrupted", error=str(error))
            except Exception:
                log.critical("sweep_failed", exc_info=True)
            await asyncio.sleep(LOOK_S)
            self._sweep.again()  # where it stood isn't known
            if self._catalog is not None:
                self.look(self._catalog)

    async def _walk(self) -> None:
        """Until cancelled. Raises: StoreError."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            if not self._sweep.under_way:
                self._news.clear()
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._news.wait()
                except TimeoutError:
                    pass
            began = loop.time()
            found = self._sweep.step(STEP_ROWS) if self._sweep.under_way else []
            if began - looked >= LOOK_S:
                looked = began
                found += self._sweep.expired(self._now(), EXPIRED_MAX)
            took = loop.time() - began
            if found:
                self._ticked.clear()
                self._give(found)
                await self._ticked.wait()
            self._sweep.settled()
            await asyncio.sleep(max(took * REST, REST_MIN_S))

    async def lines(self, tenant: str) -> list[QueueLine]:
        """List a tenant's ready and suspended queues, added up over the partitions."""
        totals: dict[tuple[int, str, str, bool], tuple[int, bool, int]] = {}
        sampled: dict[tuple[int, str, str, bool], list[tuple[float, int]]] = {}
        for number in list(self._host.partitions):
            partition = self._host.partitions.get(number)
            for queue in list(partition.ready) if partition is not None else ():
                told = _told_queue(queue)
                if told is None or told[1] != tenant:
                    continue
                count, more, oldest, samples = await self._count(number, queue)
                if count:
                    sampled.setdefault(told[0], []).extend(samples)
                    was = totals.get(told[0], (0, False, oldest))
                    totals[told[0]] = (was[0] + count, was[1] or more, min(was[2], oldest))
        return [
            QueueLine(
                tenant,
                message_class,
                pool,
                domain,
                "suspended" if waits else "ready",
                count,
                more,
                None if waits else oldest,
                samples=sampled[message_class, pool, domain, waits],
            )
            for (message_class, pool, domain, waits), (count, more, oldest) in sorted(
                totals.items()
            )
        ]

    async def _count(
        self, number: int, queue: bytes
    ) -> tuple[int, bool, int, list[tuple[float, int]]]:
        """Count the rows of a queue in a partition, up to a bound, and look at some of them.

        Returns: how many, whether there are more, since when the one that is next waits; and of some messages the
        share of the line before each, and when it expires.
        """
        seen: list[tuple[int, bytes]] = []
        start = partition_prefix(number) + READY + len(queue).to_bytes(1) + queue
        end, count, oldest = start + b"\xff" * 9, 0, 0
        while count < COUNTED_MAX and number in self._host.partitions:
            rows = self._host.store.scan(start, end, STEP_ROWS)
            if rows and not count:
                cut = 4 + rows[0][0][3]
                oldest = int.from_bytes(rows[0][0][cut : cut + 8])
                head = self._host.entry(EntityKey(key_of(rows[0][0])))[0]
                oldest += head.lead if isinstance(head, MessageState) else 0
            if rows:
                short = not count and len(rows) < STEP_ROWS
                places = (
                    range(0, len(rows), max(1, len(rows) // SAMPLES_MAX))
                    if short
                    else [len(rows) // 2]
                )
                seen += [(count + place, rows[place][0]) for place in places]
            count += len(rows)
            if len(rows) < STEP_ROWS:
                return count, False, oldest, self._expiring(seen, count)
            start = rows[-1][0] + b"\0"
            await asyncio.sleep(0)
        return count, True, oldest, self._expiring(seen, count)

    def _expiring(self, seen: list[tuple[int, bytes]], count: int) -> list[tuple[float, int]]:
        found = []
        for place, row in seen:
            state = self._host.entry(EntityKey(key_of(row)))[0]
            if isinstance(state, MessageState):
                found.append((place / count, state.expires))
        return found

    async def selected(
        self, tenant: str, selection: Selection, rows_max: int
    ) -> wire.SelectedAnswer:
        """Walk what is queued and tell what a selection meets."""
        states: Counter[str] = Counter()
        domains: Counter[str] = Counter()
        oldest: list[tuple[int, str, SampleView]] = []
        seen = 0
        for number in list(self._host.partitions):
            for index in _INDEXES:
                start = partition_prefix(number) + index
                end = partition_prefix(number) + bytes((index[0] + 1,))
                while number in self._host.partitions and (
                    rows := self._host.store.scan(start, end, STEP_ROWS)
                ):
                    start = rows[-1][0] + b"\0"
                    seen += len(rows)
                    for row, _ in rows:
                        self._meet(
                            EntityKey(key_of(row)), tenant, selection, states, domains, oldest
                        )
                    if seen >= rows_max:
                        return _selected(states, domains, oldest, seen, partial=True)
                    await asyncio.sleep(0)
        return _selected(states, domains, oldest, seen, partial=False)

    def _meet(
        self,
        key: EntityKey,
        tenant: str,
        selection: Selection,
        states: Counter[str],
        domains: Counter[str],
        oldest: list[tuple[int, str, SampleView]],
    ) -> None:
        if kind_of(key) != MESSAGE or tenant_of(key) != tenant:
            return
        state = self._host.entry(key)[0]
        if not isinstance(state, MessageState) or not selection.matches(state.send):
            return
        states[state.status] += 1
        send = state.send
        domains[send.domain] += 1
        name = name_of(key).hex()
        campaign = send.scenario or send.step
        sample = SampleView(
            name, state.status, send.domain, send.stream, campaign, send.due, state.attempt
        )
        entry = (-send.due, name, sample)
        if len(oldest) < SAMPLES:
            heappush(oldest, entry)
        else:
            heappushpop(oldest, entry)

    def doubtful(self, tenant: str, limit: int) -> wire.DoubtsAnswer:
        """List messages of a tenant that are held in doubt."""
        found = [
            _doubt(key, state)
            for key, state in self._sweep.doubtful(limit + 1)
            if tenant_of(key) == tenant
        ]
        return wire.DoubtsAnswer(found[:limit], more=len(found) > limit)


def _doubt(key: EntityKey, state: MessageState) -> DoubtView:
    last = state.story[-1] if state.story else None
    return DoubtView(
        name_of(key).hex(),
        name_of(state.send.contact).decode(),
        state.send.stream,
        state.send.domain,
        state.attempt,
        state.doubts,
        state.created,
        state.cancel,
        f"{last.what} {last.detail}".strip() if last else "",
    )


def _told_queue(queue: bytes) -> tuple[tuple[int, str, str, bool], str] | None:
    """Take a queue's name apart: class, pool, domain, whether it is suspended; and the tenant."""
    if queue == DOUBT_QUEUE:
        return None
    waits = is_parked(queue)
    lane, _, tenant = queue.removeprefix(b"\0").partition(b"\0")
    pool, _, domain = lane[1:].decode().partition("/")
    return (int(lane[:1]), pool, domain, waits), tenant.decode()


def _selected(
    states: Counter[str],
    domains: Counter[str],
    oldest: list[tuple[int, str, SampleView]],
    rows: int,
    *,
    partial: bool,
) -> wire.SelectedAnswer:
    samples = [sample for _, _, sample in sorted(oldest, reverse=True)]
    return wire.SelectedAnswer(dict(states), dict(domains.most_common(50)), samples, rows, partial)
