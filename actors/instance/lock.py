"""One instance at a time on a data directory: a lock that ends with its process, and tells who has it."""

from __future__ import annotations

__all__ = ("LOCK_FILE", "LOCK_WAIT_S", "lock_holder", "locked")

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from actors.local_socket import SOCKET_NAME, holder_of
from engine.errors import Place, RefusedError

LOCK_FILE = "instance.lock"
LOCK_WAIT_S = 10.0
"""A former instance may still drain."""

_LOOK_S = 0.1


@contextlib.asynccontextmanager
async def locked(folder: Path, wait_s: float = LOCK_WAIT_S) -> AsyncIterator[None]:
    """Hold the directory; waits a while for one that drains, not for one that answers.

    Raises: RefusedError: another process still has it; it is named.
    """
    descriptor = _open(folder)
    try:
        deadline = asyncio.get_running_loop().time() + wait_s
        while not _taken(descriptor):
            lives = holder_of(folder / SOCKET_NAME) is not None  # else it begins or drains
            if lives or asyncio.get_running_loop().time() >= deadline:
                holder = _read(descriptor)
                raise RefusedError(
                    f"another instance runs on it, process {holder or 'unknown'}",
                    Place(file=str(folder)),
                    "stop it first, or choose another directory with --data",
                )
            await asyncio.sleep(_LOOK_S)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def lock_holder(folder: Path) -> int | None:
    """Tell which process holds the directory; None when none does. 0 is one that didn't say."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _taken(descriptor) else _read(descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> int:
    raw = os.pread(descriptor, 20, 0)
    return int(raw) if raw.isdigit() else 0
