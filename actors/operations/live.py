"""The state of an instance that runs, as of one moment, to be copied while it goes on.

In RocksDB each store is read as a secondary instance: files and log as they are, without the owner's lock. Several
stores must be of one moment together, or one would know of a Tell that another has yet to send: so the workers stand
still (SIGSTOP) while all are opened, some ten milliseconds. What a stopped worker told was durable before, so whatever
another has applied is in its own store: a consistent cut. Somebody else lets them go on, should we die meanwhile.

In Redis a server that was a replica and follows nobody any more is read: writes came to it in the order in which they
happened, a worker's whole ticks, so what it has is of one moment too.
"""

from __future__ import annotations

__all__ = ("live_redis_home", "live_rocks_home", "standing_still", "workers_of")

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from actors.operations.homes import Home, redis_home
from actors.worker.pulse import read_pulse
from engine.errors import InputError, Place, RefusedError, StoreError
from engine.redis_config import Redis
from engine.store.format import store_path
from engine.store.protocol import Rows
from engine.store.redis import RedisStore
from engine.store.redis_format import format_in
from engine.store.snapshot import Snapshot

STILL_S = 2.0
"""Workers go on after so long whatever became of us. Less than it takes to believe that they are dead."""

_WORKER = b"WorkerShell"


class _Still:
    """A store as it was, for copying."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read rows."""
        found = [list(islice(self._snapshot.rows(key, key + b"\0"), 1)) for key in keys]
        return [rows[0][1] if rows else None for rows in found]

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order."""
        return list(islice(self._snapshot.rows(start, end), limit))

    def load(self, rows: Rows) -> None:
        """Refuse: it is another's."""
        raise StoreError(f"{len(rows)} rows for a store that is only read")


@contextlib.contextmanager
def live_rocks_home(folder: Path, partitions: int, stores: int) -> Iterator[Home]:
    """Read the stores of a data directory whose instance runs, all as of one moment. Raises: StoreError."""
    snapshots: list[Snapshot] = []
    with tempfile.TemporaryDirectory(prefix="veredus-live-") as scratch:
        try:
            with standing_still(workers_of(folder) if stores > 1 else ()):
                for index in range(stores):
                    path = store_path(folder, index, stores)
                    snapshots.append(Snapshot(path, Path(scratch) / str(index)))
            yield Home("rocksdb", partitions, stores, [_Still(one) for one in snapshots])
        finally:
            for snapshot in snapshots:
                snapshot.close()


@contextlib.contextmanager
def live_redis_home(settings: Redis, server: str, partitions: int) -> Iterator[Home]:
    """Read a deployment from a server that was its replica and follows nobody any more.

    Raises:
        InputError: the server has no such deployment.
        RefusedError: it still follows a master, or is the one that the instance writes to.
        StoreError: it doesn't answer.
    """
    apart = msgspec.structs.replace(
        settings, topology="single", addresses=(server,), replicas_min=0, durability="as_it_is"
    )
    store = RedisStore(apart)
    try:
        facts = store.servers[0]
        if facts.role != "master":
            raise RefusedError(
                f"the Redis at {server} follows a master: what is read would be of many moments",
                mend="detach it first (REPLICAOF NO ONE), and attach it again after the copy",
            )
        if facts.run_id in _writing(settings):
            raise RefusedError(
                f"the Redis at {server} is the one that the instance writes to",
                mend="name a server that was its replica, or stop the instance and leave out --from",
            )
        made = format_in(store, apart)
    finally:
        store.close()
    if made is None or made.partitions != partitions:
        raise InputError(
            f"the Redis at {server} has no deployment {settings.name!r} of {partitions} partitions",
            Place(path="store.redis.name"),
        )
    with redis_home(apart, partitions) as home:
        yield home


def _writing(settings: Redis) -> set[str]:
    """Name the servers that the instance writes to, as far as they answer."""
    try:
        store = RedisStore(msgspec.structs.replace(settings, durability="as_it_is"))
    except StoreError:
        return set()
    try:
        return {facts.run_id for facts in store.servers}
    finally:
        store.close()


def workers_of(folder: Path) -> list[int]:
    """Name the processes of an instance's workers that run on this machine."""
    pids = {read_pulse(path).pid for path in sorted((folder / "pulse").glob("w*"))}
    return sorted(pid for pid in pids if pid and _is_worker(pid))


def _is_worker(pid: int) -> bool:
    """Whether a process is a worker: a number may have been given to another since."""
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextlib.contextmanager
def standing_still(pids: Sequence[int], still_s: float = STILL_S) -> Iterator[None]:
    """Let processes stand still meanwhile; they go on after `still_s` in any case."""
    if not pids:
        yield
        return
    numbers = " ".join(map(str, pids))
    guard = subprocess.Popen(["/bin/sh", "-c", f"sleep {still_s}; kill -CONT {numbers}"])
    try:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)
        guard.kill()
        guard.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended: then it stands still too
        os.kill(pid, number)
