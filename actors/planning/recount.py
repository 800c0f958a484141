"""Counts segments anew in a process of its own, over snapshots of the stores: intake goes on undisturbed.

`python -m actors.planning.recount` reads one `Job` as JSON from standard input and prints one `Done` as JSON. It runs
at low priority. `recounted` starts it and waits.
"""

from __future__ import annotations

__all__ = ("Done", "Job", "main", "recounted", "snapshot_stores")

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from engine.errors import RefusedError, StoreError
from engine.keyspace import CONTACT
from engine.rows import ENTITY, PlainCodec, open_envelope
from engine.store.format import read_format, store_path
from engine.store.protocol import partition_prefix
from engine.store.snapshot import Snapshot
from scenarios.recount import Recounted, SegmentRecount
from scenarios.segments import Segment, compile_segment

_NICE = 10
_ROOT = str(Path(__file__).resolve().parents[2])


class Job(msgspec.Struct, frozen=True):
    """Which stores (folder, partitions), whose contacts, which segments, and the time of the count in ms."""

    stores: list[tuple[str, list[int]]]
    tenant: str
    segments: list[Segment]
    now: int


class Done(msgspec.Struct, frozen=True):
    """What was counted, and what it took: wall and CPU time in s."""

    segments: list[Recounted]
    contacts: int
    wall_s: float
    cpu_s: float


def count(job: Job) -> Done:
    """Count in this process."""
    began, cpu_began = time.monotonic(), time.process_time()
    recount = SegmentRecount([compile_segment(one) for one in job.segments], job.now)
    with tempfile.TemporaryDirectory(prefix="veredus-recount-") as scratch:
        for number, (path, partitions) in enumerate(job.stores):
            snapshot = Snapshot(Path(path), Path(scratch) / str(number))
            try:
                for partition in partitions:
                    _count_partition(snapshot, partition, job.tenant, recount)
            finally:
                snapshot.close()
    return Done(
        recount.results(),
        recount.contacts,
        time.monotonic() - began,
        time.process_time() - cpu_began,
    )


def _count_partition(
    snapshot: Snapshot, partition: int, tenant: str, recount: SegmentRecount
) -> None:
    """Count the contacts of a partition. Hot path: takes rows as they come."""
    start = partition_prefix(partition) + ENTITY
    end = partition_prefix(partition) + bytes((ENTITY[0] + 1,))
    head = len(start)
    kind_at = head + 4
    mine = tenant.encode() + b"\0"
    begin, until = kind_at + 1, kind_at + 1 + len(mine)
    take, codec = recount.take, PlainCodec()
    for row, raw in snapshot.rows(start, end):
        if row[kind_at] == CONTACT and row[begin:until] == mine:
            key = row[head:]
            take(codec.open(key, open_envelope(key, raw)[4]))


def main() -> None:
    """Read a job, do it, print what was counted."""
    os.nice(_NICE)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(count(job)) + b"\n")


def snapshot_stores(data_dir: Path, partitions: int) -> list[tuple[str, list[int]]]:
    """List the stores of a data directory with their partitions. Raises: RefusedError: they can't be read so."""
    made = read_format(data_dir)
    folders = []
    for index in range(made.stores if made is not None else 0):
        path = store_path(data_dir, index, made.stores if made is not None else 1)
        if path.is_dir():
            folders.append((str(path), list(range(index, partitions, made.stores if made else 1))))
    if not folders:
        raise RefusedError("only RocksDB stores on this machine are counted from a snapshot")
    return folders


async def recounted(job: Job) -> Done:
    """Count in a process of its own. Raises: StoreError: it failed; what it said is told."""
    environment = {**os.environ, "PYTHONPATH": _ROOT}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "actors.planning.recount",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        out, errors = await process.communicate(msgspec.json.encode(job))
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise StoreError(f"the recount failed: {last}")
    return msgspec.json.decode(out, type=Done)


if __name__ == "__main__":
    main()
