"""The sweep: gives a turn to messages that marks concern, a few at a time, so that no sender waits.

It walks the rows of what is ready, due later and in hand; finished messages, the great majority, have none there. It
keeps no place on disk: after a crash it begins anew, and whom it has touched isn't concerned any more. A message that
moves while it walks looks at the marks itself, since only a decision moves it. One under way that a mark is to end or
move when it comes back keeps the marks in force: those in hand are walked again until none is left. Pure but for the
store that it reads.
"""

from __future__ import annotations

__all__ = ("Sweep", "key_of")

from collections import deque
from collections.abc import Iterable, Iterator

from deliverability.marks import DOUBT_QUEUE, SECTION, Marks, is_parked
from deliverability.message.queue_marks import awaits_marks, is_concerned
from deliverability.message.records import LOOK
from deliverability.message.state import MessageState
from engine.errors import StoreError
from engine.host import Host
from engine.keyspace import MESSAGE, EntityKey, kind_of, tenant_of
from engine.machine import CatalogView, Ready
from engine.partition import Partition
from engine.rows import AGENDA, HELD, READY, queue_prefix
from engine.store.protocol import partition_prefix
from engine.tick import Answer

_INDEXES = (READY, HELD, AGENDA)


class Sweep:
    """Walks a host's partitions. One worker has one; `begin` whenever marks are new."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._todo: deque[tuple[int, bytes, bytes]] = deque()  # partition, next row, end
        self._catalog: CatalogView | None = None
        self._known: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._awaited = False  # by some message in hand that was walked over
        self.swept: dict[str, int] = {}
        """By tenant, the newest mark that every message has looked at."""

    def begin(self, catalog: CatalogView, tenants: list[str]) -> None:
        """Look whether there are new marks; if so, walk everything (anew)."""
        self._catalog = catalog
        newest = {
            tenant: marks.newest for tenant in tenants if (marks := self._marks(tenant)) is not None
        }
        if newest == self._known:
            return
        self._known = newest
        self._under_way = newest
        self._walk(_INDEXES)

    def took(self, numbers: Iterable[int]) -> None:
        """Hear of partitions that came from another worker: it may not have walked them to the end.

        Marks that every message has looked at go, so this says again that some haven't.
        """
        if self._known:
            self.swept = {}
            self._todo += _rows_of(numbers, _INDEXES)

    def _walk(self, indexes: Iterable[bytes]) -> None:
        self._awaited = False
        self._todo = deque(_rows_of(self._host.partitions, indexes))

    @property
    def under_way(self) -> bool:
        """Whether there is more to walk."""
        return bool(self._todo)

    def step(self, limit: int) -> list[Answer]:
        """Walk up to `limit` rows. Returns inputs for messages that a mark concerns; give them before the next step.

        What was found is only settled when those inputs are durable: `settled` says so.
        """
        answers: list[Answer] = []
        while limit > 0 and self._todo:
            number, start, end = self._todo.popleft()
            if number not in self._host.partitions:
                continue  # it went to another worker, who walks it anew
            rows = self._host.store.scan(start, end, limit)
            for row, _ in rows:
                answer = self._look(EntityKey(key_of(row)))
                if answer is not None:
                    answers.append(answer)
            if len(rows) == limit:
                self._todo.appendleft((number, rows[-1][0] + b"\0", end))
            limit -= max(len(rows), 1)
        return answers

    def settled(self) -> None:
        """Hear that all inputs given are durable."""
        if self._todo:
            return
        if self._awaited:
            self._walk((HELD,))
        else:
            self.swept = self._under_way

    def again(self) -> None:
        """Begin anew: inputs that were given may be lost."""
        self._known = {}

    def expired(self, now: int, limit: int) -> list[Answer]:
        """Give a turn to suspended messages whose time is over; they stand in the order of their expiry."""
        answers: list[Answer] = []
        for partition in self._host.partitions.values():
            for queue in [name for name in partition.ready if is_parked(name)]:
                answers += self._expired_of(partition, queue, now, limit - len(answers))
        return answers

    def _expired_of(
        self, partition: Partition, queue: bytes, now: int, limit: int
    ) -> Iterator[Answer]:
        window = partition.ready[queue]
        while limit > 0 and (first := window.first()) is not None and first <= now:
            entry = window.pop(self._host.store, now)
            if entry is None:
                return
            key = EntityKey(entry[1])
            try:
                state, place = self._host.entry(key)
            except StoreError:  # it has its turn when the store answers again
                window.add(*entry)
                return
            if isinstance(place, Ready) and place.queue == queue and place.order == entry[0]:
                limit -= 1
                yield Answer(key, LOOK, (EntityKey(state.send.contact),))

    def doubtful(self, limit: int) -> list[tuple[EntityKey, MessageState]]:
        """List messages that are held in doubt, by partition and time."""
        found: list[tuple[EntityKey, MessageState]] = []
        for number in sorted(self._host.partitions):
            start = partition_prefix(number) + READY + queue_prefix(DOUBT_QUEUE)
            for row, _ in self._host.store.scan(start, start + b"\xff" * 9, limit - len(found)):
                key = EntityKey(key_of(row))
                state = self._host.entry(key)[0]
                if isinstance(state, MessageState) and state.status == "in_doubt":
                    found.append((key, state))
            if len(found) >= limit:
                break
        return found

    def _look(self, key: EntityKey) -> Answer | None:
        if kind_of(key) != MESSAGE:
            return None
        marks = self._marks(tenant_of(key))
        if marks is None:
            return None
        state = self._host.entry(key)[0]
        if not isinstance(state, MessageState):
            return None
        self._awaited = self._awaited or awaits_marks(state, marks)
        if not is_concerned(state, marks):
            return None
        return Answer(key, LOOK, (EntityKey(state.send.contact),))

    def _marks(self, tenant: str) -> Marks | None:
        found = None if self._catalog is None else self._catalog.find(SECTION, tenant, "marks")
        return found if isinstance(found, Marks) else None


def _rows_of(numbers: Iterable[int], indexes: Iterable[bytes]) -> list[tuple[int, bytes, bytes]]:
    """Name what is to be walked: partition, first row, end."""
    return [
        (number, partition_prefix(number) + index, partition_prefix(number) + _after(index))
        for number in numbers
        for index in indexes
    ]


def _after(index: bytes) -> bytes:
    return bytes((index[0] + 1,))


def key_of(row: bytes) -> bytes:
    """Take the entity's key from an index row: behind a time, or behind a name and (of a queue) an order."""
    if row[2] == AGENDA[0]:
        return row[11:]
    cut = 4 + row[3]
    return row[cut + 8 :] if row[2] == READY[0] else row[cut:]
