"""How health and waiting times are put into words and figures. Pure."""

from __future__ import annotations

__all__ = (
    "aligned_at",
    "flow_words",
    "iso_day",
    "limited",
    "outlook_of",
    "stream_line",
    "tls_at",
    "wait_of",
)

from collections.abc import Sequence
from datetime import UTC, datetime

from actors.health_views import StreamLine, WaitView
from actors.queues import QueueLine
from deliverability.feedback.rates import LaneRates
from deliverability.feedback.reports import ReportBook
from deliverability.lines import BULK
from deliverability.pacing.flows import FlowView
from deliverability.pacing.scarcity import Candidate, plan_quota
from deliverability.pacing.telling_forms import LaneView

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS


def wait_of(
    ahead: int, lanes: list[LaneView], now: int, samples: Sequence[tuple[float, int]] = ()
) -> WaitView:
    """Estimate when a message with so many before it goes, over all lanes that its queue may use.

    `samples` of the messages before it: the share of the line before each, and when it expires (ms).
    """
    rates = [
        lane.recent_per_hour if lane.busy and lane.recent_per_hour else lane.per_hour
        for lane in lanes
    ]
    per_hour = max(sum(rates), 0.01)
    blocked = min(lane.blocked_ms for lane in lanes)
    until = min((_suspended(lane) for lane in lanes), default=0)
    blocked = max(blocked, until - now, 0)
    wait = blocked + ahead * HOUR_MS / per_hour
    slowest = max(lanes, key=lambda lane: lane.blocked_ms)
    low, high = _edges(lanes, wait)
    late = sum(
        now + blocked + share * ahead * HOUR_MS / per_hour > expires for share, expires in samples
    )
    return WaitView(
        likely_ms=now + int(wait),
        earliest_ms=now + int(wait * low),
        latest_ms=now + int(wait * high),
        doubled_ms=now + blocked + int(ahead * HOUR_MS / per_hour / 2),
        why=limited(slowest, now) or f"{per_hour:,.0f} an hour: {slowest.reason}",
        misses=round(ahead * late / len(samples)) if samples else 0,
        unavoidable=_unavoidable(ahead, per_hour, blocked, now, samples) if late else 0,
    )


def _unavoidable(
    ahead: int, per_hour: float, blocked: int, now: int, samples: Sequence[tuple[float, int]]
) -> int:
    """Tell how many can't make their window even if whoever expires first went first."""
    part = len(samples) / ahead
    some = [Candidate(str(n), 1, expires) for n, (_, expires) in enumerate(samples)]
    plan = plan_quota(some, per_hour=per_hour * part, now_ms=now, blocked_ms=blocked)
    return round(len(plan.misses) / part)


def outlook_of(lines: Sequence[QueueLine], now: int) -> list[str]:
    """Say when the last of each queue of bulk mail goes, where it takes an hour or some can't make its window."""
    found = []
    for line in lines:
        wait = line.wait
        if wait is None or line.message_class < BULK:
            continue
        if wait.likely_ms - now < HOUR_MS and not wait.misses:
            continue
        text = (
            f"{line.domain}: {line.messages:,} wait, the last goes in about {_ago(wait.likely_ms - now)} "
            f"({_ago(wait.earliest_ms - now)} to {_ago(wait.latest_ms - now)}); {wait.why}"
        )
        if wait.misses:
            text += f"; about {wait.misses:,} expire before their turn"
            text += f", {wait.unavoidable:,} in whatever order" if wait.unavoidable else ""
        found.append(text)
    return found


def _edges(lanes: list[LaneView], wait_ms: float) -> tuple[float, float]:
    """Give the widest interval of the lanes, for waits of that length."""
    at = sum(wait_ms > limit for limit in (600_000, HOUR_MS, 6 * HOUR_MS))
    edges = [lane.edges[at] for lane in lanes]
    return min(low for low, _ in edges), max(high for _, high in edges)


def _suspended(lane: LaneView) -> int:
    """Until when all of a lane's paths are suspended; 0: some isn't."""
    return min((path.suspended_until for path in lane.paths), default=0)


def limited(lane: LaneView | None, now: int) -> str:
    """Say what limits a lane now, if anything does."""
    if lane is None:
        return ""
    name = f"{lane.source or 'default'} to {lane.provider}"
    held = [hold for path in lane.paths if path.suspended_until for hold in path.holds]
    if held:
        return f"{name}: suspended: {held[0]}"
    changed = [hold for path in lane.paths for hold in path.holds]
    if lane.phase in ("paused", "recovering"):
        return f"{name}: {lane.phase} since {_ago(now - lane.since_ms)}: {lane.reason}"
    if lane.warmup is not None and lane.warmup.phase != "warm":
        one = lane.warmup
        return f"{name}: warm-up, day {one.day}: {one.used:,} of {one.volume:,} used ({one.reason})"
    if changed:
        return f"{name}: {changed[0]}"
    if lane.pressed_until > now:
        return f"{name}: half the pace: {lane.pressed_why}"
    if lane.greylist == "learning":
        return f"{name}: greylisted: fresh mail is held until the site knows us"
    if lane.held_by:
        return f"{name}: the limit of {lane.held_by}: {_rule(lane)}"
    if lane.busy:
        return f"{name}: {lane.per_hour:,.0f} an hour: {lane.reason}"
    return ""


def _rule(lane: LaneView) -> str:
    """Find the line that sets the limit that holds, as well as its name tells."""
    dimension = lane.held_by.partition(" ")[0].removesuffix("s")
    scope = "provider_" if " provider " in f" {lane.held_by} " else ""
    names = {f"{scope}max_{dimension}_rate", f"{scope}source_selection_rate"}
    found = [limit for path in lane.paths for limit in path.limits if limit.name in names]
    return f"{found[0].value} ({found[0].place})" if found else "of a rule"


def flow_words(one: FlowView) -> str:
    """Say how a limit of a tenant or stream holds mail back."""
    return f"limit of {one.name}: {one.given:,} given ({one.rate}), {one.held:,} or more wait for their turn"


def aligned_at(book: ReportBook, provider: str, address: str, now: int) -> tuple[int, int]:
    """Sum up a week of DMARC reports of a provider on an address (empty: all): messages that align, and that don't."""
    seen = passed = 0
    for line in book.sources():
        if provider in line.provider.lower() and address in ("", line.source):
            messages, aligned = line.sums((now - WEEK_MS) // DAY_MS)
            seen, passed = seen + messages, passed + aligned
    return passed, seen - passed


def tls_at(book: ReportBook, provider: str, now: int) -> tuple[int, int]:
    """Sum up a week of TLS reports of a provider: sessions, and those that failed."""
    sessions = failures = 0
    for line in book.tls():
        if provider in line.provider.lower():
            worked, failed = line.sums((now - WEEK_MS) // DAY_MS)
            sessions, failures = sessions + worked + failed, failures + failed
    return sessions, failures


def _ago(ms: int) -> str:
    minutes = max(ms, 0) // 60_000
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def stream_line(one: LaneRates, source: str) -> StreamLine:
    """Put a lane of feedback into a line; `source`: the name of what it calls by its address."""
    lane = one.lane
    return StreamLine(
        lane.tenant,
        lane.stream,
        source,
        lane.provider,
        one.delivered,
        one.deferred,
        one.bounced,
        one.returned,
        one.complained,
        one.unsubscribed,
    )


def iso_day(at_ms: int) -> str:
    """Name the UTC day of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
