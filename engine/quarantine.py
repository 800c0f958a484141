"""The quarantine of one partition: inputs that raised, kept whole until somebody replays or drops them.

A row holds the input as its machine takes it. Replaying decides it again in the partition's own turn, and its row goes
in the same batch; one that raises again keeps its row, its first time and a new reason. What the input had stopped (a
wake, a hand-over) stays stopped until a replay succeeds or another input moves the entity on. A turn whose entity was
moved on is over: replaying it decides nothing and takes its row away.
"""

from __future__ import annotations

__all__ = ("NOT_THERE", "Quarantine", "Quarantined", "drop", "replay")

from typing import TYPE_CHECKING, Any

import msgspec

from engine.keyspace import EntityKey
from engine.machine import Context, Granted, Stuck, Wake
from engine.rows import QUARANTINE
from engine.store.protocol import Rows, Store

if TYPE_CHECKING:
    from engine.entities import Machines
    from engine.partition import Partition

NOT_THERE = "there is no such input in quarantine"
LIST = 1000


class Quarantined(msgspec.Struct, frozen=True, array_like=True):
    """An input that raised: when (ms), where from, for which entity, encoded as its machine takes it, and why."""

    at: int
    source: str
    key: bytes
    input_id: bytes
    body: bytes
    reason: str


class Quarantine:
    """The rows on disk, and what the tick under way does to them."""

    def __init__(self, prefix: bytes, store: Store) -> None:
        self._start = prefix + QUARANTINE
        self._end = prefix + bytes((QUARANTINE[0] + 1,))
        self._store = store
        self.reset()

    def reset(self) -> None:
        """Forget the tick under way."""
        self.puts: Rows = []
        self.deletes: list[bytes] = []
        self.replaying: tuple[int, int] | None = None  # number of the row, and its first time
        self._touched: set[int] = set()

    def put(self, number: int, held: Quarantined) -> None:
        """Keep an input under a number."""
        self.puts.append((self._start + number.to_bytes(8), _encode(held)))

    def take(self, number: int) -> Quarantined | None:
        """Give an input to be settled in this tick; None when there is none, or it was taken already."""
        held = None if number in self._touched else self.find(number)
        if held is not None:
            self._touched.add(number)
        return held

    def remove(self, number: int) -> None:
        """Let its row go with the tick."""
        self.deletes.append(self._start + number.to_bytes(8))

    def find(self, number: int) -> Quarantined | None:
        """Give one input, as of the last tick."""
        raw = self._store.get([self._start + number.to_bytes(8)])[0]
        return _HELD.decode(raw) if raw is not None else None

    def listed(self, after: int = 0, limit: int = LIST) -> list[tuple[int, Quarantined]]:
        """List inputs behind a number: (number, input)."""
        rows = self._store.scan(self._start + (after + 1).to_bytes(8), self._end, limit)
        return [(int.from_bytes(row[3:]), _HELD.decode(value)) for row, value in rows]


def replay(partition: Partition, number: int, context: Context) -> str:
    """Decide an input in quarantine again.

    Returns: "" when it was decided, else why it stays: there is no such input, or how it failed this time.
    """
    quarantine = partition.quarantine
    held = quarantine.take(number)
    if held is None:
        return NOT_THERE
    if _is_over(partition, held):
        _settle(partition, number, "quarantine_overtaken")
        return ""
    quarantine.replaying = (number, held.at)
    try:
        body = read_kept(partition.machines, held)
    except (msgspec.MsgspecError, LookupError) as error:
        partition.put_aside(EntityKey(held.key), held.body, held.source, held.input_id, error)
        fine = False
    else:
        fine = partition.unit(EntityKey(held.key), body, context, held.source, held.input_id)
    quarantine.replaying = None
    if not fine:
        return _HELD.decode(quarantine.puts[-1][1]).reason
    _settle(partition, number, "quarantine_replayed")
    return ""


def drop(partition: Partition, number: int) -> str:
    """Let go of an input; what it stopped stays as it is. Returns "" or why not."""
    if partition.quarantine.take(number) is None:
        return NOT_THERE
    _settle(partition, number, "quarantine_dropped")
    return ""


def read_kept(machines: Machines, held: Quarantined) -> Any:
    """Decode what was kept: one of the partition's own inputs, or one of the entity's machine.

    Raises: msgspec.MsgspecError, LookupError: nobody here takes it.
    """
    try:
        return _OWN.decode(held.body)
    except msgspec.MsgspecError:
        return machines.read_input(held.key, held.body)


def _is_over(partition: Partition, held: Quarantined) -> bool:
    """Whether it was an entity's turn, and the entity doesn't stand still for it any more."""
    turn = held.source in ("wake", "grant")
    return turn and type(partition.entry(EntityKey(held.key))[1]) is not Stuck


def _settle(partition: Partition, number: int, fact: str) -> None:
    partition.quarantine.remove(number)
    partition.tally.count(fact)
    partition.dirty = True


_encode = msgspec.msgpack.Encoder().encode
_HELD = msgspec.msgpack.Decoder(Quarantined)
_OWN = msgspec.msgpack.Decoder(Wake | Granted)
