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
    "current_version",
    "frames",
    "hasher_of",
    "map_packed",
    "remove_others",
    "write_packed",
)

import mmap
import os
import secrets
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from deliverability.suppression.entry import Hasher
from deliverability.suppression.machine import Change
from deliverability.suppression.packed import Buffer, Packed, PackedWriter
from engine.errors import DamageError, StoreError
from engine.store.catalog_files import write_durably

KEY_BYTES = 32
FRAME_BYTES_MAX = 64 << 20
_FRAME = msgspec.msgpack.Decoder(tuple[int, list[Change]])
_encode = msgspec.msgpack.Encoder().encode


def hasher_of(data_dir: Path) -> Hasher:
    """Read the key that addresses are hashed with; make it when there is none.

    Raises: StoreError: it can't be read or made, or is cut off.
    """
    path = data_dir / "suppression.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise DamageError(f"{path}: expected {KEY_BYTES} bytes, found {len(key)}")
    return Hasher(key)


def _make_key(path: Path) -> None:
    """Make the key whole or not at all; of two processes that try, one wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
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


def map_packed(folder: Path, version: int) -> Packed:
    """Map a sorted file. Its pages are shared by all who do."""
    with (folder / f"{version}.packed").open("rb") as file:
        return Packed(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def write_packed(
    folder: Path, version: int, scopes: Sequence[str], count: int, records: Iterable[Buffer]
) -> None:
    """Write a sorted file and its empty changes, then make them current. After a crash the old ones are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{version}.packed"
    draft = path.with_suffix(".draft")  # never written over: others may have it mapped
    with draft.open("wb") as file:
        writer = PackedWriter(file.write, version, scopes, count)
        for piece in records:
            writer.records(piece)
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    (folder / f"{version}.changes").unlink(missing_ok=True)
    (folder / f"{version}.changes").touch(0o600)
    write_durably(folder / "current", str(version).encode())


def remove_others(folder: Path, kept: Container[int]) -> None:
    """Remove files of other versions; who has one mapped keeps it until it looks again."""
    for path in folder.glob("*.*"):
        number, _, kind = path.name.partition(".")
        if kind in ("packed", "changes") and number.isdigit() and int(number) not in kept:
            path.unlink(missing_ok=True)


def frames(raw: bytes) -> Iterator[tuple[int, int, list[Change]]]:
    """Read whole frames: (where it ends, version, changes). Stops before one that is cut off or isn't whole."""
    at = 0
    while at + 8 <= len(raw):
        length, check = int.from_bytes(raw[at : at + 4]), int.from_bytes(raw[at + 4 : at + 8])
        end = at + 8 + length
        body = raw[at + 8 : end]
        if end > len(raw) or length > FRAME_BYTES_MAX or zlib.crc32(body) != check:
            return
        try:
            version, changes = _FRAME.decode(body)
        except msgspec.MsgspecError:
            return
        yield end, version, changes
        at = end


class ChangesFile:
    """The writer's end of the changes since a sorted file."""

    def __init__(self, folder: Path, version: int) -> None:
        self._descriptor = os.open(
            folder / f"{version}.changes", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600
        )

    def recover(self) -> list[tuple[int, list[Change]]]:
        """Read what stands there; what is cut off at the end is cut away."""
        size = os.fstat(self._descriptor).st_size
        found = []
        whole = 0
        for end, version, changes in frames(os.pread(self._descriptor, size, 0)):
            found.append((version, changes))
            whole = end
        if whole != size:
            os.ftruncate(self._descriptor, whole)
        return found

    def append(self, version: int, changes: Sequence[Change]) -> None:
        """Let everybody on this node know; they may see it from the return on.

        Not synced: the store has it, and what the machine's death takes is written again from there.
        Raises: StoreError: they may not see it; nothing may be acknowledged.
        """
        body = _encode((version, list(changes)))
        raw = b"".join((len(body).to_bytes(4), zlib.crc32(body).to_bytes(4), body))
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
