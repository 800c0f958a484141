"""The disk under a store: what a crash or a failure does to a commit, and who wrote what.

A commit that is hit is there whole or not at all, as with one write batch of RocksDB. One that is synced later
(decision 12) is read by its own process at once, and is gone or whole when that dies before the sync; the next sync of
whoever writes makes it durable too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from engine.errors import StoreError
from engine.store.memory import MemoryStore
from engine.store.protocol import Batch, Rows, Stand
from tests.simulation.world import World

CommitFault = Literal[
    "before", "in", "after", "unknown", "down", "slow", "overtaken", "synced late"
]
COMMIT_FAULTS: tuple[CommitFault, ...] = (
    "before",
    "in",
    "after",
    "unknown",
    "down",
    "slow",
    "overtaken",
    "synced late",
)


class Crash(BaseException):
    """The process dies here. Not an Exception: nothing may catch it but the one who buries the process."""


class Disk:
    """What outlives the processes of one worker: rows, the faults that wait, and the log of its writers."""

    def __init__(self, world: World, rows: MemoryStore | None = None) -> None:
        self.world = world
        self.rows = rows or MemoryStore()
        self.armed: list[CommitFault] = []
        self.down_until = 0
        self.overtake: Callable[[], None] = lambda: None
        self.writers: dict[tuple[int, int], int] = {}  # (partition, epoch) -> incarnation
        self.epochs: dict[int, int] = {}
        self.lazy = world.chance.choice(
            (0.0, 0.0, 0.2, 0.7)
        )  # share of commits that a thread syncs
        self._durable: dict[bytes, bytes] | None = None  # rows as of the last sync, if some aren't

    @property
    def unsynced(self) -> bool:
        """Whether rows would be lost with the power."""
        return self._durable is not None

    def keep(self) -> None:
        """From here on rows are written that no sync has made durable yet."""
        if self._durable is None:
            self._durable = self.rows.dump()

    def synced(self) -> None:
        """All that was written is durable."""
        self._durable = None

    def lose(self) -> None:
        """What no sync made durable is gone, or whole all the same."""
        durable, self._durable = self._durable, None
        if durable is None:
            return
        if self.world.chance.random() < 0.5:
            self.world.reach("sync: what wasn't synced is there")
            return
        self.world.reach("sync: what wasn't synced is lost")
        self.rows = MemoryStore()
        self.rows.load(sorted(durable.items()))

    def wrote(self, batches: Sequence[Batch], stale: Sequence[int], writer: int) -> None:
        """Check single writer: an epoch has one writer, and epochs never go back."""
        for batch in batches:
            if batch.partition in stale:
                continue
            epoch = batch.stand.epoch
            key = (batch.partition, epoch)
            assert self.writers.setdefault(key, writer) == writer, f"two writers of {key}"
            before = self.epochs.get(batch.partition, 0)
            assert epoch >= before, f"a former owner wrote {batch.partition}: {epoch} < {before}"
            self.epochs[batch.partition] = epoch


class SimStore:
    """The store as one process sees it: the disk's rows, with the faults that are armed."""

    def __init__(self, disk: Disk, writer: int) -> None:
        self.disk = disk
        self.slow_ms = 0  # how long the last sync took, with everything waiting for it
        self.sync_ms = 0  # how long it takes, with all else going on: `sync` must follow
        self.defers = False
        self._fails = False
        self._writer = writer

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows at once."""
        return self.disk.rows.get(keys)

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""
        return self.disk.rows.scan(start, end, limit)

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come."""
        return self.disk.rows.stand(partition)

    def reopen(self) -> None:
        """Open again, unless the disk is still down."""
        if self.disk.world.now < self.disk.down_until:
            raise StoreError("the disk is down")

    def close(self) -> None:
        """Nothing to release."""

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write, unless a fault says otherwise."""
        disk, world = self.disk, self.disk.world
        self.slow_ms = self.sync_ms = 0
        if world.now < disk.down_until:
            raise StoreError("the disk is down")
        fault = disk.armed.pop() if disk.armed else None
        if fault is None:
            if self.defers and disk.lazy and world.chance.random() < disk.lazy:
                return self._write_now(batches, world.chance.choice((1, 5, 30, 200, 1000)))
            return self._write(batches)
        world.reach(f"commit: {fault}")
        match fault:
            case "before":
                raise Crash
            case "in":
                if world.chance.random() < 0.5:
                    self._write(batches)
                raise Crash
            case "after":
                self._write(batches)
                raise Crash
            case "unknown":
                if world.chance.random() < 0.5:
                    world.reach("commit: unknown, and there")
                    self._write(batches)
                raise StoreError("the fate of the commit is unknown")
            case "down":
                disk.down_until = world.now + world.chance.randrange(100, 5000)
                raise StoreError("no space left on device")
            case "slow":
                self.slow_ms = world.chance.randrange(100, 3000)
            case "overtaken":
                disk.overtake()
            case "synced late" if self.defers:
                self._fails = world.chance.random() < 0.3
                return self._write_now(batches, world.chance.randrange(100, 3000))
        return self._write(batches)

    def sync(self) -> None:
        """Make durable what was written. Raises: StoreError."""
        fails, self._fails = self._fails, False
        if fails and self.disk.unsynced:
            self.disk.world.reach("sync: fails")
            self.disk.lose()
            raise StoreError("the disk didn't answer")
        self.disk.synced()

    def _write_now(self, batches: Sequence[Batch], sync_ms: int) -> list[int]:
        """Write, and leave the sync for later."""
        self.disk.keep()
        self.sync_ms = sync_ms
        return self._put(batches)

    def _write(self, batches: Sequence[Batch]) -> list[int]:
        """Write and sync."""
        stale = self._put(batches)
        self.disk.synced()
        return stale

    def _put(self, batches: Sequence[Batch]) -> list[int]:
        stale = self.disk.rows.commit(batches)
        self.disk.wrote(batches, stale, self._writer)
        return stale
