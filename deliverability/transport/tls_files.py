"""Counts of TLS sessions in files: a line each minute and kind of session, one file a day and sender. RFC 8460."""

from __future__ import annotations

__all__ = ("TlsCountFile", "read_counts")

import datetime as dt
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from deliverability.policy.tls_report import SessionRow, TlsCounts

_FLUSH_MS = 60_000


class _Line(msgspec.Struct, frozen=True, array_like=True):
    """A line of the file."""

    row: SessionRow
    count: int


class TlsCountFile:
    """Counts of one sender. What the last minute counted is lost with its process; reports may lack it.

    Args:
        folder: shared by all senders.
        holder: names the sender.
        wall_ms: ms since the epoch.
    """

    def __init__(self, folder: Path, holder: str, wall_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._holder = holder
        self._wall_ms = wall_ms
        self._counts = TlsCounts()
        self._flushed = wall_ms()

    def add(self, row: SessionRow) -> None:
        """Count a session."""
        self._counts.add(row)

    def look(self) -> None:
        """Write what was counted, once a minute."""
        if self._wall_ms() - self._flushed >= _FLUSH_MS:
            self.flush()

    def flush(self) -> None:
        """Write what was counted. A full disk costs a report, no mail."""
        self._flushed = now = self._wall_ms()
        rows = self._counts.take()
        if not rows:
            return
        day = dt.datetime.fromtimestamp(now / 1000, dt.UTC).date()
        lines = b"".join(msgspec.json.encode(_Line(row, n)) + b"\n" for row, n in rows)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self._folder / f"{day.isoformat()}.{self._holder}.jsonl").open("ab") as file:
                file.write(lines)
        except OSError:
            return


def read_counts(folder: Path, day: dt.date) -> list[tuple[SessionRow, int]]:
    """Read what all senders counted on a day (UTC). Lines that a crash cut off are left out."""
    found: Counter[SessionRow] = Counter()
    for file in sorted(folder.glob(f"{day.isoformat()}.*.jsonl")):
        for line in file.read_bytes().splitlines():
            try:
                one = msgspec.json.decode(line, type=_Line)
            except msgspec.MsgspecError:
                continue
            found[one.row] += one.count
    return list(found.items())
