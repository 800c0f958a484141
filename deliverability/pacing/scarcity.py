"""Where a quota is scarce: what goes, what can't go in time, and when that is known.

Each message takes one place of the quota, is worth something, and is worth nothing after its deadline. The choice is
exact: taken in the order of deadlines, the least valuable message is given up each time more are due by a moment than
can go by then (scheduling of unit jobs with deadlines; a greedy choice on a matroid is optimal).
"""

from __future__ import annotations

__all__ = ("Candidate", "QuotaPlan", "plan_quota")

import heapq
from collections.abc import Sequence

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A message that wants to go: its expected value, and its deadline (0: none)."""

    id: str
    value: int
    deadline_ms: int = 0


class QuotaPlan(msgspec.Struct, frozen=True):
    """Who goes, by deadline, the most valuable first among equals; who can't, known from now on."""

    go: tuple[str, ...]
    misses: tuple[str, ...]


def plan_quota(
    candidates: Sequence[Candidate], *, per_hour: float, now_ms: int, blocked_ms: int = 0
) -> QuotaPlan:
    """Choose the messages whose values add up to the most within their deadlines.

    Args:
        candidates: all that wait for this quota.
        per_hour: the rate that will hold.
        now_ms: the moment of planning; a message whose deadline has passed is missed.
        blocked_ms: how long nothing goes at first.
    """
    never_ms = 1 << 62
    by_deadline = sorted(candidates, key=lambda each: (each.deadline_ms or never_ms, -each.value))
    kept: list[tuple[int, int, Candidate]] = []
    missed: list[str] = []
    for order, each in enumerate(by_deadline):
        heapq.heappush(kept, (each.value, -order, each))
        if each.deadline_ms:
            time_ms = max(0, each.deadline_ms - now_ms - blocked_ms)
            if len(kept) > int(time_ms * per_hour / 3_600_000):
                missed.append(heapq.heappop(kept)[2].id)
    going = {each.id for _, _, each in kept}
    go = tuple(each.id for each in by_deadline if each.id in going)
    return QuotaPlan(go, tuple(missed))
