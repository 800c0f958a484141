"""When a waiting message will go: an estimate with an interval whose calibration is learned.

The estimate itself is simple: what waits ahead, divided by the rate of late. The interval is what makes it honest:
its two edges are moved after each answer, up by a large step when the truth fell outside and back by a small one when
it fell inside, so that in the long run one truth in ten is below the lower edge and one in ten above the upper one,
whatever the provider does (online quantile tracking; Gibbs and Candès, Adaptive conformal inference, 2021).
"""

from __future__ import annotations

__all__ = ("Eta", "EtaModel", "WhatIf", "what_if_rate_changes")

import math

import msgspec

_BUCKETS_MS = (10 * 60_000, 60 * 60_000, 6 * 60 * 60_000)
_TAIL = 0.1  # on each side
_STEP = 0.12  # of the logarithm of the ratio of truth to estimate
_EDGE_MAX = 3.0
_LEARNED_TO_SPEAK = 10


class Eta(msgspec.Struct, frozen=True):
    """When it will likely go, and between which two moments in four cases of five; times since the epoch."""

    asked_ms: int
    likely_ms: int
    earliest_ms: int
    latest_ms: int
    calibrated: bool

    def holds(self, at_ms: int) -> bool:
        """Tell whether the interval holds the truth."""
        return self.earliest_ms <= at_ms <= self.latest_ms


class WhatIf(msgspec.Struct, frozen=True):
    """How much sooner a message would go if a limit were changed."""

    likely_ms: int
    changed_ms: int


class _Edges:
    """The interval's edges for one range of waits, as logarithms of truth over estimate."""

    def __init__(self) -> None:
        self.low, self.high, self.learned = -0.5, 0.5, 0


class EtaModel:
    """Estimates of one lane (or of all lanes of a kind), and what came true."""

    def __init__(self) -> None:
        self._edges = [_Edges() for _ in range(len(_BUCKETS_MS) + 1)]

    def estimate(self, *, ahead: int, per_hour: float, blocked_ms: int, now_ms: int) -> Eta:
        """Estimate when a message with `ahead` others before it goes.

        Args:
            ahead: messages that go before it.
            per_hour: the rate of late, above zero.
            blocked_ms: how long nothing will go at all (a pause).
            now_ms: when this is asked.
        """
        wait_ms = max(1.0, blocked_ms + (ahead + 1) * 3_600_000 / max(per_hour, 0.01))
        edges = self._edges[_bucket(wait_ms)]
        return Eta(
            asked_ms=now_ms,
            likely_ms=now_ms + int(wait_ms),
            earliest_ms=now_ms + int(wait_ms * math.exp(edges.low)),
            latest_ms=now_ms + math.ceil(wait_ms * math.exp(edges.high)),
            calibrated=edges.learned >= _LEARNED_TO_SPEAK,
        )

    def edges(self) -> list[tuple[float, float]]:
        """Give by what an estimated wait is multiplied to get its interval, for each range of waits."""
        return [(math.exp(one.low), math.exp(one.high)) for one in self._edges]

    def came_true(self, eta: Eta, at_ms: int) -> None:
        """Learn from an estimate whose message went at `at_ms`."""
        wait_ms = max(1, eta.likely_ms - eta.asked_ms)
        edges = self._edges[_bucket(wait_ms)]
        ratio = math.log(max(1, at_ms - eta.asked_ms) / wait_ms)
        edges.low += -_STEP * (1 - _TAIL) if ratio < edges.low else _STEP * _TAIL
        edges.high += _STEP * (1 - _TAIL) if ratio > edges.high else -_STEP * _TAIL
        edges.low = max(-_EDGE_MAX, min(edges.low, edges.high))
        edges.high = min(_EDGE_MAX, max(edges.high, edges.low))
        edges.learned += 1


def what_if_rate_changes(
    *, ahead: int, per_hour: float, blocked_ms: int, now_ms: int, factor: float
) -> WhatIf:
    """Say when a message would go if the rate that holds it were `factor` times as high."""
    wait_ms = (ahead + 1) * 3_600_000 / max(per_hour, 0.01)
    return WhatIf(
        likely_ms=now_ms + blocked_ms + int(wait_ms),
        changed_ms=now_ms + blocked_ms + int(wait_ms / factor),
    )


def _bucket(wait_ms: float) -> int:
    return sum(wait_ms > limit for limit in _BUCKETS_MS)
