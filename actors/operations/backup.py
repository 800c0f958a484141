"""Copies of a whole deployment in a folder or in object storage: rows, catalog, blobs, ledgers, control log.

    manifest.json            what it is, with the digest of every part; written last: without it nothing counts
    rows/partition-00007.gz  rows of a partition in order, in chunks: length (4 octets), msgpack list of [key, value]
    rows/feed-0000.gz        the feed of a worker
    files/...                the files of the data directory

All rows are of one moment, so what partitions told each other agrees: the instance is down, or its state is read as
`actors.operations.live` says. Files come after the rows: a ledger knows more than they do then, never less.
"""

from __future__ import annotations

__all__ = ("Backup", "Manifest", "back_up", "open_place", "read_manifest", "restore")

import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from actors.operations.homes import Home, Lot
from engine.errors import DamageError, InputError, Place, RefusedError, StoreError
from engine.store.copying import PartitionDigest, chunks, digest_of, digesting, load
from engine.store.format import Kind
from engine.store.protocol import FEED, Rows

VERSION = 1
MANIFEST = "manifest.json"
LEFT_OUT = frozenset(
    ("store", "store.moved", "store.draft", "pulse", "twin", "instance.lock", "format.json")
)
"""What belongs to a life, or is in the copy otherwise."""

CHUNK_BYTES_MAX = 1 << 30
PART_BYTES = 4 << 20

Seen = Callable[[int], None]
ObjectPlace = Any
"""A store of obstore: a folder, S3, GCS, Azure."""


class Manifest(msgspec.Struct, frozen=True):
    """What a copy is."""

    version: int
    made_ms: int
    kind: Kind  # where the state was
    partitions: int
    feeds: int
    lots: dict[str, PartitionDigest]
    files: dict[str, str]  # relative path -> BLAKE2b


class Backup(msgspec.Struct, frozen=True):
    """What was copied or restored, and verified by reading it back."""

    partitions: int
    feeds: int
    rows: int
    files: int
    bytes: int


def open_place(where: str, *, make: bool = False) -> ObjectPlace:
    """Open a folder, or the URL of a bucket and prefix (s3://, gs://, az://); keys come from the environment.

    Raises: InputError: it isn't one.
    """
    try:
        if "://" not in where:
            return LocalStore(str(Path(where).resolve()), mkdir=make)
        return from_url(where)
    except (BaseError, ValueError, OSError) as error:
        raise InputError(f"this can't be opened: {_line(error)}", Place(file=where)) from error


def back_up(home: Home, folder: Path, place: ObjectPlace, now_ms: int, seen: Seen) -> Backup:
    """Copy everything, read it back, and only then say that it is a copy.

    Raises: RefusedError: there is a copy there already. StoreError; DamageError: it doesn't read back as written.
    """
    if _fetch(place, MANIFEST) is not None:
        raise RefusedError("there is a copy there already", mend="name an empty place")
    lots: dict[str, PartitionDigest] = {}
    size = 0
    for lot in home.lots():
        writing = _Packed(digesting(chunks(home.place(lot), lot.partition)))
        _put(place, _rows_path(lot), writing)
        lots[lot.name] = writing.digest
        size += writing.bytes
        seen(writing.digest.rows)
    files = {}
    for path in _files(folder):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # an instance that runs has just removed it: it isn't wanted any more
        name = path.relative_to(folder).as_posix()
        _put(place, f"files/{name}", [content])
        files[name] = _digest(content)
        size += len(content)
    manifest = Manifest(VERSION, now_ms, home.kind, home.partitions, home.feeds, lots, files)
    _verify(place, manifest)
    _put(place, MANIFEST, [msgspec.json.format(msgspec.json.encode(manifest))])
    return _told(manifest, size)


def read_manifest(place: ObjectPlace) -> Manifest:
    """Read what a copy is. Raises: InputError: there is none, or of a newer version."""
    raw = _fetch(place, MANIFEST)
    if raw is None:
        raise InputError("there is no copy here: manifest.json is missing")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise InputError(f"manifest.json can't be read: {error}") from error
    if manifest.version > VERSION:
        raise InputError(
            f"the copy has version {manifest.version}, and this Veredus knows up to {VERSION}"
        )
    return manifest


