"""The ledger file: begin marks and outcomes that outlive the process of an egress.

One append-only file for each incarnation, written with one `write` an entry (confirmations: one a batch): what was
written survives SIGKILL; surviving a power loss is a setting (`sync`). A lock on the file says that its writer lives;
whoever gets the lock adopts it.

    entry = tag (1 byte: B begin, O outcome, C confirmed) + message id (16) + attempt (4)
            + for O: length (4) + msgpack of the AttemptOutcome

A torn last entry (the process died in the middle of a write) is left out: it was never acted upon. So is an end of
zeros, which a file system may leave after a power loss where the size was written and the content wasn't. What else
can't be read is damage: of attempts of which the rest says nothing nobody knows whether they were begun. DESIGN §4.
"""

from __future__ import annotations

__all__ = ("Adopted", "LedgerFile", "adopt", "ledger_path", "writer_lives")

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deliverability.message.records import AttemptOutcome
from engine.errors import RefusedError, StoreError
from engine.ids import ID_BYTES

_HEAD = 1 + ID_BYTES + 4
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(AttemptOutcome).decode


def ledger_path(data_dir: Path, holder: str, incarnation: int) -> Path:
    """Tell where the ledger of a life of a holder lies."""
    return data_dir / "ledgers" / f"{holder}-{incarnation}.ledger"


class LedgerFile:
    """The ledger of one living egress. An entry is written whole or not at all.

    Args:
        path: the file, which must not exist yet.
        sync: fsync each begin mark, so that it survives a power loss too.

    Raises: StoreError when an entry can't be written, such as on a full disk.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._sync = sync
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size = 0
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def begin(self, message_id: bytes, attempt: int) -> None:
        """Write the begin mark."""
        self._append(b"B" + message_id + attempt.to_bytes(4))
        if self._sync:
            os.fdatasync(self._fd)

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        """Write an outcome."""
        body = _ENCODE(outcome)
        entry = (b"O", message_id, attempt.to_bytes(4), len(body).to_bytes(4), body)
        self._append(b"".join(entry))

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        """Write that outcomes are durable with their partitions: all in one write."""
        self._append(b"".join([b"C" + name + number.to_bytes(4) for name, number in attempts]))

    def _append(self, entry: bytes) -> None:
        """Write entries whole; what got there in part is taken back, since what follows it couldn't be read."""
        try:
            written = os.write(self._fd, entry)
        except OSError as error:
            raise StoreError(f"ledger {self._path}: {error}") from error
        if written != len(entry):
            os.ftruncate(self._fd, self._size)
            raise StoreError(f"ledger {self._path}: {written} of {len(entry)} bytes were written")
        self._size += written

    def close(self, *, remove: bool = False) -> None:
        """Close; remove the file when nothing in it is wanted any more."""
        if self._fd >= 0:
            if remove:
                self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


class Adopted(msgspec.Struct):
    """What the ledger of a dead incarnation says: outcomes unconfirmed, and marks without outcome."""

    path: str
    outcomes: dict[tuple[bytes, int], AttemptOutcome]
    in_doubt: set[tuple[bytes, int]]
    confirmed: int = 0
    damaged: bool = (
        False  # marks may be missing: of what it doesn't know nobody knows whether it was begun
    )

    def fate(self, message_id: bytes, attempt: int) -> AttemptOutcome | None:
        """Give the outcome of an attempt; None: this ledger has no mark of it."""
        key = (message_id, attempt)
        known = self.outcomes.get(key)
        if known is not None:
            return known
        if key in self.in_doubt:
            return AttemptOutcome(attempt, "in_doubt", "egress_died")
        return None


def adopt(path: Path) -> Adopted:
    """Read the ledger of a dead egress.

    Raises: RefusedError when its writer lives (holds the lock).
    """
    fd = _opened(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.fdopen(os.dup(fd), "rb") as file:
            return _read(str(path), file.read())
    except BlockingIOError as error:
        raise RefusedError(f"ledger {path} is in use by a living egress") from error
    finally:
        os.close(fd)


def writer_lives(path: Path) -> bool:
    """Tell whether the writer of a ledger lives; a file that is gone was closed or adopted, so its writer doesn't."""
    try:
        fd = _opened(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    """Open a ledger to lock it: over NFS an exclusive lock wants a file that is open for writing."""
    return os.open(path, os.O_RDWR)


def _read(path: str, raw: bytes) -> Adopted:
    adopted = Adopted(path, {}, set())
    end = len(raw.rstrip(b"\0"))
    at = 0
    while at + _HEAD <= len(raw) and at < end:
        tag = raw[at : at + 1]
        key = (raw[at + 1 : at + 1 + ID_BYTES], int.from_bytes(raw[at + 1 + ID_BYTES : at + _HEAD]))
        at += _HEAD
        if tag == b"B":
            adopted.in_doubt.add(key)
        elif tag == b"C":
            adopted.outcomes.pop(key, None)
            adopted.in_doubt.discard(key)
            adopted.confirmed += 1
        elif tag == b"O":
            size = int.from_bytes(raw[at : at + 4])
            if at + 4 + size > len(raw):
                break  # torn
            try:
                adopted.outcomes[key] = _DECODE(raw[at + 4 : at + 4 + size])
            except msgspec.MsgspecError:
                if at + 4 + size < end:
                    adopted.damaged = True
                break  # else its content was lost with the power: its mark alone is doubt
            adopted.in_doubt.discard(key)
            at += 4 + size
        else:
            adopted.damaged = True
            break
    return adopted
