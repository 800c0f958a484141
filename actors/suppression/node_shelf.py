"""The copy of the list that a node keeps of its own, in files of the same form as the desk's.

NODE_DIR/LIST/suppression.key    the list's key, mode 0600
…/suppression/V.packed, V.changes, current    as the desk writes them
…/suppression/V.stamp    the stamp of the place that V.packed is as of
…/suppression/V-DIGEST.part    a snapshot on its way
…/suppression/heard    as of when the copy is known to be whole: version (8), ms of the monotonic clock (8),
                       the machine's boot (8), CRC-32 (4)
…/suppression/writer   locked by the one process of the node that writes
"""

from __future__ import annotations

__all__ = ("NodeShelf", "make_folder", "node_folder", "read_heard", "take_key")

import fcntl
import hashlib
import os
import struct
import zlib
from pathlib import Path

from actors.suppression.files import (
    ChangesFile,
    changes_path,
    current_version,
    map_packed,
    packed_path,
    put_key,
    remove_others,
    write_packed,
)
from deliverability.suppression.broadcast import Snapshot, stamp_of
from deliverability.suppression.frames import frames
from deliverability.suppression.mirror import Held
from deliverability.suppression.packed import PREFIX_BYTES, Found, Packed, merge
from engine.errors import ConfigError, DamageError, Place, VeredusError
from engine.store.catalog_files import write_durably

CHANGES_MIN = 20_000  # fewer changes aren't worth a new sorted file
CHANGES_SHARE = 100  # nor less than a hundredth of it
_HEARD = struct.Struct(">QQ8s")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def node_folder(node_dir: str, list_id: str) -> Path:
    """Name the folder of a list on this node; `node_dir` may name variables of the node's environment."""
    return Path(os.path.expandvars(node_dir)).expanduser() / list_id


def make_folder(folder: Path) -> None:
    """Make the folder of a list. Raises: ConfigError: it can't be, or belongs to somebody else."""
    place = Place(path="suppression.node_dir")
    if "$" in str(folder):
        mend = "set it where Ray is started on each node, or write a folder"
        raise ConfigError(f"{folder}: names a variable that this node hasn't", place, mend)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        mend = "name a folder of this node's own disk that the user of Ray may write to"
        raise ConfigError(f"{folder}: {error.strerror}", place, mend) from error
    owners = {folder.stat().st_uid, folder.parent.stat().st_uid}
    if not owners <= {os.geteuid(), 0}:
        mend = "name a folder of the user that Ray runs as"
        raise ConfigError(f"{folder} belongs to another user", place, mend)


def take_key(folder: Path, key: bytes) -> None:
    """Keep the list's key on this node. Raises: DamageError: another one is there."""
    path = folder / "suppression.key"
    if not path.exists():
        put_key(path, key)
    if path.read_bytes() != key:
        raise DamageError(f"{path}: it isn't the key of the list whose folder this is")


def read_heard(descriptor: int) -> tuple[int, int] | None:
    """Read version and moment up to which a copy is whole; None: not known, or of another boot or machine."""
    raw = os.pread(descriptor, _HEARD.size + 4, 0)
    if len(raw) != _HEARD.size + 4 or zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:]):
        return None
    version, as_of, boot = _HEARD.unpack(raw[:-4])
    return (version, as_of) if boot == _boot() else None


