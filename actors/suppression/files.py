"""The files by which all processes of a node share one suppression list.

    suppression.key          32 random bytes, mode 0600: addresses are hashed with them
    suppression/current      the version of the sorted file in use, as text
    suppression/V.packed     the sorted file as of version V (`deliverability.suppression.packed`)
    suppression/V.changes    what changed since: frames of length (4), CRC-32 (4), MessagePack [version, changes]

One process writes (the desk), all others read. A change stands in `V.changes` before it is acknowledged; a change of
files happens in this order: new sorted file, new empty changes, `current`. So whoever reads `current` and then the
changes knows all that was acknowledged before it began to read.
"""

from __future__ import annotations

__all__ = (
    "ChangesFile",
    "changes_path",
    "current_version",
    "hasher_of",
    "key_of",
    "map_packed",
    "map_raw",
    "packed_path",
    "put_key",
    "remove_others",
    "write_packed",
)

import mmap
import os
import secrets
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from deliverability.suppression.entry import Hasher
from deliverability.suppression.frames import Frame, frame_of, frames
from deliverability.suppression.machine import Change
from deliverability.suppression.packed import Buffer, Packed, PackedWriter
from engine.errors import DamageError, StoreError
from engine.store.catalog_files import write_durably

KEY_BYTES = 32


def hasher_of(data_dir: Path) -> Hasher:
    """Read the key that addresses are hashed with; make it when there is none.

    Raises: StoreError: it can't be read or made, or is cut off.
    """
    return Hasher(key_of(data_dir))


def key_of(data_dir: Path) -> bytes:
    """Read the key that addresses are hashed with; make it when there is none. Raises: as `hasher_of`."""
    path = data_dir / "suppression.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            put_key(path, secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise DamageError(f"{path}: expected {KEY_BYTES} bytes, found {len(key)}")
    return key


def put_key(path: Path, key: bytes) -> None:
    """Write a key whole or not at all, where there is none; of two processes that try, one wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # somebody was quicker; theirs is the key
    finally:
        draft.unlink()


def current_version(folder: Path) -> int | None:
    """Tell which sorted file is in use; None: there is none."""
    try:
        return int((folder / "current").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamageError(f"{folder / 'current'}: {error}") from error


def packed_path(folder: Path, version: int) -> Path:
    """Name the sorted file of a version."""
    return folder / f"{version}.packed"


def changes_path(folder: Path, version: int) -> Path:
    """Name the file of what changed since."""
    return folder / f"{version}.changes"


def map_packed(folder: Path, version: int) -> Packed:
    """Map a sorted file. Its pages are shared by all who do."""
    return Packed(map_raw(packed_path(folder, version)))


def map_raw(path: Path) -> memoryview:
    """Map a file as it lies."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def write_packed(
    folder: Path, version: int, scopes: Sequence[str], count: int, records: Iterable[Buffer]
) -> None:
    """Write a sorted file and its empty changes, then make them current. After a crash the old ones are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = packed_path(folder, version)
    draft = path.with_suffix(".draft")  # never written over: others may have it mapped
    with draft.open("wb") as file:
        writer = PackedWriter(file.write, version, scopes, count)
        for piece in records:
            writer.records(piece)
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    changes_path(folder, version).unlink(missing_ok=True)
    changes_path(folder, version).touch(0o600)
    write_durably(folder / "current", str(version).encode())


def remove_others(folder: Path, kept: Container[int | None]) -> None:
    """Remove files of other versions; who has one mapped keeps it until it looks again."""
    for path in folder.glob("*.*"):
        number, _, kind = path.name.partition(".")
        if kind in ("packed", "changes", "stamp") and number.isdigit() and int(number) not in kept:
            path.unlink(missing_ok=True)


class ChangesFile:
    """The writer's end of the changes since a sorted file."""

    def __init__(self, folder: Path, version: int) -> None:
        self._descriptor = os.open(
            changes_path(folder, version), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600
        )

    def recover(self) -> list[Frame]:
        """Read what stands there; what is cut off at the end is cut away."""
        size = os.fstat(self._descriptor).st_size
        found = list(frames(os.pread(self._descriptor, size, 0)))
        whole = found[-1].end if found else 0
        if whole != size:
            os.ftruncate(self._descriptor, whole)
        return found

    def append(self, version: int, changes: Sequence[Change]) -> None:
        """Let everybody on this node know; they may see it from the return on.

        Not synced: the store has it, and what the machine's death takes is written again from there.
        Raises: StoreError: they may not see it; nothing may be acknowledged.
        """
        self.append_raw(frame_of(version, changes))

    def append_raw(self, raw: bytes) -> None:
        """Let everybody on this node know of whole frames. Raises: StoreError: none of them stands there."""
        size = os.fstat(self._descriptor).st_size
        reason = "the disk is full"
        try:
            if os.write(self._descriptor, raw) == len(raw):
                return
        except OSError as error:
            reason = error.strerror or str(error)
        # half a frame would hide what follows it from everybody
        os.ftruncate(self._descriptor, size)
        raise StoreError(f"changes of the suppression list: {reason}")

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
