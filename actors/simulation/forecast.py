"""Load against limits: when mail that is due would go, at a provider's stated quotas and a warm-up plan.

A queue in steps of a minute, first in, first out: it answers whether a time can be met. Only quotas count;
greylists, connections and reputation are the twins' matter.
"""

from __future__ import annotations

__all__ = ("Delay", "Forecast", "Quota", "forecast", "quotas_of", "wait_told")

from collections import deque
from collections.abc import Mapping

import msgspec

from actors.simulation.counting import DAY_MS, MINUTE_MS
from deliverability.twin.config import TwinConfig

_DAY_MINUTES = DAY_MS // MINUTE_MS


class Quota(msgspec.Struct, frozen=True):
    """At most so many mails in so many minutes, in any stretch of that length."""

    limit: int
    minutes: int


class Delay(msgspec.Struct, frozen=True):
    """How late the mail of one wall time goes at worst, and how much of it is late by five minutes or more."""

    meant: str
    mails: int
    late: int
    minutes_max: int


class Forecast(msgspec.Struct, frozen=True):
    """How long mail to one provider waits: minutes from due to going. `delays` has wall times that aren't met."""

    mails: int
    late: int
    minutes_mean: float
    minutes_max: int
    longest_queue: int
    delays: tuple[Delay, ...]


LATE_MINUTES = 5


def quotas_of(twin: TwinConfig) -> Mapping[str, tuple[Quota, ...]]:
    """Take the quotas out of a twin: those that a single sender meets."""
    return {
        one.name: tuple(
            Quota(quota.limit, max(1, quota.window_s // 60))
            for quota in one.quotas
            if quota.per != "recipient"
        )
        for one in twin.provider
    }


def forecast(
    demand: Mapping[tuple[int, str], int],
    quotas: tuple[Quota, ...],
    plan: tuple[int, ...] = (),
    first_day: int = 0,
) -> Forecast:
    """Let mail go at limits.

    Args:
        demand: mails by the minute they are due (since 1970) and the wall time they are meant for.
        quotas: of the provider; () for none.
        plan: the warm-up plan, mails a day; the last day holds on.
        first_day: of the plan, days since 1970.
    """
    queue = _Queue(quotas, plan, first_day)
    arrivals = sorted(demand.items())
    at = 0
    while at < len(arrivals) or queue.waiting:
        if not queue.waiting:
            queue.now = max(queue.now, arrivals[at][0][0])
        while at < len(arrivals) and arrivals[at][0][0] <= queue.now:
            (due, meant), number = arrivals[at]
            queue.enter(due, meant, number)
            at += 1
        following = arrivals[at][0][0] if at < len(arrivals) else None
        queue.serve(following)
    return queue.result()


class _Queue:
    """The queue of one provider; `now` in minutes."""

    def __init__(self, quotas: tuple[Quota, ...], plan: tuple[int, ...], first_day: int) -> None:
        self._quotas = quotas
        self._plan = plan
        self._first_day = first_day
        self._gone: list[deque[tuple[int, int]]] = [deque() for _ in quotas]
        self._used = [0] * len(quotas)
        self._day, self._today = 0, 0
        self.now = 0
        self.waiting: deque[list[int | str]] = deque()
        self._length = 0
        self._longest = 0
        self._by_meant: dict[str, list[int]] = {}
        self._mails = self._late = self._minutes = self._most = 0

    def enter(self, due: int, meant: str, number: int) -> None:
        self.waiting.append([due, meant, number])
        self._length += number
        self._longest = max(self._longest, self._length)

    def serve(self, following: int | None) -> None:
        """Let go what may go this minute, and pass to the next minute at which something can happen."""
        room = self._room()
        while room > 0 and self.waiting:
            due, meant, number = self.waiting[0]
            assert isinstance(due, int)
            assert isinstance(number, int)
            going = min(number, room)
            self._go(str(meant), going, self.now - due)
            room -= going
            if going == number:
                self.waiting.popleft()
            else:
                self.waiting[0][2] = number - going
        if self.waiting:
            moment = self._next_room()
            self.now = min(moment, following) if following is not None else moment

    def _go(self, meant: str, number: int, minutes: int) -> None:
        self._length -= number
        self._today += number
        for at, quota in enumerate(self._quotas):
            self._gone[at].append((self.now + quota.minutes, number))
            self._used[at] += number
        self._mails += number
        self._minutes += number * minutes
        self._most = max(self._most, minutes)
        late = number if minutes >= LATE_MINUTES else 0
        self._late += late
        if meant:
            counts = self._by_meant.setdefault(meant, [0, 0, 0])
            counts[0] += number
            counts[1] += late
            counts[2] = max(counts[2], minutes)

    def _room(self) -> int:
        room = 1 << 60
        for at, quota in enumerate(self._quotas):
            gone = self._gone[at]
            while gone and gone[0][0] <= self.now:
                self._used[at] -= gone.popleft()[1]
            room = min(room, quota.limit - self._used[at])
        day = self.now // _DAY_MINUTES
        if day != self._day:
            self._day, self._today = day, 0
        if self._plan:
            volume = self._plan[min(max(day - self._first_day, 0), len(self._plan) - 1)]
            room = min(room, volume - self._today)
        return room

    def _next_room(self) -> int:
        """Find the next minute at which there may be room."""
        moments = [self.now + 1]
        for at, quota in enumerate(self._quotas):
            if self._used[at] >= quota.limit and self._gone[at]:
                moments.append(self._gone[at][0][0])
        if self._plan:
            day = self.now // _DAY_MINUTES
            volume = self._plan[min(max(day - self._first_day, 0), len(self._plan) - 1)]
            if self._today >= volume:
                moments.append((day + 1) * _DAY_MINUTES)
        return max(moments)

    def result(self) -> Forecast:
        delays = [
            Delay(meant, mails, late, most)
            for meant, (mails, late, most) in self._by_meant.items()
            if late
        ]
        mean = round(self._minutes / self._mails, 2) if self._mails else 0.0
        delays.sort(key=lambda one: (-one.minutes_max, one.meant))
        return Forecast(self._mails, self._late, mean, self._most, self._longest, tuple(delays))


def wait_told(minutes: int) -> str:
    """Write a wait for people, such as `3 h 10 min`."""
    days, rest = divmod(minutes, _DAY_MINUTES)
    hours, left = divmod(rest, 60)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours)
    if left or not parts:
        parts.append(f"{left} min")
    return " ".join(parts[:2])
