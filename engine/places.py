"""Where the entities of a partition stand: windows over its agenda, its ready queues and what is finished."""

from __future__ import annotations

__all__ = ("Places",)

from collections.abc import Callable

from engine.machine import At, Place, Ready, Retired
from engine.rows import AGENDA, READY, RETIRED, queue_prefix
from engine.store.protocol import Store
from engine.window import Window


class Places:
    """The indexes of one partition.

    Args:
        prefix: leads the partition's rows.
        store: what they lie in.
        agenda_mark, retired_mark: the lowest times that rows on disk may have.
        fresh: nothing was ever written.
        heard: called with a ready queue and an order (a lower bound) when something comes to stand there.
    """

    __slots__ = ("_heard", "_prefix", "_store", "agenda", "ready", "retired")

    def __init__(
        self,
        prefix: bytes,
        store: Store,
        agenda_mark: int,
        retired_mark: int,
        *,
        fresh: bool,
        heard: Callable[[bytes, int], None],
    ) -> None:
        self._prefix = prefix
        self._store = store
        self._heard = heard
        self.agenda = Window(prefix + AGENDA, agenda_mark, empty=fresh)
        self.retired = Window(prefix + RETIRED, retired_mark, empty=fresh)
        self.ready: dict[bytes, Window] = {queue: self._queue(queue) for queue in self._queues()}
        for queue in self.ready:
            heard(queue, 0)

    def stand_at(self, key: bytes, place: Place | None) -> None:
        """Say that an entity came to stand at a place, in the tick under way."""
        if type(place) is At:
            self.agenda.add(place.due, key)
        elif type(place) is Ready:
            queue = place.queue
            window = self.ready.get(queue)
            if window is None:
                window = self.ready[queue] = self._queue(queue, empty=True)
            window.add(place.order, key)
            self._heard(queue, place.order)
        elif type(place) is Retired:
            self.retired.add(place.until, key)

    def settled(self) -> None:
        """Say that the tick was committed; queues in which nothing is left are forgotten."""
        self.agenda.settled()
        self.retired.settled()
        for queue, window in list(self.ready.items()):
            window.settled()
            if window.first() is None:
                del self.ready[queue]

    def _queue(self, queue: bytes, *, empty: bool = False) -> Window:
        return Window(self._prefix + READY + queue_prefix(queue), empty=empty)

    def _queues(self) -> list[bytes]:
        """Find the ready queues that have rows, skipping from one to the next."""
        start = self._prefix + READY
        end = self._prefix + bytes((READY[0] + 1,))
        found = []
        while rows := self._store.scan(start, end, 1):
            row = rows[0][0][3:]
            queue = row[1 : 1 + row[0]]
            found.append(queue)
            start = self._prefix + READY + queue_prefix(queue) + b"\xff" * 9
        return found
