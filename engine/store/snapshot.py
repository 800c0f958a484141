"""A store as it is at one moment, read from another process while its owner goes on writing.

RocksDB calls this a secondary instance: it reads the owner's files and log without its lock, and costs the owner
nothing. It holds the files open that it read, so that what the owner compacts meanwhile stays readable.
"""

from __future__ import annotations

__all__ = ("Snapshot",)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Options, Rdict, ReadOptions

from engine.errors import StoreError

_READAHEAD = 2 << 20


class Snapshot:
    """Rows of a RocksDB store as of when this was made. `scratch` is a folder for the log that RocksDB writes.

    Raises: StoreError: there is no store, or it can't be read.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        options = Options(raw_mode=True)
        options.set_max_open_files(-1)
        try:
            access = AccessType.secondary(str(scratch))
            self._database: Any = Rdict(str(path), options, {"default": options}, access)
        except Exception as error:
            raise StoreError(f"store {path}: {error}") from error

    def rows(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Read rows with start <= key < end, in order. Raises: StoreError."""
        options = ReadOptions()
        options.set_iterate_upper_bound(end)
        options.set_readahead_size(_READAHEAD)
        try:
            iterator = self._database.iter(options)
            iterator.seek(start)
            key, value, following, valid = (
                iterator.key,
                iterator.value,
                iterator.next,
                iterator.valid,
            )
            while valid():
                yield key(), value()
                following()
            iterator.status()
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"store {self._path}: {error}") from error

    def close(self) -> None:
        """Let go."""
        self._database.close()
