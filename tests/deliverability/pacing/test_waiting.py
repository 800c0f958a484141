"""Explanations: the tightest reason is named; memory survives a restart."""

from deliverability.pacing.eta import EtaModel
from deliverability.pacing.lane import Lane, LaneOptions, LaneReport, Phase
from deliverability.pacing.limits import Dimension, Verdict
from deliverability.pacing.signals import Cause
from deliverability.pacing.waiting import Waiting, explain_waiting

HOUR = 3_600_000
BEGIN = 1_764_000_000_000


def explain(verdict: Verdict, ahead: int, phase: Phase = Phase.CRUISING) -> Waiting:
    lane = LaneReport(phase, 100.0, 103.0, "at most 103 in 60 min, rolling", 1, 2, 0)
    return explain_waiting(
        waiting_since_ms=5,
        ahead=ahead,
        verdict=verdict,
        lane=lane,
        lane_wait_ms=30_000,
        recent_per_hour=0.0,
        model=EtaModel(),
        now_ms=1_000,
    )


def test_the_reason_is_the_limit_the_queue_or_the_lane() -> None:
    held = explain(Verdict(HOUR, "tenant t", Dimension.MESSAGES), 0)
    assert held.reason == "limit of messages for tenant t"
    queued = explain(Verdict(0), 199)
    assert "199 messages before it at 100 an hour" in queued.reason
    assert queued.eta.likely_ms == 1_000 + 2 * HOUR
    assert queued.if_doubled_ms == 1_000 + HOUR
    paused = explain(Verdict(0), 0, Phase.PAUSED)
    assert paused.reason == "paused: at most 103 in 60 min, rolling"
    assert paused.since_ms == 5


def test_a_lane_goes_on_where_it_was_before_a_restart() -> None:
    lane, now_ms, times = Lane(LaneOptions(), BEGIN), BEGIN, list[int]()
    while now_ms < BEGIN + 4 * HOUR:
        wait_ms = lane.wait_ms(now_ms)
        now_ms += wait_ms
        if not wait_ms:
            lane.sent(now_ms)
            times = [each for each in times if each > now_ms - HOUR]
            accepted = len(times) < 300
            times += [now_ms] if accepted else []
            lane.answered(Cause.ACCEPTED if accepted else Cause.RATE, now_ms, latency_ms=200)
    lane.connection_refused(Cause.CONNECTIONS, now_ms, 2)
    memory = lane.memory(now_ms)
    again = Lane(LaneOptions(), now_ms, memory).report(now_ms)
    assert again.phase is Phase.CRUISING
    assert again.per_hour == lane.report(now_ms).per_hour
    assert memory.connections == 2
    old = Lane(LaneOptions(), now_ms + Lane.MEMORY_MS + 1, memory)
    assert old.report(now_ms + Lane.MEMORY_MS + 1).phase is Phase.CLIMBING
