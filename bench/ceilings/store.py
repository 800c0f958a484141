"""Rows written to RocksDB without any logic: what durable events could cost at best.

`python -m bench.ceilings.store TRACE FOLDER SECONDS ROWS` writes the rows of a trace again and again into a new store
in FOLDER, ROWS of them a batch with one sync each, for SECONDS; it prints how many rows it wrote, and the wall and CPU
time in seconds that took. A trace is msgpack: a list of [key, value], value None for a deletion.
"""

from __future__ import annotations

__all__ = ("Written", "measure_store")

import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

Row = tuple[bytes, bytes | None]


class Written(NamedTuple):
    """What came of it: rows a second, and CPU µs of one."""

    per_second: float
    cpu_us: float


def measure_store(trace: Path, folder: Path, seconds: float, rows: int) -> Written:
    """Write in a process of its own, `rows` a batch."""
    command = [
        sys.executable,
        "-m",
        __spec__.name,
        str(trace),
        str(folder),
        str(seconds),
        str(rows),
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    number, wall_s, cpu_s = done.stdout.split()
    return Written(int(number) / float(wall_s), float(cpu_s) / int(number) * 1e6)


def _main(trace: Path, folder: Path, seconds: float, rows: int) -> None:
    held = msgspec.msgpack.decode(trace.read_bytes(), type=list[Row])
    batches = [held[at : at + rows] for at in range(0, len(held) - rows + 1, rows)] or [held]
    folder.mkdir(parents=True)
    database = Rdict(str(folder), _options())
    synced = WriteOptions()
    synced.sync = True
    number = 0
    begin, cpu = time.perf_counter(), time.process_time()
    for batch in cycle(batches):
        _write(database, synced, batch)
        number += len(batch)
        if time.perf_counter() - begin >= seconds:
            break
    sys.stdout.write(f"{number} {time.perf_counter() - begin} {time.process_time() - cpu}\n")
    database.close()


def _write(database: Rdict, synced: WriteOptions, batch: list[Row]) -> None:
    write = WriteBatch(raw_mode=True)
    put, delete = write.put, write.delete
    for key, value in batch:
        if value is None:
            delete(key)
        else:
            put(key, value)
    database.write(write, synced)


def _options() -> Options:
    """The product's own settings, written down again: nothing is imported from it."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(64 << 20)
    options.increase_parallelism(2)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(128 << 20))
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
