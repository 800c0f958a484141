"""Blobs that come in great number: appended to segment files, many with one sync.

A blob's reference says where it lies and what it is, `SEGMENT-OFFSET-LENGTH-DIGEST`, so that no index is needed: who
has the reference reads the blob, and the digest proves it. A file of its own with a sync of its own, as
`catalog_files.ObjectFiles` gives to what is large or used again, would cost two syncs a blob.

    segments/00000193a0c4e1f0-01.blobs      begun at that millisecond (hexadecimal), by that writer

One writer a segment; readers need nothing but the folder. A segment is never written again once its writer has ended,
or once a sweep has set it aside (`blob_files`), where it can still be read.
"""

from __future__ import annotations

__all__ = ("SEGMENT_BYTES_MAX", "BlobSegments")

import os
import re
from collections.abc import Sequence
from pathlib import Path

from engine.catalog import digest_of
from engine.errors import DamageError, InputError, StoreError
from engine.store.blob_files import find_aside

SEGMENT_BYTES_MAX = 256 << 20
_REFERENCE = re.compile(r"([0-9a-f]{16}-[0-9a-z]{1,16})-([0-9]{1,12})-([0-9]{1,12})-([0-9a-f]{32})")
_OPEN_MAX = 64  # segments a reader keeps open


class BlobSegments:
    """Blobs in segment files of a folder.

    Args:
        folder: where segments lie; made when the first blob is written.
        now_ms: names the next segment; a time that was used already is counted up.
        segment_bytes_max: a longer segment is followed by a new one.
    """

    def __init__(
        self, folder: Path, now_ms: int = 0, segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> None:
        self._folder = folder
        self._now_ms = now_ms
        self._bytes_max = segment_bytes_max
        self._file = -1
        self._name = ""
        self._size = 0
        self._open: dict[str, int] = {}

    def put(self, blobs: Sequence[bytes]) -> list[str]:
        """Store blobs with one sync; durable on return. Returns their references, in order.

        Raises: StoreError: they may not be there; nothing may refer to them. Calling again is harmless.
        """
        if not blobs:
            return []
        try:
            if self._file < 0 or self._size >= self._bytes_max or not self._stands():
                self._begin()
            start, references = self._size, []
            for blob in blobs:
                references.append(f"{self._name}-{self._size}-{len(blob)}-{digest_of(blob)}")
                self._size += len(blob)
            _write(self._file, b"".join(blobs), start)
            os.fdatasync(self._file)
        except OSError as error:
            self._abandon()  # what stands at its end isn't known: no blob is put behind it
            raise StoreError(f"blobs {self._folder}: {error.strerror}") from error
        return references

    def get(self, reference: str) -> bytes:
        """Give a blob back.

        Raises: InputError when it is no reference; StoreError when there is none; DamageError when it isn't what its
        reference says.
        """
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            raise InputError(f"{reference[:80]!r} is no reference of a blob")
        name, offset, length, digest = found.groups()
        try:
            content = os.pread(self._reading(name), int(length), int(offset))
        except OSError as error:
            raise StoreError(f"blob segment {name}: {error.strerror}") from error
        if digest_of(content) != digest:
            raise DamageError(f"blob {reference} holds something else")
        return content

    def close(self) -> None:
        """Close all files. Idempotent."""
        self._abandon()
        for file in self._open.values():
            os.close(file)
        self._open.clear()

    def _begin(self) -> None:
        self._abandon()
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{self._now_ms:016x}-{os.getpid() % 36**6:x}"
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._file = os.open(self._path(name), flags, 0o600)
            except FileExistsError:
                self._now_ms += 1
            else:
                break
        self._name, self._size = name, 0
        self._now_ms += 1
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _stands(self) -> bool:
        """Whether the segment is where it was begun: an idle one may have been set aside."""
        return self._path(self._name).exists()

    def _abandon(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _reading(self, name: str) -> int:
        file = self._open.get(name)
        if file is None:
            if len(self._open) >= _OPEN_MAX:
                os.close(self._open.pop(next(iter(self._open))))
            flags = os.O_RDONLY | os.O_CLOEXEC
            try:
                file = os.open(self._path(name), flags)
            except FileNotFoundError:
                aside = find_aside(self._folder.parent, f"{name}.blobs")
                if aside is None:
                    raise
                file = os.open(aside, flags)
            self._open[name] = file
        return file

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.blobs"


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
