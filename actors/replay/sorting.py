"""Events in the order of their time, also when the log is larger than memory.

Two passes. `survey` goes through the whole log once: every row is checked before the first mail
leaves, and it shows whether the log is sorted already. `instants` then gives the rows grouped by
time: streamed when the log is sorted, else by an external merge sort (sorted runs of MessagePack in
a temporary directory, merged a few at a time). Both ways are stable: rows of one time keep the
order of the file.
"""

from __future__ import annotations

__all__ = ("INSTANT_ROWS_MAX", "MERGE_WAYS", "RUN_BYTES", "Survey", "instants", "survey")

import errno
import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import msgspec

from actors.replay.rows import LogRow
from engine.errors import InputError, Place, StoreError

RUN_BYTES = 64 * 1024 * 1024
"""Encoded rows held in memory at once; the process needs about three times as much."""

MERGE_WAYS = 64
"""Runs merged at once, which bounds open files and buffers."""

INSTANT_ROWS_MAX = 1_000_000
"""Rows of one time, which the driver admits together; more are refused."""

_LENGTH_BYTES = 4
_AT_BYTES = 8
_BUFFER = 64 * 1024

_Encoded = tuple[int, bytes]
_at = itemgetter(0)


class Survey(msgspec.Struct, frozen=True):
    """What a log holds. Times in ms; `first_ms` and `last_ms` are 0 for an empty log."""

    rows: int
    first_ms: int
    last_ms: int
    sorted: bool


def survey(rows: Iterable[LogRow]) -> Survey:
    """Go through all rows, keeping none.

    Raises:
        InputError: whatever reading them raises, or too many rows of one time in a sorted stretch.
    """
    count = first = last = 0
    previous = -1
    in_order = True
    for count, row in enumerate(rows, start=1):
        at = row.event.at
        in_order = in_order and at >= previous
        previous = at
        first = at if count == 1 else min(first, at)
        last = max(last, at)
    return Survey(count, first, last, in_order)


def instants(
    rows: Iterable[LogRow],
    surveyed: Survey,
    *,
    directory: Path | None = None,
    run_bytes: int = RUN_BYTES,
    merge_ways: int = MERGE_WAYS,
) -> Iterator[tuple[int, list[LogRow]]]:
    """Give (time in ms, rows of that time in file order), by rising time; each time once.

    Runs go below `directory` (the system's temporary one unless given), in a directory of their own
    that is removed when the iterator ends or is closed.

    Raises: InputError: whatever reading raises, more than `INSTANT_ROWS_MAX` rows of one time, or
        rows that aren't those surveyed. StoreError: the runs can't be written.
    """
    assert merge_ways >= 2
    if surveyed.sorted:
        yield from _groups((row.event.at, row) for row in rows)
        return
    decoder = msgspec.msgpack.Decoder(LogRow)
    with _spill_directory(directory) as spill, ExitStack() as files:
        ordered = _sorted(rows, spill, run_bytes, merge_ways, files)
        yield from _groups((at, decoder.decode(raw)) for at, raw in ordered)


def _groups(rows: Iterable[tuple[int, LogRow]]) -> Iterator[tuple[int, list[LogRow]]]:
    previous = -1
    for at, group in groupby(rows, key=_at):
        if at < previous:
            raise InputError("the log isn't what it was when it was surveyed", Place())
        previous = at
        together: list[LogRow] = []
        for _, row in group:
            together.append(row)
            if len(together) > INSTANT_ROWS_MAX:
                raise InputError(f"more than {INSTANT_ROWS_MAX} events at one time ({at} ms)")
        yield at, together


def _sorted(
    rows: Iterable[LogRow], spill: Path, run_bytes: int, merge_ways: int, files: ExitStack
) -> Iterator[_Encoded]:
    """Sort encoded rows; a log that fits into one run never touches the disk."""
    runs: list[Path] = []
    last: list[_Encoded] = []
    for batch, is_last in _batches(rows, run_bytes):
        batch.sort(key=_at)
        if is_last:
            last = batch
        else:
            runs.append(_write_run(spill / f"{len(runs)}-0.run", batch))
    level = 0
    while len(runs) >= merge_ways:
        level += 1
        runs = [
            _merge_run(runs[start : start + merge_ways], spill / f"{start}-{level}.run")
            for start in range(0, len(runs), merge_ways)
        ]
    # heapq.merge takes the earlier iterable first where keys are equal: the runs are in file order, so it is stable.
    return heapq.merge(*(_read_run(run, files) for run in runs), last, key=_at)


def _batches(rows: Iterable[LogRow], run_bytes: int) -> Iterator[tuple[list[_Encoded], bool]]:
    """Cut rows into batches of about `run_bytes`; the last one is marked, and may be empty."""
    encode = msgspec.msgpack.Encoder().encode
    batch: list[_Encoded] = []
    size = 0
    for row in rows:
        raw = encode(row)
        batch.append((row.event.at, raw))
        size += len(raw)
        if size >= run_bytes:
            yield batch, False
            batch, size = [], 0
    yield batch, True


def _merge_run(runs: list[Path], into: Path) -> Path:
    with ExitStack() as files:
        _write_run(into, heapq.merge(*(_read_run(run, files) for run in runs), key=_at))
    for run in runs:
        run.unlink()
    return into


def _write_run(path: Path, batch: Iterable[_Encoded]) -> Path:
    with path.open("wb", buffering=_BUFFER) as file:
        for at, raw in batch:
            file.write(at.to_bytes(_AT_BYTES) + len(raw).to_bytes(_LENGTH_BYTES) + raw)
    return path


def _read_run(path: Path, files: ExitStack) -> Iterator[_Encoded]:
    return _records(files.enter_context(path.open("rb", buffering=_BUFFER)))


def _records(file: BinaryIO) -> Iterator[_Encoded]:
    while head := file.read(_AT_BYTES + _LENGTH_BYTES):
        at, length = int.from_bytes(head[:_AT_BYTES]), int.from_bytes(head[_AT_BYTES:])
        yield at, file.read(length)


@contextmanager
def _spill_directory(directory: Path | None) -> Iterator[Path]:
    try:
        with TemporaryDirectory(prefix="veredus-sort-", dir=directory) as name:
            yield Path(name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            raise StoreError(
                f"sorting the log by time: {error.strerror} ({error.filename})"
            ) from error
        raise
