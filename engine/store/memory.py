"""The store in memory: the model against which the real ones are held, for tests and simulation.

A commit is durable when it returns. What a crash does to a commit under way (lost or whole, never half) is decided by
whoever drives it: the simulation wraps this class.
"""

from __future__ import annotations

__all__ = ("MemoryStore",)

from bisect import bisect_left, insort
from collections.abc import Sequence

from engine.store.protocol import STAND, Batch, Rows, Stand, accepts, encode_stand, partition_prefix


class MemoryStore:
    """A dict beside a sorted list of its keys. Inserting is linear: meant for up to about 100,000 rows."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows at once."""
        return [self._rows.get(key) for key in keys]

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""
        first = bisect_left(self._keys, start)
        last = min(bisect_left(self._keys, end), first + limit)
        return [(key, self._rows[key]) for key in self._keys[first:last]]

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come."""
        raw = self._rows.get(partition_prefix(partition) + STAND)
        return Stand(int.from_bytes(raw[:8]), int.from_bytes(raw[8:])) if raw else Stand(0, 0)

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write the batches; each member is whole or left out."""
        stale = []
        for batch in batches:
            if accepts(self.stand(batch.partition), batch.stand):
                self._write(batch)
            else:
                stale.append(batch.partition)
        return stale

    def load(self, rows: Rows) -> None:
        """Write rows as they are, stands included: for copies."""
        for key, value in rows:
            self._put(key, value)

    def reopen(self) -> None:
        """Nothing is lost that was committed."""

    def close(self) -> None:
        """Nothing to release."""

    def dump(self) -> dict[bytes, bytes]:
        """Copy all rows, to compare two stores."""
        return dict(self._rows)

    def _write(self, batch: Batch) -> None:
        for start, end in batch.ranges:
            first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
            for key in self._keys[first:last]:
                del self._rows[key]
            del self._keys[first:last]
        for key in batch.deletes:
            if self._rows.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
        self._put(partition_prefix(batch.partition) + STAND, encode_stand(batch.stand))
        for key, value in batch.puts:
            self._put(key, value)

    def _put(self, key: bytes, value: bytes) -> None:
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = value
