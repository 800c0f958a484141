"""Why is this message waiting, since when, when will it go, and what would change if a limit doubled.

One answer, put together from what limits, lane and estimates say.
"""

from __future__ import annotations

__all__ = ("Waiting", "explain_waiting")

import msgspec

from deliverability.pacing.eta import Eta, EtaModel, what_if_rate_changes
from deliverability.pacing.lane import LaneReport, Phase
from deliverability.pacing.limits import Verdict


class Waiting(msgspec.Struct, frozen=True):
    """The explanation; `if_doubled_ms` is when it would go if the limit that holds it were doubled."""

    reason: str
    since_ms: int
    eta: Eta
    if_doubled_ms: int


def explain_waiting(
    *,
    waiting_since_ms: int,
    ahead: int,
    verdict: Verdict,
    lane: LaneReport,
    lane_wait_ms: int,
    recent_per_hour: float,
    model: EtaModel,
    now_ms: int,
) -> Waiting:
    """Explain one waiting message.

    Args:
        waiting_since_ms: when it became ready.
        ahead: messages that go before it.
        verdict: what the limits say to it now.
        lane: the lane's report.
        lane_wait_ms: what the lane says to the next message now.
        recent_per_hour: the lane's throughput of late; the lane's own rate is used if it is 0.
        model: the lane's estimates.
        now_ms: when this is asked.
    """
    stopped = lane.phase in (Phase.PAUSED, Phase.RECOVERING)
    if verdict.wait_ms > lane_wait_ms and verdict.dimension is not None:
        reason = f"limit of {verdict.dimension.value} for {verdict.scope}"
    elif ahead:
        reason = f"{ahead} messages before it at {lane.per_hour:.0f} an hour: {lane.reason}"
    else:
        reason = f"{lane.phase.value}: {lane.reason}"
    per_hour = recent_per_hour or lane.per_hour
    blocked_ms = max(verdict.wait_ms, lane_wait_ms if stopped else 0)
    what_if = what_if_rate_changes(
        ahead=ahead, per_hour=per_hour, blocked_ms=blocked_ms, now_ms=now_ms, factor=2.0
    )
    return Waiting(
        reason=reason,
        since_ms=waiting_since_ms,
        eta=model.estimate(ahead=ahead, per_hour=per_hour, blocked_ms=blocked_ms, now_ms=now_ms),
        if_doubled_ms=what_if.changed_ms,
    )
