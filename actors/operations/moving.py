"""`veredus store move`: carry a deployment's state from RocksDB to Redis or back, and compare both before it counts."""

from __future__ import annotations

__all__ = ("Moved", "move_to_redis", "move_to_rocksdb")

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.operations.homes import Home, redis_home, rocks_home
from engine.config import Config
from engine.errors import InputError, Place, RefusedError
from engine.store.copying import chunks, load
from engine.store.format import DataFormat, read_format, write_format
from engine.store.redis import RedisStore
from engine.store.redis_format import format_in, write_format_in

Seen = Callable[[int], None]
"""Told how many rows were carried."""


class Moved(msgspec.Struct, frozen=True):
    """What was carried. `left` is where the old state is kept until somebody removes it."""

    to: str
    partitions: int
    feeds: int
    rows: int
    left: str


def move_to_redis(config: Config, seen: Seen) -> Moved:
    """Carry the state of a data directory into Redis; afterwards only the copy there is served.

    The data directory must be locked by the caller.

    Raises:
        RefusedError: there is a deployment of that name already; the state isn't in RocksDB.
        DamageError: what is read back isn't what was written: nothing was switched.
    """
    folder, settings = Path(config.data_dir), config.store.redis
    made = _made(folder, "rocksdb")
    with (
        rocks_home(folder, made.partitions, made.stores, read_only=True) as source,
        redis_home(settings, made.partitions, made.stores) as target,
    ):
        first = target.stores[0]
        assert isinstance(first, RedisStore), "a home in Redis has such stores"
        if format_in(first, settings) is not None:
            raise RefusedError(
                f"there is a deployment {settings.name!r} in that Redis already",
                mend="choose another store.redis.name, or remove its keys",
            )
        rows = _carry(source, target, seen)
        write_format_in(first, DataFormat(made.version, made.partitions, 0, kind="redis"))
    write_format(folder, msgspec.structs.replace(made, kind="redis"))
    left = folder / "store.moved"
    (folder / "store").replace(left)
    return Moved("redis", made.partitions, made.stores, rows, str(left))


def move_to_rocksdb(config: Config, stores: int, seen: Seen) -> Moved:
    """Carry the state of a deployment in Redis into the data directory, for a fixed number of workers.

    Raises:
        RefusedError: more workers have served it than there will be stores; the state isn't in Redis.
        DamageError: what is read back isn't what was written: nothing was switched.
    """
    folder, settings = Path(config.data_dir), config.store.redis
    made = _made(folder, "redis")
    if (folder / "store").exists():
        raise RefusedError(
            "there is a folder `store` already", Place(file=str(folder)), "move it away first"
        )
    with redis_home(settings, made.partitions) as source:
        if source.feeds > stores:
            raise RefusedError(
                f"{source.feeds} workers have written feeds, and {stores} stores can't hold them",
                mend=f"ask for --workers {source.feeds} or more",
            )
        draft = folder / "store.draft"
        shutil.rmtree(draft, ignore_errors=True)
        with rocks_home(draft, made.partitions, stores) as target:
            rows = _carry(source, target, seen)
        feeds = source.feeds
        (draft / "store").replace(folder / "store")
        shutil.rmtree(draft)
        write_format(folder, msgspec.structs.replace(made, kind="rocksdb", stores=stores))
        first = source.stores[0]
        assert isinstance(first, RedisStore), "a home in Redis has such stores"
        write_format_in(first, DataFormat(made.version, made.partitions, 0, "moved", "redis"))
    return Moved("rocksdb", made.partitions, feeds, rows, f"keys {{{settings.name}:...")


def _made(folder: Path, kind: str) -> DataFormat:
    made = read_format(folder)
    if made is None:
        raise InputError("there is no data of an instance here", Place(file=str(folder)))
    if made.kind != kind:
        raise RefusedError(f"its state is in {made.kind} already", Place(file=str(folder)))
    return made


def _carry(source: Home, target: Home, seen: Seen) -> int:
    total = 0
    for lot in source.lots():
        digest = load(target.place(lot), lot.partition, chunks(source.place(lot), lot.partition))
        total += digest.rows
        seen(digest.rows)
    return total
