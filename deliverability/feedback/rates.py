"""Rates of what mail comes to: cause by provider by source by stream by tenant, over windows. Pure.

Counts lie in buckets of ten minutes for two days, and of a day for a month. A complaint counts on the day of its
arrival, against what was accepted in the same window, as the providers count it. Memory is bounded: of more lanes than
`LANES_MAX` the quietest are forgotten, and causes beyond `CAUSES_MAX` of a lane count as `other`.
"""

from __future__ import annotations

__all__ = ("Lane", "LaneRates", "RatePoint", "Rates", "Window")

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

MINUTE = 60_000
FINE_MS = 10 * MINUTE
FINE_KEPT = 288
DAY_MS = 86_400_000
DAYS_KEPT = 31
LANES_MAX = 5000
CAUSES_MAX = 40

Window = Literal["hour", "day", "week", "month"]
_WINDOWS: dict[Window, int] = {
    "hour": 60 * MINUTE,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
    "month": 30 * DAY_MS,
}


class Lane(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Whose mail, from where, to whom."""

    tenant: str
    stream: str
    source: str
    provider: str


class LaneRates(msgspec.Struct, frozen=True):
    """What happened on a lane within a window. `causes`: `kind cause` -> how often."""

    lane: Lane
    window: Window
    delivered: int
    deferred: int
    bounced: int
    returned: int
    complained: int
    unsubscribed: int
    causes: dict[str, int]

    @property
    def complaint_rate(self) -> float:
        """Complaints of what was accepted; 0 where nothing was."""
        return self.complained / self.delivered if self.delivered else 0.0

    @property
    def bounce_rate(self) -> float:
        """Bounces, at once or later, of what was decided."""
        decided = self.delivered + self.bounced
        return (self.bounced + self.returned) / decided if decided else 0.0


class RatePoint(msgspec.Struct, frozen=True, array_like=True):
    """What happened in one bucket of a curve that began at `at` (ms); `bounced`: at once or later."""

    at: int
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    complained: int = 0


class _Counts(msgspec.Struct, array_like=True):
    fine: dict[int, dict[str, int]] = {}
    days: dict[int, dict[str, int]] = {}


class Rates:
    """All lanes. `note` in any order of time; what is older than the windows isn't counted."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, _Counts] = {}

    def note(self, lane: Lane, kind: str, cause: str, at: int, number: int = 1) -> None:
        """Count one thing: delivered, deferred, bounced, returned, complained, unsubscribed, with its cause."""
        counts = self._lanes.get(lane)
        if counts is None:
            counts = self._lanes[lane] = _Counts()
            if len(self._lanes) > LANES_MAX:
                self._forget()
        said = f"{kind} {cause}".rstrip()
        for buckets, width, kept in (
            (counts.fine, FINE_MS, FINE_KEPT),
            (counts.days, DAY_MS, DAYS_KEPT),
        ):
            bucket = at // width
            if buckets and bucket < max(buckets) - kept:
                continue
            held = buckets.setdefault(bucket, {})
            if said not in held and len(held) >= CAUSES_MAX:
                said = f"{kind} other"
            held[said] = held.get(said, 0) + number
            while len(buckets) > kept:
                del buckets[min(buckets)]

    def of(self, lane: Lane, window: Window, now: int) -> LaneRates:
        """Sum a lane up over a window that ends now."""
        total: Counter[str] = Counter()
        counts = self._lanes.get(lane) or _Counts()
        length = _WINDOWS[window]
        buckets, width = (counts.fine, FINE_MS) if length <= DAY_MS else (counts.days, DAY_MS)
        first = (now - length) // width
        for bucket, held in buckets.items():
            if first < bucket <= now // width:
                total.update(held)
        kinds: Counter[str] = Counter()
        for said, number in total.items():
            kinds[said.partition(" ")[0]] += number
        return LaneRates(
            lane,
            window,
            kinds["delivered"],
            kinds["deferred"],
            kinds["bounced"],
            kinds["returned"],
            kinds["complained"],
            kinds["unsubscribed"],
            dict(total.most_common()),
        )

    def all(self, window: Window, now: int) -> Iterator[LaneRates]:
        """Sum all lanes up, in order; those on which nothing happened are left out."""
        for lane in sorted(self._lanes):
            rates = self.of(lane, window, now)
            if rates.causes:
                yield rates

    def curves(self, window: Window, now: int) -> dict[tuple[str, str], list[RatePoint]]:
        """Give the curve of each source at each provider over a window that ends now, over all tenants and streams.

        In steps of ten minutes up to a day, of a day beyond; steps in which nothing happened are zeros.
        """
        length = _WINDOWS[window]
        is_fine = length <= DAY_MS
        width = FINE_MS if is_fine else DAY_MS
        first, last = (now - length) // width + 1, now // width
        totals: dict[tuple[str, str], dict[int, Counter[str]]] = {}
        for lane, counts in self._lanes.items():
            for bucket, held in (counts.fine if is_fine else counts.days).items():
                if first <= bucket <= last:
                    steps = totals.setdefault((lane.source, lane.provider), {})
                    kinds = steps.setdefault(bucket, Counter())
                    for said, number in held.items():
                        kinds[said.partition(" ")[0]] += number
        return {
            place: [_point(bucket * width, steps.get(bucket)) for bucket in range(first, last + 1)]
            for place, steps in totals.items()
        }

    def dump(self) -> bytes:
        """Encode everything, to go on with after a restart."""
        return msgspec.msgpack.encode(list(self._lanes.items()))

    @classmethod
    def load(cls, raw: bytes) -> Rates:
        """Decode what `dump` gave. Raises: msgspec.MsgspecError."""
        made = cls()
        made._lanes = dict(msgspec.msgpack.decode(raw, type=list[tuple[Lane, _Counts]]))
        return made

    def _forget(self) -> None:
        """Forget the tenth of the lanes on which least happened."""
        busy = sorted(self._lanes, key=lambda lane: _last(self._lanes[lane]))
        for lane in busy[: LANES_MAX // 10]:
            del self._lanes[lane]


def _point(at: int, kinds: Counter[str] | None) -> RatePoint:
    if kinds is None:
        return RatePoint(at)
    bounced = kinds["bounced"] + kinds["returned"]
    return RatePoint(at, kinds["delivered"], kinds["deferred"], bounced, kinds["complained"])


def _last(counts: _Counts) -> tuple[int, int]:
    newest = max(counts.days, default=0)
    return newest, sum(sum(held.values()) for held in counts.days.values())
