"""The local socket of an instance: a file in its data directory that only its owner can open.

Light on imports, since the command line uses it.
"""

from __future__ import annotations

__all__ = ("SOCKET_NAME", "bind_private", "connect", "holder_of")

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from engine.errors import ConfigError, Place, RefusedError

SOCKET_NAME = "veredus.sock"

_PATH_BYTES_MAX = 100  # the kernel's limit is 108 with the final NUL, 104 on other systems
_PROBE_TIMEOUT_S = 1.0
_CREDENTIALS = "3i"  # struct ucred: process, user, group of who listens; unix(7)


@contextlib.contextmanager
def bind_private(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket file of mode 0600, in place of one that nobody answers on; removes it at the end.

    Raises:
        RefusedError: another instance answers there.
        ConfigError: the file can't be made.
    """
    holder = holder_of(path)
    if holder is not None:
        message = f"another instance runs here, process {holder}"
        raise RefusedError(message, Place(file=str(path)), "stop it first")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        _bind(listening, path)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"can't make the local socket: {error.strerror}", Place(str(path))
        ) from None
    with contextlib.closing(listening):
        inode = path.stat().st_ino
        yield listening
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == inode:  # a successor may have made its own already
                path.unlink()


def connect(path: Path, timeout_s: float | None) -> socket.socket:
    """Connect to the socket file.

    Raises:
        OSError: there is none, or nobody answers.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with _short(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


def holder_of(path: Path) -> int | None:
    """Tell the process id of the instance that answers on the socket file; None when nobody does."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return None
        with contextlib.closing(connect(path, _PROBE_TIMEOUT_S)) as connection:
            size = struct.calcsize(_CREDENTIALS)
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return None
    pid: int = struct.unpack(_CREDENTIALS, raw)[0]
    return pid


def _bind(listening: socket.socket, path: Path) -> None:
    """Bind with the mode from the first instant on, not only after a chmod."""
    before = os.umask(0o177)
    try:
        with _short(path) as name:
            listening.bind(name)
    finally:
        os.umask(before)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for the path that is short enough for a socket address: a long one goes by an open folder."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
