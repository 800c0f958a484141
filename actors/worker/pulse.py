"""A worker's pulse: a few numbers in a small mapped file, which anybody on the machine may look at for nothing.

The worker writes them as they change; reading costs no call and doesn't disturb. They outlive the process: whoever
reads looks at the process id first.

    pid (4 bytes) + in hand (4) + begun (4) + outcomes unconfirmed (4) + where in its tick (4), little-endian
"""

from __future__ import annotations

__all__ = ("DECIDING", "IDLE", "RELEASING", "Beat", "Pulse", "pulse_path", "read_pulse")

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

_FORM = struct.Struct("<IIIII")
_PLACE = struct.Struct("<I")
_PLACE_AT = _FORM.size - _PLACE.size

IDLE = 0
"""Where in its tick a worker is: between two,"""
DECIDING = 1
"""before its sync,"""
RELEASING = 2
"""or between the sync and the last effect."""


class Beat(NamedTuple):
    """What a pulse says."""

    pid: int = 0
    in_hand: int = 0
    begun: int = 0
    unconfirmed: int = 0
    place: int = IDLE


class Pulse:
    """The writer's side."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(_FORM.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)
        self._pid = os.getpid()
        self._place = IDLE

    def beat(self, in_hand: int, begun: int, unconfirmed: int) -> None:
        """Write newer numbers."""
        _FORM.pack_into(self._map, 0, self._pid, in_hand, begun, unconfirmed, self._place)

    def at(self, place: int) -> None:
        """Say where in its tick the worker is."""
        self._place = place
        _PLACE.pack_into(self._map, _PLACE_AT, place)

    def close(self) -> None:
        """Leave zeros behind."""
        self._map[:] = bytes(_FORM.size)
        self._map.close()


def pulse_path(data_dir: Path, worker: int, role: str = "w") -> Path:
    """Give the file of a worker's pulse; with role `e`, of an egress's."""
    return data_dir / "pulse" / f"{role}{worker}"


def read_pulse(path: Path) -> Beat:
    """Read a pulse; all zeros when there is none."""
    try:
        raw = path.read_bytes()
    except OSError:
        return Beat()
    return Beat(*_FORM.unpack(raw)) if len(raw) == _FORM.size else Beat()
