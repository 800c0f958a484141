"""The data directory of an instance that isn't running: its stores, opened to be read only."""

from __future__ import annotations

__all__ = ("Directory", "StoreFiles", "opened")

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from actors.instance.lock import lock_holder
from engine.entities import Machines
from engine.errors import InputError, Place, RefusedError
from engine.keyspace import Keyspace
from engine.store.format import DataFormat, read_format, store_path
from engine.store.rocksdb import RocksStore
from engine.store.rocksdb import lock_holder as store_holder

_CACHE_MB = 64


class StoreFiles(msgspec.Struct):
    """One store. `numbers` are its partitions."""

    name: str
    path: Path
    rows: RocksStore
    numbers: list[int]


class Directory(msgspec.Struct):
    """All stores of an instance, and what its rows mean."""

    format: DataFormat
    keyspace: Keyspace
    machines: Machines
    stores: list[StoreFiles]

    def store_of(self, key: bytes) -> StoreFiles:
        """Give the store in which an entity lies."""
        return self.stores[self.keyspace.partition(key) % len(self.stores)]


@contextlib.contextmanager
def opened(folder: Path, machines: Machines) -> Iterator[Directory]:
    """Open all stores to be read.

    Raises:
        RefusedError: an instance runs here, or the directory is of a newer version.
        InputError: there is no data here.
        DamageError: a store can't be opened.
    """
    made = _format(folder)
    _refuse_while_running(folder, made)
    stores: list[StoreFiles] = []
    try:
        for index in range(made.stores):
            path = store_path(folder, index, made.stores)
            if not path.is_dir():
                raise InputError(f"store {path} is missing", Place(file=str(folder)))
            rows = RocksStore(path, _CACHE_MB, read_only=True)
            numbers = list(range(index, made.partitions, made.stores))
            stores.append(StoreFiles(path.name, path, rows, numbers))
        yield Directory(made, Keyspace(made.partitions), machines, stores)
    finally:
        for store in stores:
            store.rows.close()


def _format(folder: Path) -> DataFormat:
    made = read_format(folder)
    if made is None:
        raise InputError(
            "there is no data of an instance here",
            Place(file=str(folder)),
            "name its data directory with --data",
        )
    return made


def _refuse_while_running(folder: Path, made: DataFormat) -> None:
    holder = lock_holder(folder)
    for index in range(made.stores):
        if holder is None:
            holder = store_holder(store_path(folder, index, made.stores))
    if holder is not None:
        raise RefusedError(
            f"it is in use, by process {holder or 'unknown'}",
            Place(file=str(folder)),
            "stop the instance first; `veredus audit --recount` checks one that runs",
        )