def restore(place: ObjectPlace, manifest: Manifest, home: Home, folder: Path, seen: Seen) -> Backup:
    """Load a copy into an empty home and data directory; each part is compared with its digest.

    Raises: RefusedError: something is there already. DamageError: the copy isn't what its manifest says.
    """
    if home.feeds < manifest.feeds:
        raise RefusedError(
            f"the copy has the feeds of {manifest.feeds} workers, and {home.feeds} stores can't hold them",
            mend=f"ask for --workers {manifest.feeds} or more",
        )
    size = 0
    for name, wanted in manifest.files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise DamageError(f"files/{name} of the copy leads outside the data directory")
        content = _fetch(place, f"files/{name}")
        if content is None or _digest(content) != wanted:
            raise DamageError(f"files/{name} of the copy isn't what the manifest says")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        size += len(content)
    for lot in _lots(manifest):
        found = load(home.place(lot), lot.partition, _unpacked(place, _rows_path(lot)))
        if found != manifest.lots[lot.name]:
            raise DamageError(f"{_rows_path(lot)} of the copy isn't what the manifest says")
        seen(found.rows)
    return _told(manifest, size)


class _Packed:
    """Compressed chunks on their way out; afterwards `digest` and `bytes` tell what they came to."""

    def __init__(self, parts: Iterable[tuple[Rows, PartitionDigest]]) -> None:
        self._parts = parts
        self.digest = digest_of(())
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Give the octets of the file, in parts of some size."""
        packer = zlib.compressobj(1, wbits=31)
        waiting = b""
        for rows, digest in self._parts:
            self.digest = digest
            raw = msgspec.msgpack.encode(rows)
            waiting += packer.compress(len(raw).to_bytes(4) + raw)
            if len(waiting) >= PART_BYTES:
                self.bytes += len(waiting)
                yield waiting
                waiting = b""
        waiting += packer.flush()
        self.bytes += len(waiting)
        yield waiting


def _unpacked(place: ObjectPlace, path: str) -> Iterator[Rows]:
    unpacker = zlib.decompressobj(wbits=31)
    waiting = bytearray()
    decode = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]]).decode
    try:
        for part in obstore.get(place, path).stream(min_chunk_size=PART_BYTES):
            packed = bytes(part)
            while packed:  # a little of it may be very much
                waiting += unpacker.decompress(packed, PART_BYTES)
                packed = unpacker.unconsumed_tail
                yield from _whole_chunks(path, waiting, decode)
    except (BaseError, OSError, zlib.error, msgspec.MsgspecError) as error:
        raise DamageError(f"{path} of the copy can't be read: {_line(error)}") from error
    if waiting or not unpacker.eof:
        raise DamageError(f"{path} of the copy is cut short")


def _whole_chunks(path: str, waiting: bytearray, decode: Callable[[bytes], Rows]) -> Iterator[Rows]:
    """Take the chunks that are complete out of what waits."""
    while len(waiting) >= 4:
        length = int.from_bytes(waiting[:4])
        if length > CHUNK_BYTES_MAX:
            raise DamageError(f"{path}: a chunk of {length} octets")
        if len(waiting) < 4 + length:
            return
        yield decode(bytes(waiting[4 : 4 + length]))
        del waiting[: 4 + length]


def _line(error: Exception) -> str:
    """Give the first line of an error of obstore, which tells its whole cause."""
    return str(error).partition("\n")[0]


def _verify(place: ObjectPlace, manifest: Manifest) -> None:
    for lot in _lots(manifest):
        if digest_of(_unpacked(place, _rows_path(lot))) != manifest.lots[lot.name]:
            raise DamageError(f"{_rows_path(lot)} doesn't read back as it was written")
    for name, wanted in manifest.files.items():
        content = _fetch(place, f"files/{name}")
        if content is None or _digest(content) != wanted:
            raise DamageError(f"files/{name} doesn't read back as it was written")


def _lots(manifest: Manifest) -> list[Lot]:
    return [Lot(number) for number in range(manifest.partitions)] + [
        Lot(FEED, feed) for feed in range(manifest.feeds)
    ]


def _files(folder: Path) -> list[Path]:
    found = [
        path
        for top in sorted(folder.iterdir())
        if top.name not in LEFT_OUT
        for path in ([top] if top.is_file() else sorted(top.rglob("*")))
    ]
    return [path for path in found if path.is_file()]


def _rows_path(lot: Lot) -> str:
    return f"rows/{lot.name}.gz"


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _put(place: ObjectPlace, path: str, parts: Iterable[bytes]) -> None:
    try:
        obstore.put(place, path, iter(parts))
    except (BaseError, OSError) as error:
        raise StoreError(f"{path} can't be written: {_line(error)}") from error


def _fetch(place: ObjectPlace, path: str) -> bytes | None:
    try:
        return bytes(obstore.get(place, path).bytes())
    except (NotFoundError, FileNotFoundError):
        return None
    except (BaseError, OSError) as error:
        raise StoreError(f"{path} can't be read: {_line(error)}") from error


def _told(manifest: Manifest, size: int) -> Backup:
    rows = sum(digest.rows for digest in manifest.lots.values())
    return Backup(manifest.partitions, manifest.feeds, rows, len(manifest.files), size)
