"""The control log on disk: records one after the other, each with its length, synced before the change takes effect.

A torn last record (power lost in the middle of a write) is cut off when the file is opened: its change never happened.
"""

from __future__ import annotations

__all__ = ("ControlFile",)

import os
from pathlib import Path

from engine.control_log import Change, ControlRecord, append, decode, encode
from engine.errors import DamageError


class ControlFile:
    """One control log. One writer; readers take what is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: ControlRecord | None = None
        records, whole = _read(path)
        if path.exists() and path.stat().st_size != whole:
            os.truncate(path, whole)
        if records:
            self._last = records[-1]

    def append(self, now: int, change: Change) -> ControlRecord:
        """Write a change; durable on return."""
        record = append(self._last, now, change)
        raw = encode(record)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(len(raw).to_bytes(4) + raw)
            file.flush()
            os.fsync(file.fileno())
        self._last = record
        return record

    def records(self) -> list[ControlRecord]:
        """Read all records, oldest first."""
        return _read(self._path)[0]


def _read(path: Path) -> tuple[list[ControlRecord], int]:
    """Read whole records, and tell where they end."""
    if not path.exists():
        return [], 0
    raw = path.read_bytes()
    records: list[ControlRecord] = []
    at = 0
    while at + 4 <= len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4])
        if end > len(raw):
            break
        try:
            records.append(decode(raw[at + 4 : end]))
        except DamageError as error:
            raise DamageError(f"control log {path}, byte {at}: {error}") from error
        at = end
    return records, at
