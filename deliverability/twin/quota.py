"""Quotas: so many mails in a window of time, per source, sender's domain, recipient or in all.

A place is reserved when a recipient is accepted and becomes a count when the mail is taken, so
that transactions side by side can't pass the limit together. What is reserved always counts.
"""

from __future__ import annotations

__all__ = ("Quota", "QuotaModel", "Window")

from collections import deque
from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.verdict import Attempt, Rule

Per = Literal["provider", "source", "sender_domain", "recipient"]

KEYS_MAX = 20_000
"""Sources, domains or recipients counted apart at one time; those beyond share one count."""
_SLOTS = 1000  # a key's memory: a rolling window is right to a thousandth of its length


class Quota(Rule, frozen=True, kw_only=True):
    """A limit on mails taken in a window of time."""

    limit: Annotated[int, Meta(ge=1, le=1_000_000_000, description="mails in one window")]
    window_s: Annotated[int, Meta(ge=1, le=31_536_000, description="length of the window")]
    window: Annotated[
        Literal["rolling", "fixed"],
        Meta(description="`rolling`: any stretch of that length; `fixed`: cut at multiples of it"),
    ] = "rolling"
    per: Annotated[Per, Meta(description="what is counted apart")] = "source"


class Window:
    """Mails of one key within the window: those taken, by time, and those reserved."""

    __slots__ = ("_counts", "_taken", "held", "last")

    def __init__(self) -> None:
        self._counts: deque[list[int]] = deque()  # [slot, count], slots rising
        self._taken = 0
        self.held = 0
        self.last = 0

    def used(self, oldest: int) -> int:
        """Count what was taken at `oldest` or later, forgetting the rest, and what is reserved."""
        counts = self._counts
        while counts and counts[0][0] < oldest:
            self._taken -= counts.popleft()[1]
        return self._taken + self.held

    def take(self, slot: int) -> None:
        """Count one mail. Those of one slot share an entry."""
        counts = self._counts
        if counts and counts[-1][0] >= slot:
            counts[-1][1] += 1
        else:
            counts.append([slot, 1])
        self._taken += 1


class QuotaModel:
    """Counts mails against one `Quota`. Between two looks at any one key, time must not go back."""

    cause = "quota"

    def __init__(self, rule: Quota) -> None:
        self.rule = rule
        self._window_ms = rule.window_s * 1000
        self._slot_ms = max(1, self._window_ms // _SLOTS)
        self._windows: ExpiringTable[Window] = ExpiringTable(KEYS_MAX)
        self._others = Window()

    def __len__(self) -> int:
        """Count of keys in memory."""
        return len(self._windows)

    def full(self, attempt: Attempt) -> bool:
        """Tell whether one more would pass the limit; if not, reserve a place for it."""
        window = self._window(attempt)
        if window.used(self._oldest(attempt.now)) >= self.rule.limit:
            return True
        window.held += 1
        attempt.held.append(window)
        return False

    def take(self, attempt: Attempt) -> None:
        """Count the mail that was taken; its reservation, if it has one, becomes the count."""
        window = self._window(attempt)
        if window in attempt.held:
            attempt.held.remove(window)
            window.held -= 1
        window.take(self._slot(attempt.now))

    def used(self, now: int, key: str) -> int:
        """Count what is used of the window of a key: source, domain, recipient, or "" in all."""
        window = self._windows.get(now, key)
        return window.used(self._oldest(now)) if window else 0

    def _slot(self, now: int) -> int:
        """Give the slot of a mail: in a rolling window its time, rounded up, so that none is freed early."""
        if self.rule.window == "fixed":
            return now // self._window_ms
        return -(-now // self._slot_ms) * self._slot_ms

    def _oldest(self, now: int) -> int:
        """Give the first slot that counts."""
        if self.rule.window == "fixed":
            return now // self._window_ms
        return now - self._window_ms + 1

    def _window(self, attempt: Attempt) -> Window:
        now, key = attempt.now, _key(self.rule.per, attempt)
        window = self._windows.get(now, key)
        if window is None:
            if not self._windows.has_room(now, key):
                return self._others
            window = Window()
        elif window.last == now:
            return window
        # A place may stay reserved while log time runs on: no transaction is open for a day.
        window.last = now
        self._windows.put(now, key, window, now + self._window_ms + 86_400_000)
        return window


def _key(per: Per, attempt: Attempt) -> str:
    match per:
        case "provider":
            return ""
        case "source":
            return attempt.connection.source
        case "sender_domain":
            return attempt.connection.reverse_path.rpartition("@")[2].lower()
        case "recipient":
            return attempt.forward_path.lower()
