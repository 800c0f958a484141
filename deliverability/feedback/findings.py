"""From rates and reports to what somebody should do: slow, pause, or look. Pure; thresholds are data.

Rates of a day ask for a pause or a slower pace, those of a week alert: by lane (stream, source, provider), and of a
whole stream, so that a list that is bad everywhere is seen though no provider got a thousand of it.

complaints           0.1 % is Google's target, 0.3 % its ceiling (sender guidelines); Yahoo names 0.3 % too
bounces              2 % is a list that wants cleaning, 5 % one that should not be sent to
blocks               refusals of us, whoever the recipient is: 1 % is a name that suffers, 5 % one that is gone
alignment            a source that fails DMARC at a provider: ours is to be mended, a stranger's is forgery or a
service that nobody told of
TLS                  sessions that failed, by their reason (RFC 8460 §4.3)
"""

from __future__ import annotations

__all__ = ("Finding", "Thresholds", "findings_of")

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from deliverability.feedback.rates import Lane, LaneRates, Rates, Window
from deliverability.feedback.reports import ReportBook, SourceLine, TlsLine
from deliverability.feedback.taxonomy import BLOCKS

DAY_MS = 86_400_000
Do = Literal["alert", "slow", "pause"]
Gravity = Literal["note", "warning", "critical"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found. `since` in ms; 0: not known. `id` is the same while it goes on."""

    id: str
    gravity: Gravity
    do: Do
    says: str
    mend: str
    tenant: str = ""
    stream: str = ""
    provider: str = ""
    source: str = ""
    domain: str = ""
    since: int = 0
    value: float = 0.0
    limit: float = 0.0


class Thresholds(msgspec.Struct, frozen=True):
    """When a rate is found. Rates of fewer messages than the least number are chance."""

    complaints_slow: float = 0.001
    complaints_pause: float = 0.003
    bounces_slow: float = 0.02
    bounces_pause: float = 0.05
    blocks_slow: float = 0.01
    blocks_pause: float = 0.05
    messages_min: int = 1000
    complaints_min: int = 3
    bounces_min: int = 20
    blocks_min: int = 10
    unaligned_min: int = 20
    tls_failures_min: int = 5
    streams: dict[str, Thresholds] = {}

    def of(self, stream: str) -> Thresholds:
        """Give those of a stream: its own, or these."""
        return self.streams.get(stream, self)


def findings_of(
    rates: Rates,
    book: ReportBook,
    now: int,
    own_sources: Collection[str] = (),
    thresholds: Thresholds | None = None,
) -> list[Finding]:
    """List what is found now, the gravest first."""
    limits = thresholds or Thresholds()
    found = [*_of_rates(rates, now, limits), *_of_reports(book, now, own_sources, limits)]
    order = {"critical": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda one: (order[one.gravity], one.id))


# ---- rates


def _of_rates(rates: Rates, now: int, limits: Thresholds) -> Iterator[Finding]:
    for window in ("day", "week"):
        lanes = list(rates.all(window, now))
        wholes = [one for one in _streams(lanes, window) if one.lane not in {o.lane for o in lanes}]
        for one in (*lanes, *wholes):
            own = limits.of(one.lane.stream)
            for found in (
                *_complaints(one, window, own),
                *_bounces(one, window, own),
                *_blocks(one, window, own),
            ):
                yield found if window == "day" else msgspec.structs.replace(found, do="alert")


def _streams(lanes: Collection[LaneRates], window: Window) -> Iterator[LaneRates]:
    """Sum up the lanes of each stream that has several."""
    of: dict[tuple[str, str], list[LaneRates]] = {}
    for one in lanes:
        of.setdefault((one.lane.tenant, one.lane.stream), []).append(one)
    for (tenant, stream), members in of.items():
        if len(members) > 1:
            causes: Counter[str] = Counter()
            for one in members:
                causes.update(one.causes)
            yield LaneRates(
                Lane(tenant, stream, "", ""),
                window,
                sum(one.delivered for one in members),
                sum(one.deferred for one in members),
                sum(one.bounced for one in members),
                sum(one.returned for one in members),
                sum(one.complained for one in members),
                sum(one.unsubscribed for one in members),
                dict(causes.most_common()),
            )


def _complaints(one: LaneRates, window: Window, limits: Thresholds) -> Iterator[Finding]:
    rate = one.complaint_rate
    enough = one.delivered >= limits.messages_min and one.complained >= limits.complaints_min
    if not enough or rate < limits.complaints_slow:
        return
    pause = rate >= limits.complaints_pause
    limit = limits.complaints_pause if pause else limits.complaints_slow
    yield Finding(
        id=f"complaints/{window}/{_name(one)}",
        gravity="critical" if pause else "warning",
        do="pause" if pause else "slow",
        says=f"{rate:.2%} of the {one.delivered:,} messages of a {window} were complained of{_where(one)}",
        mend="send less often, to those who react, and make leaving easy; look at what was sent last",
        tenant=one.lane.tenant,
        stream=one.lane.stream,
        source=one.lane.source,
        provider=one.lane.provider,
        value=rate,
        limit=limit,
    )


def _bounces(one: LaneRates, window: Window, limits: Thresholds) -> Iterator[Finding]:
    rate = one.bounce_rate
    decided = one.delivered + one.bounced
    enough = decided >= limits.messages_min and one.bounced + one.returned >= limits.bounces_min
    if not enough or rate < limits.bounces_slow:
        return
    pause = rate >= limits.bounces_pause
    most = [said for said in one.causes if said.startswith(("bounced", "returned"))][:1]
    cause = f", most of them {most[0].partition(' ')[2]}" if most else ""
    yield Finding(
        id=f"bounces/{window}/{_name(one)}",
        gravity="critical" if pause else "warning",
        do="pause" if pause else "slow",
        says=f"{rate:.1%} of the {decided:,} messages of a {window} bounced{_where(one)}{cause}",
        mend="where do these addresses come from? Confirm new ones, and leave out those who never react",
        tenant=one.lane.tenant,
        stream=one.lane.stream,
        source=one.lane.source,
        provider=one.lane.provider,
        value=rate,
        limit=limits.bounces_pause if pause else limits.bounces_slow,
    )


def _blocks(one: LaneRates, window: Window, limits: Thresholds) -> Iterator[Finding]:
    """Refusals that are about us and not about the recipient: the provider has had enough, or never wanted any."""
    refused = {
        cause: sum(one.causes.get(f"{kind} {cause}", 0) for kind in ("bounced", "returned"))
        for cause in BLOCKS
    }
    blocked, decided = sum(refused.values()), one.delivered + one.bounced
    if decided < limits.messages_min or blocked < limits.blocks_min:
        return
    rate = blocked / decided
    if rate < limits.blocks_slow:
        return
    pause = rate >= limits.blocks_pause
    most = max(refused, key=lambda cause: refused[cause])
    yield Finding(
        id=f"blocks/{window}/{_name(one)}",
        gravity="critical" if pause else "warning",
        do="pause" if pause else "slow",
        says=f"{rate:.1%} of the {decided:,} messages of a {window} were refused as unwanted{_where(one)}, "
        f"most of them {most}",
        mend="`veredus preflight` for the domain and source, then less mail, to those who react",
        tenant=one.lane.tenant,
        stream=one.lane.stream,
        source=one.lane.source,
        provider=one.lane.provider,
        value=rate,
        limit=limits.blocks_pause if pause else limits.blocks_slow,
    )


def _where(one: LaneRates) -> str:
    return f" at {one.lane.provider}" if one.lane.provider else ""


def _name(one: LaneRates) -> str:
    lane = one.lane
    return "/".join((lane.tenant, lane.stream, lane.source or "-", lane.provider or "-"))


# ---- reports


def _of_reports(
    book: ReportBook, now: int, own_sources: Collection[str], limits: Thresholds
) -> Iterator[Finding]:
    since_day = now // DAY_MS - 7
    for line in book.sources():
        yield from _alignment(line, since_day, own_sources, limits)
    for tls in book.tls():
        yield from _tls(tls, since_day, limits)


def _alignment(
    line: SourceLine, since_day: int, own_sources: Collection[str], limits: Thresholds
) -> Iterator[Finding]:
    messages, aligned = line.sums(since_day)
    failed = messages - aligned
    ours = line.source in own_sources
    least = 1 if ours else limits.unaligned_min
    if failed < least or failed * 20 < messages:  # forwarding breaks a few everywhere
        return
    whose = "our source" if ours else "source"
    yield Finding(
        id=f"alignment/{line.provider}/{line.domain}/{line.source}",
        gravity="critical" if ours and failed * 2 > messages else "warning" if ours else "note",
        do="alert",
        says=f"{whose} {line.source} fails alignment at {line.provider} for {line.domain}: "
        f"{failed:,} of {messages:,} messages of a week",
        mend="`veredus preflight` for this domain and source tells which of SPF, DKIM and alignment is wrong"
        if ours
        else "a service that sends for you must be in SPF or sign with your domain; else it is forgery, "
        "which a policy of p=reject ends",
        provider=line.provider,
        source=line.source,
        domain=line.domain,
        since=line.failing_since,
        value=failed / messages,
    )


def _tls(line: TlsLine, since_day: int, limits: Thresholds) -> Iterator[Finding]:
    worked, failed = line.sums(since_day)
    if failed < limits.tls_failures_min:
        return
    share = failed / (worked + failed)
    kinds = sorted(line.kinds, key=lambda kind: (-line.kinds[kind], kind))
    yield Finding(
        id=f"tls/{line.provider}/{line.domain}",
        gravity="critical" if share > 0.5 else "warning",
        do="alert",
        says=f"{failed:,} of {worked + failed:,} TLS sessions of {line.provider} to {line.domain} failed"
        + (f": {', '.join(kinds[:3])}" if kinds else ""),
        mend="look at the certificate, the MX names and the MTA-STS policy of this domain",
        provider=line.provider,
        domain=line.domain,
        since=line.failing_since,
        value=share,
    )
