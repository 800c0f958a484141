"""A worker's side of a run: look at some contacts of its partitions, give inputs to those whom the aim is about.

A question names where to go on in each partition; the answer names what remains. A chunk is bounded by rows looked at
and by inputs given, so that it stands between two ticks for some milliseconds at most. Contacts are read as of the last
commit. Asking again is harmless: a contact that was given the run's input takes it once.
"""

from __future__ import annotations

__all__ = ("Places", "WalkAnswer", "WalkQuestion", "Walks")

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors.planning.aims import Aim, Bid, bidder
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import CONTACT, EntityKey, tenant_of
from engine.rows import ENTITY
from engine.store.protocol import partition_prefix
from scenarios.state import Contact

_SCAN: Final = 250
_MEMO_MAX: Final = 8

Places = list[tuple[int, bytes]]
"""Where to go on: partition, and the last key looked at (empty: from its beginning)."""


class WalkQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Look at up to `rows` entities behind the places; give up to `inputs` inputs."""

    aim: Aim
    run: str
    tenant: str
    places: Places
    rows: int = 1000
    inputs: int = 500


class WalkAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What remains, how many contacts were looked at and given an input, what was counted.

    `retry_after_s` > 0: the worker is overloaded, and nothing was given.
    """

    places: Places
    looked: int = 0
    given: int = 0
    counts: dict[str, int] = {}
    retry_after_s: float = 0.0


class Walks:
    """Looks at contacts of one host. Keeps what aims have compiled."""

    def __init__(self) -> None:
        self._memo: dict[tuple[bytes, int], Callable[[EntityKey, Contact], Bid]] = {}

    def look(
        self, host: Host, question: WalkQuestion, now: int
    ) -> tuple[WalkAnswer, list[Arrival]]:
        """Look at a chunk of contacts; the arrivals are what to give them."""
        bid = self._bidder(host, question, now)
        machines = host.machines
        counts: Counter[str] = Counter()
        given: list[Arrival] = []
        looked = rows = 0
        remaining = list(question.places)
        input_id = question.run.encode()
        while remaining and rows < question.rows and len(given) < question.inputs:
            partition, after = remaining[0]
            prefix = partition_prefix(partition) + ENTITY
            end = partition_prefix(partition) + bytes((ENTITY[0] + 1,))
            start = prefix + after + b"\0" if after else prefix
            found = host.store.scan(start, end, min(_SCAN, question.rows - rows))
            rows += len(found)
            for row, raw in found:
                key = EntityKey(row[len(prefix) :])
                if key[4] != CONTACT or tenant_of(key) != question.tenant:
                    continue
                state: Any = machines.read(key, raw)[0]
                if state.erased_at:
                    continue
                looked += 1
                body, labels = bid(key, state)
                counts.update(labels)
                if body is not None:
                    given.append(Arrival(key, body, input_id))
            if found:
                remaining[0] = (partition, found[-1][0][len(prefix) :])
            else:
                remaining.pop(0)
        return WalkAnswer(remaining, looked, len(given), dict(counts)), given

    def _bidder(
        self, host: Host, question: WalkQuestion, now: int
    ) -> Callable[[EntityKey, Contact], Bid]:
        """Make the aim's function, once for each aim and version of the catalog."""
        memo = (
            msgspec.msgpack.encode((question.aim, question.run, question.tenant)),
            host.catalog.version,
        )
        found = self._memo.get(memo)
        if found is None:
            found = bidder(question.aim, question.run, question.tenant, host.catalog, now)
            if len(self._memo) >= _MEMO_MAX:
                self._memo.pop(next(iter(self._memo)))
            self._memo[memo] = found
        return found
