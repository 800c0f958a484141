"""Blobs as files, and what becomes of those that no message needs any more.

    blobs/ab/abcdef…                an object: a template or attachment of an application, by its digest
    blobs/segments/NAME.blobs       whole messages (`blob_segments`)
    blobs/aside/TIME/…              set aside by a sweep at that time (ms, hexadecimal), still readable

A sweep knows what is needed; what isn't, and is older than a while, it first sets aside, and removes only when a later
sweep, a while after, still knows of nobody who needs it. Whoever stores an object again makes it young, and whoever
reads finds what is aside, so that a message that comes while a sweep goes on loses nothing.
"""

from __future__ import annotations

__all__ = (
    "ASIDE",
    "BlobFiles",
    "Needed",
    "Swept",
    "blob_files",
    "find_aside",
    "is_needed",
    "sweep",
)

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.catalog import digest_of
from engine.errors import DamageError, StoreError
from engine.store.catalog_files import ObjectFiles

ASIDE = "aside"
SEGMENTS = "segments"
_SUFFIX = ".blobs"


class Needed(msgspec.Struct, frozen=True):
    """What some message still needs: digests of objects, and names of segments."""

    objects: frozenset[str]
    segments: frozenset[str]


class Swept(msgspec.Struct):
    """What a sweep did, in files; `kept` were needed or young, `freed_bytes` are those of what was removed."""

    kept: int = 0
    set_aside: int = 0
    restored: int = 0
    removed: int = 0
    freed_bytes: int = 0


class BlobFiles(ObjectFiles):
    """Objects that may be set aside."""

    def put(self, content: bytes) -> str:
        """Store content; durable on return. Returns its digest. Idempotent; what was there is young again."""
        digest = digest_of(content)
        try:
            os.utime(self._path(digest))
        except FileNotFoundError:
            return super().put(content)
        return digest

    def get(self, digest: str) -> bytes:
        """Give content back, from aside too.

        Raises: DamageError when it isn't what its name says; StoreError when there is none.
        """
        try:
            return super().get(digest)
        except StoreError:
            found = find_aside(self._folder, digest)
            if found is None:
                raise
        content = found.read_bytes()
        if digest_of(content) != digest:
            raise DamageError(f"object {digest} holds something else")
        return content


def find_aside(folder: Path, name: str) -> Path | None:
    """Find what a sweep set aside; the newest, should there be several."""
    found = sorted((folder / ASIDE).glob(f"*/{name}"), reverse=True)
    return found[0] if found else None


def sweep(folder: Path, needed: Needed, now_ms: int, kept_ms: int) -> Swept:
    """Set aside what isn't needed, and remove what has been aside for long. One at a time.

    Args:
        folder: of all blobs.
        needed: by messages, as of a moment that isn't before `now_ms`.
        now_ms: when the look for what is needed began.
        kept_ms: so long what isn't needed is kept, and so long again aside.

    Raises: StoreError: a file can't be moved or removed; what was done stays done.
    """
    swept = Swept()
    try:
        for generation in _generations(folder):
            _look_aside(folder, generation, needed, now_ms - kept_ms, swept)
        place = folder / ASIDE / f"{now_ms:016x}"
        for file in list(_standing(folder)):
            if is_needed(file, needed) or _age(file) > now_ms - kept_ms:
                swept.kept += 1
                continue
            place.mkdir(parents=True, exist_ok=True)
            file.replace(place / file.name)
            swept.set_aside += 1
    except OSError as error:
        raise StoreError(f"blobs {folder}: {error.strerror}") from error
    return swept


def _look_aside(
    folder: Path, generation: Path, needed: Needed, until_ms: int, swept: Swept
) -> None:
    for file in sorted(generation.iterdir()):
        if is_needed(file, needed) or _age(file) > until_ms:
            home = _home(folder, file.name)
            home.parent.mkdir(parents=True, exist_ok=True)
            file.replace(home)
            swept.restored += 1
        elif int(generation.name, 16) <= until_ms:
            swept.freed_bytes += file.stat().st_size
            file.unlink()
            swept.removed += 1
    if not any(generation.iterdir()):
        generation.rmdir()


def blob_files(folder: Path) -> list[Path]:
    """List all blobs, those set aside too."""
    aside = [file for generation in _generations(folder) for file in sorted(generation.iterdir())]
    return [*_standing(folder), *aside]


def _standing(folder: Path) -> Iterator[Path]:
    yield from _objects(folder)
    yield from sorted((folder / SEGMENTS).glob(f"*{_SUFFIX}"))


def _generations(folder: Path) -> list[Path]:
    return sorted(one for one in (folder / ASIDE).glob("*") if one.is_dir())


def _objects(folder: Path) -> Iterator[Path]:
    for shelf in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        yield from (file for file in sorted(shelf.iterdir()) if not file.name.startswith("."))


def _home(folder: Path, name: str) -> Path:
    return folder / SEGMENTS / name if name.endswith(_SUFFIX) else folder / name[:2] / name


def is_needed(file: Path, needed: Needed) -> bool:
    """Tell whether some message needs a file."""
    if file.name.endswith(_SUFFIX):
        return file.name.removesuffix(_SUFFIX) in needed.segments
    return file.name in needed.objects


def _age(file: Path) -> int:
    """When it was written or stored again last, ms."""
    return file.stat().st_mtime_ns // 1_000_000
