"""The store in RocksDB: one database a worker, so one write-ahead log and one sync for all its partitions.

Facts that shaped it (measured, DESIGN §3): rocksdict holds the GIL while it writes, sync included, and releases it in a
list `get` and in `flush_wal`, so that a deferred sync leaves the loop to others (`LazyStore`); after one failed write
all later ones fail until the database was closed and opened again; `close` keeps the lock while an iterator lives, so
none outlives a call here.
"""

from __future__ import annotations

__all__ = ("RocksStore", "RocksView", "lock_holder")

import fcntl
import gc
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from engine.errors import DamageError, StoreError
from engine.store.protocol import STAND, Batch, Rows, Stand, accepts, encode_stand, partition_prefix

WRITE_BUFFER_BYTES = 64 << 20
BLOOM_BITS = 10


class RocksView:
    """The rows of a store as they were when it was taken. Close it: the store keeps old rows for it meanwhile.

    An iterator is what keeps them: those of rocksdict's snapshots show newer rows too (0.3.29).
    """

    def __init__(self, iterator: Any, path: Path, closed: Callable[[RocksView], None]) -> None:
        self._iterator = iterator
        self._path = path
        self._closed = closed

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read rows, in the order of the keys."""
        found = (self.scan(key, key + b"\0", 1) for key in keys)
        return [rows[0][1] if rows else None for rows in found]

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""
        if self._iterator is None:
            raise StoreError(f"store {self._path}: the view was closed")
        return _rows(self._iterator, self._path, start, end, limit)

    def close(self) -> None:
        """Let go. Idempotent; the store does it when it closes."""
        if self._iterator is not None:
            self._iterator = None
            self._closed(self)


class RocksStore:
    """A store in a folder. A second process on the same folder is refused by RocksDB's own lock.

    Args:
        path: the folder, made when missing.
        cache_mb: block cache for reads.
        read_only: for looking at a store that nobody may be writing.
    """

    def __init__(self, path: Path, cache_mb: int = 256, *, read_only: bool = False) -> None:
        self._path = path
        self._options = _options(cache_mb)
        self._access = AccessType.read_only() if read_only else AccessType.read_write()
        self._write_options = WriteOptions()
        self._write_options.sync = True
        self._unsynced = False
        self._syncing = threading.Lock()  # held by a sync: nobody closes the database under it
        self._stands: dict[int, Stand] = {}
        self._db: Any = None
        self._views: set[RocksView] = set()
        self._open()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows at once; the GIL is released meanwhile."""
        if not keys:
            return []
        try:
            wanted = keys if isinstance(keys, list) else list(keys)
            rows: list[bytes | None] = self._open_db().get(wanted)
        except Exception as error:
            raise _translated(error, self._path) from error
        return rows

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""
        options = ReadOptions()
        options.set_iterate_upper_bound(end)
        iterator = self._open_db().iter(options)
        try:
            return _rows(iterator, self._path, start, end, limit)
        finally:
            del iterator  # a living iterator would keep the lock after close

    def view(self) -> RocksView:
        """Take a view of the rows as they are now; what is committed later doesn't show in it."""
        view = RocksView(self._open_db().iter(), self._path, self._views.discard)
        self._views.add(view)
        return view

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come."""
        held = self._stands.get(partition)
        if held is None:
            raw = self.get([partition_prefix(partition) + STAND])[0]
            held = Stand(int.from_bytes(raw[:8]), int.from_bytes(raw[8:])) if raw else Stand(0, 0)
            self._stands[partition] = held
        return held

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write all batches with one sync."""
        write = WriteBatch(raw_mode=True)
        put, delete = write.put, write.delete
        stale = []
        taken = []
        for batch in batches:
            if not accepts(self.stand(batch.partition), batch.stand):
                stale.append(batch.partition)
                continue
            taken.append(batch)
            for start, end in batch.ranges:
                write.delete_range(start, end)
            for key in batch.deletes:
                delete(key)
            put(partition_prefix(batch.partition) + STAND, encode_stand(batch.stand))
            for key, value in batch.puts:
                put(key, value)
        try:
            self._open_db().write(write, self._write_options)
        except Exception as error:
            raise _translated(error, self._path) from error
        self._unsynced = not self._write_options.sync
        for batch in taken:
            self._stands[batch.partition] = batch.stand
        return stale

    @property
    def unsynced(self) -> bool:
        """Whether something was committed that no sync has made durable yet."""
        return self._unsynced

    def defer(self) -> None:
        """From now on let `commit` return before its sync."""
        self._write_options.sync = False

    def sync(self) -> None:
        """Make all that was committed durable; the GIL is released meanwhile."""
        with self._syncing:
            try:
                self._open_db().flush_wal(True)
            except Exception as error:
                raise _translated(error, self._path) from error
            self._unsynced = False

    def load(self, rows: Rows) -> None:
        """Write rows as they are, stands included: for copies, never beside an owner."""
        write = WriteBatch(raw_mode=True)
        for key, value in rows:
            write.put(key, value)
        try:
            self._open_db().write(write, self._write_options)
        except Exception as error:
            raise _translated(error, self._path) from error
        self._unsynced = not self._write_options.sync
        self._stands.clear()

    def reopen(self) -> None:
        """Close, which may raise after a failed write, and open again with what is durable."""
        self.close()
        self._open()

    def close(self) -> None:
        """Release the lock, views included: a living one would keep it."""
        self._stands.clear()
        for view in list(self._views):
            view.close()
        with self._syncing:
            database, self._db = self._db, None
        self._unsynced = False
        if database is None:
            return
        try:
            database.close()
        except Exception:  # noqa: BLE001, S110 -- after a failed write close raises too; opening again tells
            pass
        finally:
            del database
            gc.collect()

    def size_bytes(self) -> int:
        """Tell how much disk the store takes."""
        return sum(file.stat().st_size for file in self._path.iterdir() if file.is_file())

    def _open_db(self) -> Any:
        """Give the database, which isn't there between a `reopen` that failed and the next."""
        if self._db is None:
            raise StoreError(f"store {self._path}: it is closed")
        return self._db

    def _open(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        try:
            # named for the column family too: else rocksdict opens a store that exists with what its OPTIONS file
            # says, which has neither filters nor cache (measured: 4.5 reads of the disk for a row in place of 1)
            families = {"default": self._options}
            self._db = Rdict(str(self._path), self._options, families, self._access)
        except Exception as error:
            raise _translated(error, self._path) from error


def _rows(iterator: Any, path: Path, start: bytes, end: bytes, limit: int) -> Rows:
    rows: Rows = []
    try:
        iterator.seek(start)
        while len(rows) < limit and iterator.valid():
            key = iterator.key()
            if key >= end:
                break
            rows.append((key, iterator.value()))
            iterator.next()
        iterator.status()
    except Exception as error:
        raise _translated(error, path) from error
    return rows


def lock_holder(path: Path) -> int | None:
    """Tell which other process has a store open; None when none does, or this system doesn't say.

    Never for a store of this process: closing the file would release its own lock. fcntl(2), F_GETLK.
    """
    form = "hhqqi"  # struct flock: type, whence, start, length, process
    asked = struct.pack(form, fcntl.F_WRLCK, 0, 0, 0, 0)
    try:
        with (path / "LOCK").open("r+b") as file:
            answer = struct.unpack(form, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except (OSError, struct.error):
        return None
    return answer[4] if answer[0] != fcntl.F_UNLCK else None


def _options(cache_mb: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.increase_parallelism(2)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(512)
    options.set_keep_log_file_num(2)
    # the default would drop, unsaid, all that follows a damaged record of the log; a torn end was never acknowledged
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(cache_mb << 20))
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options.set_block_based_table_factory(blocks)
    return options


def _translated(error: Exception, path: Path) -> StoreError:
    """Tell damage apart from failure: RocksDB's own word for it is `Corruption`."""
    if isinstance(error, StoreError):
        return error
    text = str(error)
    kind = DamageError if "Corruption" in text else StoreError
    return kind(f"store {path}: {text}")
