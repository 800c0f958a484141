"""Room on disk and in memory: intake and hand-over stop while there is still enough that outcomes fit."""

from __future__ import annotations

__all__ = ("Room", "disk_free_bytes", "memory_free_bytes")

import os
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
_MEMORY = Path("/proc/meminfo")


def disk_free_bytes(folder: Path) -> int:
    """Tell how much an ordinary user may still write beside a folder."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def memory_free_bytes() -> int | None:
    """Tell how much memory the machine can give without swapping; None where that isn't told. proc(5)."""
    try:
        text = _MEMORY.read_text("ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


class Room:
    """What is left, against thresholds. Room counts as back with a tenth more than the threshold.

    Args:
        folder: the data directory.
        disk_mb_min: below so much free, nothing new is taken.
        memory_mb_min: the same for memory; 0: memory isn't looked at.
    """

    def __init__(
        self,
        folder: Path,
        disk_mb_min: int,
        memory_mb_min: int,
        disk_free: Callable[[Path], int] = disk_free_bytes,
        memory_free: Callable[[], int | None] = memory_free_bytes,
    ) -> None:
        self.disk_free = 0
        self.memory_free = 0
        self.short = ""  # what there is too little of, told to whoever is refused
        self._folder = folder
        self._disk_min = disk_mb_min * MIB
        self._memory_min = memory_mb_min * MIB
        self._disk = disk_free
        self._memory = memory_free

    def look(self) -> str:
        """Look again. Returns what there is too little of, or ""."""
        self.disk_free = self._disk(self._folder)
        memory = self._memory()
        self.memory_free = memory or 0
        slack = 1.1 if self.short else 1.0
        if self.disk_free < self._disk_min * slack:
            self.short = (
                f"the disk of the data directory has {self.disk_free // MIB} MiB left, "
                f"store.free_mb_min is {self._disk_min // MIB}"
            )
        elif memory is not None and memory < self._memory_min * slack:
            self.short = (
                f"{memory // MIB} MiB of memory are left, "
                f"workers.memory_free_mb_min is {self._memory_min // MIB}"
            )
        else:
            self.short = ""
        return self.short
