"""Which sources are out: `sources.json` in the data directory, written by `veredus source`, read by every worker.

A source that fails by itself (its address isn't on the machine, its proxy doesn't answer) is out for a while in the
worker that found it; that isn't written down.
"""

from __future__ import annotations

__all__ = ("SourceFiles", "read_absences", "write_absences")

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from deliverability.routing.sources import Absence
from engine.errors import InputError, Place

log = structlog.get_logger()

_FILE = "sources.json"
_LOOK_S = 1.0


class _File(msgspec.Struct, frozen=True):
    """What the file holds: absences by source."""

    out: dict[str, Absence] = {}


def read_absences(data_dir: Path) -> dict[str, Absence]:
    """Read who is out; nobody where there is no file. Raises: InputError: it can't be read."""
    file = data_dir / _FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File).out
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"can't be read: {error}", Place(file=str(file))) from None


def write_absences(data_dir: Path, out: Mapping[str, Absence]) -> None:
    """Write who is out; atomic and synced."""
    raw = msgspec.json.format(msgspec.json.encode(_File(dict(out))), indent=1)
    file, made = data_dir / _FILE, data_dir / f"{_FILE}.new"
    try:
        with made.open("wb") as opened:
            opened.write(raw + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        made.replace(file)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(file))) from None


class SourceFiles:
    """The sources that are out, as one worker sees it: the file, looked at once a second, and its own faults.

    Args:
        data_dir: where the file is.
        wall_ms: ms since the epoch.
        left: called with the name of a source that has just gone out.
    """

    def __init__(
        self, data_dir: Path, wall_ms: Callable[[], int], left: Callable[[str], None]
    ) -> None:
        self._data_dir = data_dir
        self._wall_ms = wall_ms
        self._left = left
        self._file: dict[str, Absence] = {}
        self._faults: dict[str, Absence] = {}
        self._looked = -_LOOK_S
        self._stamp: tuple[int, int] | None = None

    def out(self) -> Mapping[str, Absence]:
        """Give the sources that are out."""
        self.look()
        return {**self._faults, **self._file} if self._faults else self._file

    def fault(self, source: str, reason: str, until: int) -> None:
        """Take a source out for a while."""
        if source:
            log.warning("source_out", source=source, reason=reason)
            self._faults[source] = Absence(reason, self._wall_ms(), until)

    def look(self) -> None:
        """Read the file again if it changed; at most once a second."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        now = self._wall_ms()
        self._faults = {name: one for name, one in self._faults.items() if not one.over(now)}
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        before = self._file
        try:
            self._file = read_absences(self._data_dir)
        except InputError as error:
            log.warning("sources_unreadable", error=str(error))  # what held goes on holding
            return
        for name in self._file.keys() - before.keys():
            log.info("source_out", source=name, reason=self._file[name].reason)
            self._left(name)

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = (self._data_dir / _FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino
