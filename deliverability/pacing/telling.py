"""Tells how the lanes of a pacer are doing. Pure."""

from __future__ import annotations

__all__ = ("lane_views",)

from deliverability.pacing.pacer import LaneState, Pacer, PathState
from deliverability.pacing.telling_forms import LaneView, PathView

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BUSY_MS = 5_000


def lane_views(pacer: Pacer, now_ms: int, *, curves: bool = False) -> list[LaneView]:
    """Describe all lanes, by provider and source. `curves`: with the last day of each."""
    views = [_lane(pacer, lane, now_ms, curves=curves) for lane in pacer.lanes.values()]
    return sorted(views, key=lambda one: (one.provider, one.source))


def _lane(pacer: Pacer, state: LaneState, now: int, *, curves: bool) -> LaneView:
    lane = state.lane
    report = lane.report(now)
    paths = [_path(pacer, one, now) for one in pacer.paths.values() if one.lane is state]
    wait = lane.wait_ms(now, fresh=False) if state.is_stopped() else 0
    return LaneView(
        source=state.source,
        provider=state.provider,
        feedback_name=state.feedback_name,
        phase=report.phase.value,
        reason=report.reason,
        since_ms=report.since_ms,
        per_hour=pacer.per_hour(state),
        ceiling=report.ceiling_per_hour,
        recent_per_hour=state.counts.recent_per_hour(now),
        blocked_ms=wait,
        connections=report.connections,
        trips=report.trips,
        busy=bool(state.wanted_ms) and now - state.wanted_ms <= BUSY_MS,
        hour=state.counts.since(now - HOUR_MS),
        day=state.counts.since(now - DAY_MS),
        greylist=lane.greylist.mode.value,
        greylist_delay_ms=lane.greylist.learned_delay_ms(),
        paths=paths,
        warmup=state.warming.view(now) if state.warming is not None else None,
        edges=state.eta.model.edges(),
        eta_told=state.eta.told,
        eta_held=state.eta.held,
        held_by=state.held_by if state.held_ms and now - state.held_ms <= BUSY_MS else "",
        pressed_until=state.pressed_until if state.pressed_until > now else 0,
        pressed_why=state.pressed_why if state.pressed_until > now else "",
        curve=state.counts.curve() if curves else [],
    )


def _path(pacer: Pacer, state: PathState, now: int) -> PathView:
    until = pacer.acting.settle(state, now)
    return PathView(
        site=state.path.site,
        domain=state.path.domain,
        connections=sum(want.open for want in state.fresh(now).values()),
        suspended_until=until,
        limits=list(state.limits.shown()),
        holds=[
            f"{', '.join(map(str, one.actions))} until {one.until_ms}: {one.pattern} ({one.place})"
            for one in pacer.acting.holding(state, now)
        ],
    )
