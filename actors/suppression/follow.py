"""How a process keeps its view of the suppression list: it reads the node's files, at most a hundred times a second.

A look costs two system calls when nothing changed. Whatever was acknowledged before a look began is in the view after
it, so nothing depends on anybody's message arriving, nor on the desk being alive.

On another node than the desk's the files are a copy (`node_shelf`), and the file `heard` says as of when it is whole:
a look there makes the view no younger than that.
"""

from __future__ import annotations

__all__ = ("Follower", "guard_of")

import os
from collections.abc import Callable
from pathlib import Path

import structlog

from actors.suppression.files import changes_path, current_version, hasher_of, map_packed
from actors.suppression.node_shelf import read_heard
from deliverability.suppression.frames import frames
from deliverability.suppression.packed import Packed
from deliverability.suppression.view import Guard, View
from engine.errors import DamageError, VeredusError

log = structlog.get_logger()


class Follower:
    """Reads the files of a folder into a view.

    Args:
        folder: where the desk writes.
        monotonic_ms: the clock of `View.as_of`.
        copied: whether the files are this node's copy.
    """

    def __init__(
        self, folder: Path, monotonic_ms: Callable[[], int], *, copied: bool = False
    ) -> None:
        self.view = View()
        self._folder = folder
        self._monotonic_ms = monotonic_ms
        self._mark: tuple[int, int] | None = None  # of `current`
        self._changes = -1
        self._read = 0
        self._failed = False
        self._copied = copied
        self._heard = -1

    def look(self) -> None:
        """Bring the view up to date. When that fails it keeps its age, and its guard soon refuses everything."""
        started = self._monotonic_ms()
        try:
            # before the files: what it speaks of stands in them already
            heard = self._hear() if self._copied else None
            self._look()
        except (OSError, VeredusError) as error:
            if not self._failed:
                log.warning("suppression_unreadable", folder=str(self._folder), error=str(error))
            self._failed = True
            return
        if self._failed:
            log.info("suppression_readable_again", folder=str(self._folder))
            self._failed = False
        if not self._copied:
            self.view.heard(started)
        elif heard is not None and self.view.version >= heard[0] and heard[1] <= started:
            self.view.heard(heard[1])

    def close(self) -> None:
        """Let the files go. Idempotent."""
        if self._changes >= 0:
            os.close(self._changes)
            self._changes = -1
        if self._heard >= 0:
            os.close(self._heard)
            self._heard = -1
        self._mark = None

    def _hear(self) -> tuple[int, int] | None:
        if self._heard < 0:
            self._heard = os.open(self._folder / "heard", os.O_RDONLY)
        return read_heard(self._heard)

    def _look(self) -> None:
        stat = (self._folder / "current").stat()
        mark = (stat.st_ino, stat.st_mtime_ns)
        if mark != self._mark:
            self._change_files()
            self._mark = mark
        size = os.fstat(self._changes).st_size
        if size > self._read:
            raw = os.pread(self._changes, size - self._read, self._read)
            whole = 0
            for frame in frames(raw):
                self.view.apply(frame.version, frame.changes)
                whole = frame.end
            self._read += whole

    def _change_files(self) -> None:
        version = current_version(self._folder)
        if version is None:
            raise DamageError(f"{self._folder}: there is no suppression list")
        packed: Packed = map_packed(self._folder, version)
        changes = os.open(changes_path(self._folder, version), os.O_RDONLY)
        if self._changes >= 0:
            os.close(self._changes)
        self._changes, self._read = changes, 0
        self.view.rebase(packed)


def guard_of(
    data_dir: Path,
    monotonic_ms: Callable[[], int],
    wall_ms: Callable[[], int],
    *,
    copied: bool = False,
) -> Guard:
    """Make a guard over the files of a data directory, or of this node's copy."""
    follower = Follower(data_dir / "suppression", monotonic_ms, copied=copied)
    follower.look()
    return Guard(follower.view, hasher_of(data_dir), monotonic_ms, wall_ms, follower.look)
