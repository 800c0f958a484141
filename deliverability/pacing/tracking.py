"""What happened on a lane of late: counts by hour and day, and how well waiting times were told. Pure.

Counts lie in buckets of ten minutes for a day; that is the curve of the report, and what health is judged by.
"""

from __future__ import annotations

__all__ = ("CurvePoint", "EtaWatch", "LaneCounts", "Tally")

from collections import Counter, deque

import msgspec

from deliverability.pacing.eta import Eta, EtaModel

BUCKET_MS = 600_000
BUCKETS = 144
CAUSES_MAX = 12
_KNOWN_MS = 30_000
_SAMPLE_EVERY_MS = 20_000
_SAMPLES_MAX = 60
_AHEAD_MS = (60_000, 600_000, 3_600_000)


class Tally(msgspec.Struct):
    """What happened within some time."""

    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    blocked: int = 0
    refused: int = 0
    causes: dict[str, int] = {}


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """Ten minutes of a lane: when they began (ms), what happened, and the rate at their end."""

    at: int
    delivered: int
    deferred: int
    bounced: int
    per_hour: float


class _Bucket:
    def __init__(self, at: int) -> None:
        self.at = at
        self.first = 0  # when something happened in it first
        self.per_hour = 0.0
        self.kinds: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()


class LaneCounts:
    """Counts of one lane."""

    def __init__(self) -> None:
        self._buckets: deque[_Bucket] = deque(maxlen=BUCKETS)
        self.finals = 0
        """Messages that reached an end here, ever: delivered or bounced."""

    def note(
        self, kind: str, cause: str, number: int, now_ms: int, *, blocked: bool = False
    ) -> None:
        """Count outcomes: `kind` is `delivered`, `deferred`, `bounced`, or `refused` for a connection."""
        bucket = self._bucket(now_ms)
        bucket.first = bucket.first or now_ms
        bucket.kinds[kind] += number
        if blocked:
            bucket.kinds["blocked"] += number
        if kind in ("delivered", "bounced"):
            self.finals += number
        if kind != "delivered":
            known = cause in bucket.causes or len(bucket.causes) < CAUSES_MAX
            bucket.causes[(cause or "unsaid") if known else "other"] += number

    def paced(self, per_hour: float, now_ms: int) -> None:
        """Note the rate of now."""
        self._bucket(now_ms).per_hour = per_hour

    def since(self, from_ms: int) -> Tally:
        """Add up what happened in the buckets that end after a moment."""
        kinds: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for bucket in self._buckets:
            if bucket.at + BUCKET_MS > from_ms:
                kinds.update(bucket.kinds)
                causes.update(bucket.causes)
        return Tally(
            kinds["delivered"],
            kinds["deferred"],
            kinds["bounced"],
            kinds["blocked"],
            kinds["refused"],
            dict(causes.most_common(5)),
        )

    def recent_per_hour(self, now_ms: int) -> float:
        """Return how many messages reached their end in an hour at the pace of the last ten to twenty minutes.

        0 where less than half a minute is known.
        """
        last = [b for b in self._buckets if b.at > now_ms - 2 * BUCKET_MS and b.first]
        number = sum(b.kinds["delivered"] + b.kinds["bounced"] for b in last)
        first = min((b.first for b in last), default=now_ms)
        return number * 3_600_000 / (now_ms - first) if now_ms - first >= _KNOWN_MS else 0.0

    def curve(self) -> list[CurvePoint]:
        """Give the last day."""
        return [
            CurvePoint(
                b.at, b.kinds["delivered"], b.kinds["deferred"], b.kinds["bounced"], b.per_hour
            )
            for b in self._buckets
        ]

    def _bucket(self, now_ms: int) -> _Bucket:
        at = now_ms // BUCKET_MS * BUCKET_MS
        if not self._buckets or self._buckets[-1].at < at:
            self._buckets.append(_Bucket(at))
        return self._buckets[-1]


class EtaWatch:
    """Estimates for places in the line of one lane, and whether they came true: what calibrates the interval.

    A place is "so many messages before it". It comes true when so many have reached their end, as long as the lane had
    work all the time; what was estimated before it ran dry says nothing and is dropped.
    """

    def __init__(self, now_ms: int) -> None:
        self.model = EtaModel()
        self.told = self.held = 0
        self._samples: list[tuple[int, Eta]] = []  # finals at which it comes true
        self._next_ms = now_ms + _SAMPLE_EVERY_MS
        self._turn = 0

    def look(self, counts: LaneCounts, per_hour: float, blocked_ms: int, now_ms: int) -> None:
        """Estimate some places now and then, while the lane has work."""
        if now_ms < self._next_ms or per_hour <= 0:
            return
        self._next_ms = now_ms + _SAMPLE_EVERY_MS
        self._turn += 1
        ahead = int(per_hour * _AHEAD_MS[self._turn % len(_AHEAD_MS)] / 3_600_000)
        eta = self.model.estimate(
            ahead=ahead, per_hour=per_hour, blocked_ms=blocked_ms, now_ms=now_ms
        )
        if len(self._samples) < _SAMPLES_MAX:
            self._samples.append((counts.finals + ahead + 1, eta))

    def ended(self, counts: LaneCounts, now_ms: int) -> None:
        """Hear that messages reached their end."""
        due = [one for one in self._samples if one[0] <= counts.finals]
        if due:
            self._samples = [one for one in self._samples if one[0] > counts.finals]
            for _, eta in due:
                self.told += 1
                self.held += eta.holds(now_ms)
                self.model.came_true(eta, now_ms)

    def idle(self) -> None:
        """Hear that the lane has nothing to do."""
        self._samples.clear()
