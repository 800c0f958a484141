"""A table whose entries expire, bounded in number: what all models keep their memories in."""

from __future__ import annotations

__all__ = ("ExpiringTable",)

from typing import Generic, TypeVar

V = TypeVar("V")

_SWEEP_MIN = 256


class ExpiringTable(Generic[V]):
    """Keys with a value and the time from which they count as gone.

    Expired entries are dropped by sweeps whose cost is spread over the insertions: a table holds
    at most twice what is alive (and never more than `entries_max`). When it is full of live
    entries, the one that was put longest ago gives way.
    """

    __slots__ = ("_entries", "_sweep_at", "entries_max")

    def __init__(self, entries_max: int) -> None:
        self.entries_max = entries_max
        self._entries: dict[bytes | str, tuple[int, V]] = {}
        self._sweep_at = min(_SWEEP_MIN, entries_max)

    def __len__(self) -> int:
        """Count of entries held, expired ones that no sweep has met yet included."""
        return len(self._entries)

    def get(self, now: int, key: bytes | str) -> V | None:
        """Look up a live entry."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        return entry[1]

    def put(self, now: int, key: bytes | str, value: V, expires_at: int) -> None:
        """Set an entry, which becomes the youngest; it lives while `now < expires_at`."""
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= self._sweep_at:
            self._sweep(now)
        if len(entries) >= self.entries_max:
            del entries[next(iter(entries))]
        entries[key] = (expires_at, value)

    def pop(self, key: bytes | str) -> None:
        """Drop an entry, if there is one."""
        self._entries.pop(key, None)

    def has_room(self, now: int, key: bytes | str) -> bool:
        """Tell whether `key` can be put without pushing a live entry out."""
        if key in self._entries or len(self._entries) < self.entries_max:
            return True
        self._sweep(now)
        return len(self._entries) < self.entries_max

    def _sweep(self, now: int) -> None:
        entries = self._entries
        for key in [key for key, (expires_at, _) in entries.items() if expires_at <= now]:
            del entries[key]
        self._sweep_at = min(max(_SWEEP_MIN, 2 * len(entries)), self.entries_max)
