"""Blobs of a directory on which nothing runs: which are needed, and the rest removed."""

from __future__ import annotations

__all__ = ("BlobStats", "look")

from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.operations.blob_marks import MarkWork, needed_of
from actors.operations.files import Directory
from actors.worker.injected import BLOBS_FOLDER
from engine.errors import StoreError
from engine.store.blob_files import BlobFiles, blob_files, is_needed


class BlobStats(msgspec.Struct):
    """Files of the folder, those set aside included: needed by some message, and not."""

    needed: int = 0
    needed_bytes: int = 0
    idle: int = 0
    idle_bytes: int = 0


def look(
    directory: Directory, data_dir: Path, seen: Callable[[int], None], *, remove: bool
) -> BlobStats:
    """Look through all stores; `remove`: take away what isn't needed. `seen` hears of slices as they are read.

    Raises: StoreError, DamageError: a store or a mail can't be read; then nothing is removed.
    """
    folder = data_dir / BLOBS_FOLDER
    references: set[str] = set()
    for store in directory.stores:
        work = MarkWork(store.rows, directory.machines, store.numbers)
        while work.step():
            seen(1)
        references |= work.references
    needed = needed_of(references, BlobFiles(folder))
    found = BlobStats()
    try:
        for file in blob_files(folder):
            size = file.stat().st_size
            if is_needed(file, needed):
                found.needed += 1
                found.needed_bytes += size
                continue
            found.idle += 1
            found.idle_bytes += size
            if remove:
                file.unlink()
    except OSError as error:
        raise StoreError(f"blobs {folder}: {error.strerror}") from error
    return found
