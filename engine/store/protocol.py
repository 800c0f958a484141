"""What every store promises, and the batch that one partition writes in one tick.

A commit is one write and one sync for all partitions of a worker. Each member is atomic and carries the (epoch, seq)
that it makes: the store takes it only if seq follows the one it holds and the epoch isn't lower. So neither a
former owner nor a late retry of the same owner can write.
"""

from __future__ import annotations

__all__ = (
    "FEED",
    "STAND",
    "Batch",
    "LazyStore",
    "Rows",
    "Stand",
    "Store",
    "accepts",
    "encode_stand",
    "partition_prefix",
)

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

Rows = list[tuple[bytes, bytes]]

STAND = b"\0"
"""Index byte of the row (epoch, seq), which stores write themselves."""

FEED = 0xFFFF
"""The pseudo-partition of a store's feed: positions in commit order."""


class Stand(NamedTuple):
    """How far a partition has come: the owner's epoch and the number of its last commit."""

    epoch: int
    seq: int


def encode_stand(stand: Stand) -> bytes:
    """Encode for the row that the store keeps."""
    return stand.epoch.to_bytes(8) + stand.seq.to_bytes(8)


def partition_prefix(partition: int) -> bytes:
    """Give the two bytes with which all keys of a partition begin."""
    return partition.to_bytes(2)


class Batch:
    """All that one partition writes in one tick: puts, deletes and dropped ranges, under (epoch, seq).

    A key may stand in it once; ranges `[start, end)` are dropped before the puts are written.
    """

    __slots__ = ("deletes", "partition", "puts", "ranges", "stand")

    def __init__(self, partition: int, stand: Stand) -> None:
        self.partition = partition
        self.stand = stand
        self.puts: Rows = []
        self.deletes: list[bytes] = []
        self.ranges: list[tuple[bytes, bytes]] = []


class Store(Protocol):
    """A durable ordered map with compare-and-swap by partition. Synchronous: a worker has one loop."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows at once, in the order of the keys."""

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read up to `limit` rows with start <= key < end, in the order of their keys."""

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come; (0, 0) for one that was never written."""

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write the batches, each atomic, with one sync; durable on return.

        Returns: the partitions whose batch was stale and left out.
        Raises: StoreError when the write failed or its fate is unknown; then only `reopen` and reads help.
        """

    def reopen(self) -> None:
        """After a failure: make the store usable again, with what is durable. Idempotent."""

    def close(self) -> None:
        """Release files and locks. Idempotent."""


@runtime_checkable
class LazyStore(Store, Protocol):
    """A store whose commits can be written at once and synced after, by another thread while the loop goes on.

    Whoever asks for that by `defer` releases nothing of a commit before `sync` has returned.
    """

    @property
    def unsynced(self) -> bool:
        """Whether something was committed that no sync has made durable yet."""

    def defer(self) -> None:
        """From now on let `commit` return before its sync."""

    def sync(self) -> None:
        """Make all that was committed durable; from any thread, and beside reads.

        Raises: StoreError as `commit` does: what wasn't durable before may or may not be now.
        """


def accepts(held: Stand, offered: Stand) -> bool:
    """Decide the compare-and-swap: the very next number, by an owner who isn't older."""
    return offered.seq == held.seq + 1 and offered.epoch >= held.epoch