class NodeShelf:
    """Keeps the copy (`deliverability.suppression.mirror.Shelf`). Raises everywhere: OSError, StoreError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "suppression"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._writer = os.open(self._folder / "writer", os.O_RDWR | os.O_CREAT, 0o600)
        self._heard = os.open(self._folder / "heard", os.O_RDWR | os.O_CREAT, 0o600)
        self._file: ChangesFile | None = None
        self._base: Packed | None = None
        self._changed = 0
        self._held = Held()
        self.is_ours = False

    def lock(self) -> bool:
        """Become the one that writes, if nobody else is. Stays so until `close`."""
        if not self.is_ours:
            try:
                fcntl.flock(self._writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self.is_ours = True
            self._open()
        return True

    def close(self) -> None:
        """Let go. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for descriptor in (self._writer, self._heard):
            if descriptor >= 0:
                os.close(descriptor)
        self._writer = self._heard = -1
        self.is_ours = False

    # ---- Shelf

    def held(self) -> Held:
        """Tell which place the copy has."""
        return self._held

    def part(self, snapshot: Snapshot) -> int:
        """Tell how much of a snapshot is here; what is left of others goes."""
        mine = self._part(snapshot)
        for path in self._folder.glob("*.part"):
            if path != mine:
                path.unlink(missing_ok=True)
        return min(mine.stat().st_size, snapshot.size) if mine.exists() else 0

    def write(self, snapshot: Snapshot, at: int, raw: bytes) -> None:
        """Keep a page."""
        with os.fdopen(
            os.open(self._part(snapshot), os.O_WRONLY | os.O_CREAT, 0o600), "wb"
        ) as file:
            file.seek(at)
            file.write(raw)
            file.truncate()

    def finish(self, snapshot: Snapshot) -> bool:
        """Check the whole, and put it in use."""
        part = self._part(snapshot)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            os.fsync(file.fileno())
        if digest != snapshot.digest:
            part.unlink()
            return False
        version = snapshot.version
        former = current_version(self._folder)
        part.replace(packed_path(self._folder, version))
        changes = changes_path(self._folder, version)
        changes.unlink(missing_ok=True)
        changes.touch(0o600)
        self._stamp(version, stamp_of(snapshot))
        write_durably(self._folder / "current", str(version).encode())
        remove_others(self._folder, (version, former))
        self._open()
        return self._file is not None  # else it has a form that isn't ours

    def append(self, raw: bytes, held: Held, changes: int) -> None:
        """Keep frames; now and then a new sorted file is made of them."""
        assert self._file is not None, "a mirror has a sorted file before it takes changes"
        assert self._base is not None, "see above"
        self._file.append_raw(raw)
        self._held = held
        self._changed += changes
        if self._changed > max(CHANGES_MIN, self._base.count // CHANGES_SHARE):
            self._compact()

    def heard(self, version: int, as_of: int) -> None:
        """Tell all processes of the node as of when the copy is whole."""
        raw = _HEARD.pack(version, as_of, _boot())
        os.pwrite(self._heard, raw + zlib.crc32(raw).to_bytes(4), 0)

    # ---- inside

    def _part(self, snapshot: Snapshot) -> Path:
        return self._folder / f"{snapshot.version}-{snapshot.digest.hex()[:16]}.part"

    def _stamp(self, version: int, stamp: int) -> None:
        write_durably(self._folder / f"{version}.stamp", str(stamp).encode())

    def _open(self) -> None:
        """Take the files as they are; what can't be used is as if there were nothing."""
        if self._file is not None:
            self._file.close()
        self._file, self._base, self._changed, self._held = None, None, 0, Held()
        try:
            version = current_version(self._folder)
            if version is None:
                return
            self._base = map_packed(self._folder, version)
            stamp = int((self._folder / f"{version}.stamp").read_bytes())
        except (OSError, ValueError, VeredusError):
            return
        self._file = ChangesFile(self._folder, version)
        self._held = Held(version, stamp)
        for frame in self._file.recover():
            self._held = Held(frame.version, frame.stamp)
            self._changed += len(frame.changes)

    def _compact(self) -> None:
        assert self._base is not None, "only what follows a sorted file is merged into it"
        raw = changes_path(self._folder, self._base.version).read_bytes()
        changed: dict[bytes, tuple[Found, ...]] = {}
        for frame in frames(raw):
            for change in frame.changes:
                found = tuple(Found(e.scope, e.reason, e.expires) for e in change.entries)
                changed[change.digest[:PREFIX_BYTES]] = found
        former, held = self._base.version, self._held
        scopes, count, pieces = merge(self._base, changed, 0)
        self._stamp(held.version, held.stamp)
        write_packed(self._folder, held.version, scopes, count, pieces)
        remove_others(self._folder, (former, held.version))
        self._open()


def _boot() -> bytes:
    """Name this machine's life, which the monotonic clock belongs to."""
    global _booted  # noqa: PLW0603 -- it can't change while a process lives
    if not _booted:
        _booted = hashlib.sha256(_BOOT.read_bytes()).digest()[:8]
    return _booted


_booted = b""
