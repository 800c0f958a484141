"""A line for each attempt: JSON in files of a day, in a form that is documented (docs/routes.md) and stays.

Fields are only ever added. No line contains an address of a person: a message is named by its id, a recipient by the
domain. A buffered write; what the last second wrote is lost with power, not with the process.
"""

from __future__ import annotations

__all__ = ("AttemptLog", "AttemptRecord")

import datetime as dt
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path

import msgspec

from engine.vocabulary import OutcomeKind

_ENCODE = msgspec.json.Encoder().encode


class AttemptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt. Times in ms since the epoch; `form` changes only if a field changes its meaning."""

    at: int
    message: str
    attempt: int
    tenant: str
    stream: str
    kind: OutcomeKind
    domain: str
    route: str = ""
    form: int = 1
    scenario: str = ""
    step: str = ""
    source: str = ""
    host: str = ""
    address: str = ""
    tls: str = ""
    phase: str = ""
    code: int = 0
    enhanced: str = ""
    cause: str = ""
    text: str = ""
    octets: int = 0


class AttemptLog:
    """The log of one sender.

    Args:
        folder: where files are; made when there is something to write.
        holder: names the sender.
    """

    def __init__(self, folder: Path, holder: str, failed: Callable[[str], None]) -> None:
        self._folder = folder
        self._holder = holder
        self._failed = failed
        self._file: BufferedWriter | None = None
        self._day = 0
        self.lost = 0

    def write(self, record: AttemptRecord) -> None:
        """Write a line. A full disk costs lines, which are counted, no mail."""
        day = record.at // 86_400_000
        try:
            if self._file is None or day != self._day:
                self._open(day)
            assert self._file is not None
            self._file.write(_ENCODE(record) + b"\n")
        except OSError as error:
            if not self.lost:
                self._failed(str(error))
            self.lost += 1

    def look(self) -> None:
        """Let the system have what was written."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self.lost += 1

    def close(self) -> None:
        """Close the file."""
        self.look()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, day: int) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        date = dt.datetime.fromtimestamp(day * 86_400, dt.UTC).date()
        self._file = (self._folder / f"{date.isoformat()}.{self._holder}.jsonl").open("ab")
        self._day = day
