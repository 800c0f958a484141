"""What a data directory is: a file that tells the version of its format, and how its partitions lie in stores.

Partition p lies in store p mod n, so both numbers are fixed when the directory is made: with another number of stores
most partitions would look empty, and their contacts lost. `settle` writes the file when it makes the directory,
migrates an older directory step by step, and refuses whatever it can't read for certain.

    format.json    {"version": 3, "partitions": 32, "stores": 2, "purpose": "instance", "kind": "rocksdb"}
"""

from __future__ import annotations

__all__ = (
    "FORMAT_FILE",
    "VERSION",
    "DataFormat",
    "Kind",
    "Migration",
    "Purpose",
    "begin_replay",
    "read_format",
    "settle",
    "store_path",
    "write_format",
)

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import DamageError, Place, RefusedError

FORMAT_FILE = "format.json"
VERSION = 3
PARTITIONS_OF_VERSION_0 = 256

Purpose = Literal["instance", "replay", "moved"]
"""`replay`: made by a run that began with nothing and may be thrown away by the next; `moved`: its state
is elsewhere."""

Kind = Literal["rocksdb", "redis"]
"""Where the rows are: in this directory, or in Redis; then any number of workers can serve them."""

Migration = Callable[[Path, "DataFormat"], "DataFormat"]
"""Brings a directory from one version to the next; may be repeated after it was cut short."""

_STORE = re.compile(r"(\d{1,4})-of-(\d{1,4})")


class DataFormat(msgspec.Struct, frozen=True):
    """How the data of a directory lies. Fields are only ever added, with defaults."""

    version: int
    partitions: int
    stores: int  # one a worker; partition p lies in store p mod stores
    purpose: Purpose = "instance"
    kind: Kind = "rocksdb"


def store_path(folder: Path, index: int, stores: int) -> Path:
    """Give the folder of one store."""
    return folder / "store" / f"{index}-of-{stores}"


def read_format(folder: Path) -> DataFormat | None:
    """Read what a data directory says of itself; None when it says nothing.

    Raises:
        RefusedError: it was written by a newer Veredus.
        DamageError: the file can't be read.
    """
    path = folder / FORMAT_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        version = msgspec.json.decode(raw, type=_Version).version
        if version > VERSION:
            raise RefusedError(
                f"this data directory has format {version}, and this Veredus knows up to {VERSION}",
                Place(file=str(path)),
                "run the version that wrote it, or a newer one",
            )
        return msgspec.json.decode(raw, type=DataFormat)
    except msgspec.MsgspecError as error:
        raise DamageError(f"{path}: it can't be read: {error}") from error


def settle(
    folder: Path,
    partitions: int,
    stores: int,
    purpose: Purpose = "instance",
    migrations: Mapping[int, Migration] | None = None,
    kind: Kind = "rocksdb",
) -> DataFormat:
    """Make the directory, or see that it is what the configuration says; migrates an older one. Idempotent.

    Args:
        folder: the data directory.
        partitions: as configured.
        stores: how many workers there are.
        purpose: what a new directory is made for.
        migrations: by the version that they begin with.
        kind: where the rows are.

    Raises:
        RefusedError: it is newer than this program, or made for other numbers or another kind of store.
        DamageError: what it says of itself can't be read.
    """
    found = read_format(folder)
    if found is None:
        found = _of_stores(folder, purpose)
    if found is None:
        _enough(folder, partitions, stores)
        made = DataFormat(VERSION, partitions, stores, purpose, kind)
        _write(folder, made)
        return made
    found = _migrated(folder, found, MIGRATIONS if migrations is None else migrations)
    _same(folder, found, partitions, stores, kind)
    if found.purpose == "replay" and purpose == "instance":
        found = msgspec.structs.replace(
            found, purpose=purpose
        )  # from now on nobody may throw it away
        _write(folder, found)
    if found.kind == "redis" and stores > found.stores:
        found = msgspec.structs.replace(found, stores=stores)
        _write(folder, found)
    return found


def write_format(folder: Path, made: DataFormat) -> None:
    """Say what a directory is: for copies that just made it so. Durable on return."""
    _write(folder, made)


def begin_replay(folder: Path, partitions: int, stores: int, kind: Kind = "rocksdb") -> DataFormat:
    """Write down a directory whose stores were made for a replay, or are about to be.

    Raises: RefusedError: it holds the data of an instance, which a replay would throw away.
    """
    found = read_format(folder)
    if found is not None and found.purpose != "replay":
        raise RefusedError(
            "it holds the data of an instance, and a replay begins with nothing",
            Place(file=str(folder)),
            "give the replay another directory with --data",
        )
    _enough(folder, partitions, stores)
    made = DataFormat(VERSION, partitions, stores, "replay", kind)
    _write(folder, made)
    return made


class _Version(msgspec.Struct):
    version: int


def _enough(folder: Path, partitions: int, stores: int) -> None:
    """Refuse to make a directory in which some workers would own nothing, for ever."""
    if stores > partitions:
        raise RefusedError(
            f"{stores} workers can't share {partitions} partitions",
            Place(file=str(folder)),
            f"set store.partitions to a power of two of at least {stores}, better sixteen times as many",
        )


def _of_stores(folder: Path, purpose: Purpose) -> DataFormat | None:
    """Tell what a directory of version 0, which had no file, is by the names of its stores."""
    counts = set()
    parent = folder / "store"
    for path in parent.iterdir() if parent.is_dir() else ():
        named = _STORE.fullmatch(path.name)
        if named is not None:
            counts.add(int(named[2]))
    if not counts:
        return None
    if len(counts) > 1:
        raise RefusedError(
            f"it holds stores of {' and of '.join(map(str, sorted(counts)))} workers",
            Place(file=str(parent)),
            "move the folders of all but one number away",
        )
    return DataFormat(0, PARTITIONS_OF_VERSION_0, counts.pop(), purpose)


def _migrated(folder: Path, found: DataFormat, migrations: Mapping[int, Migration]) -> DataFormat:
    """Go on from version to version; each is on disk before the next begins."""
    while found.version < VERSION:
        migration = migrations.get(found.version)
        if migration is None:
            raise RefusedError(
                f"this data directory has format {found.version}, which can't be migrated to {VERSION}",
                Place(file=str(folder / FORMAT_FILE)),
                "migrate it with the release before this one",
            )
        begun = found.version
        found = msgspec.structs.replace(migration(folder, found), version=begun + 1)
        _write(folder, found)
    return found


def _same(folder: Path, found: DataFormat, partitions: int, stores: int, kind: Kind) -> None:
    place = Place(file=str(folder / FORMAT_FILE))
    if found.kind != kind:
        raise RefusedError(
            f"the state of this data directory is in {found.kind}, and store.kind is {kind!r}",
            place,
            f"`veredus store move` takes it there, or set store.kind = {found.kind!r}",
        )
    if found.partitions != partitions:
        raise RefusedError(
            f"this data directory has {found.partitions} partitions, and {partitions} are configured",
            place,
            f"set store.partitions = {found.partitions}; the number is fixed when a directory is made",
        )
    if found.kind == "rocksdb" and found.stores != stores:
        raise RefusedError(
            f"this data directory was made for {found.stores} workers, and {stores} are asked for",
            place,
            f"set workers.count = {found.stores} (or --workers {found.stores}): partitions lie in stores by"
            " that number, and with another most contacts would look lost",
        )


def _write(folder: Path, made: DataFormat) -> None:
    """Write whole or not at all, durably."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{FORMAT_FILE}.new"
    with draft.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / FORMAT_FILE)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_down(_folder: Path, found: DataFormat) -> DataFormat:
    """Version 0 had no file; its stores lie as those of version 1."""
    return found


def _read_on(_folder: Path, found: DataFormat) -> DataFormat:
    """What version 2 adds (data of events as text) and version 3 (seen ids in records, pages of the feed).

    Each reads all that was written before it, not the other way.
    """
    return found


MIGRATIONS: Mapping[int, Migration] = {0: _write_down, 1: _read_on, 2: _read_on}
"""All migrations there are, by the version that they begin with."""
