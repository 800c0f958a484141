"""Catalog objects and blobs as files: content-addressed, durable before anybody refers to them.

objects/ab/abcdef...      content under its digest, never changed
head.json                 the newest head, replaced atomically
"""

from __future__ import annotations

__all__ = ("CatalogFiles", "ObjectFiles")

import os
from pathlib import Path

import msgspec

from engine.catalog import Head, Item, digest_of, published
from engine.errors import DamageError, StoreError


class ObjectFiles:
    """Content-addressed files in a folder: also the blob store for raw MIME and attachments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """Store content; durable on return. Returns its digest. Idempotent."""
        digest = digest_of(content)
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, content)
        return digest

    def get(self, digest: str) -> bytes:
        """Give content back.

        Raises: DamageError when it isn't what its name says; StoreError when there is none.
        """
        try:
            content = self._path(digest).read_bytes()
        except OSError as error:
            raise StoreError(f"object {digest}: {error.strerror}") from error
        if digest_of(content) != digest:
            raise DamageError(f"object {digest} holds something else")
        return content

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


class CatalogFiles:
    """The published catalog of a data directory. One writer (the controller), many readers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.objects = ObjectFiles(folder / "objects")

    def head(self) -> Head:
        """Read the newest head."""
        path = self._folder / "head.json"
        if not path.exists():
            return Head()
        try:
            return msgspec.json.decode(path.read_bytes(), type=Head)
        except msgspec.MsgspecError as error:
            raise DamageError(f"catalog {path}: {error}") from error

    def publish(self, contents: list[tuple[str, str, str, bytes]]) -> Head:
        """Publish (section, tenant, name, content) together. Returns the head, the old one if nothing is new."""
        old = self.head()
        items = [
            Item(section, tenant, name, self.objects.put(content))
            for section, tenant, name, content in contents
        ]
        new = published(old, items)
        if new is not old:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_durably(self._folder / "head.json", msgspec.json.encode(new))
        return new

    def load(self, head: Head) -> dict[str, bytes]:
        """Read all objects of a head."""
        return {item.digest: self.objects.get(item.digest) for item in head.items}


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
