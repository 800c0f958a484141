"""How good a source's name is at a provider: one number, and the reasons for it. Pure.

100 is perfect. Each signal takes something away, and says so; what it takes is fixed here, so that two lanes can be
compared. Below `SLOW_BELOW` pacing goes at half its rate there, below `ALERT_BELOW` somebody should look.
"""

from __future__ import annotations

__all__ = ("ALERT_BELOW", "SLOW_BELOW", "Health", "Reason", "Signals", "judge")

from collections.abc import Iterator

import msgspec

ALERT_BELOW = 70
SLOW_BELOW = 40
MESSAGES_MIN = 100
"""With fewer messages in a day a rate says nothing."""


class Signals(msgspec.Struct, frozen=True):
    """What is known of one source at one provider over a day. Rates are told with what they are of.

    `postmaster` is Google's word for a domain's reputation (`HIGH`, `MEDIUM`, `LOW`, `BAD`), `spam_rate` its
    user-reported one, `snds` Microsoft's colour for an address, `trap_hits` mail to its traps.
    """

    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    blocked: int = 0
    complained: int = 0
    is_stopped: bool = False
    stopped_why: str = ""
    suspended: str = ""
    unaligned: int = 0
    aligned: int = 0
    tls_failures: int = 0
    tls_sessions: int = 0
    postmaster: str = ""
    spam_rate: float | None = None
    snds: str = ""
    trap_hits: int = 0


class Reason(msgspec.Struct, frozen=True):
    """What one signal takes away, and in what words."""

    takes: int
    says: str


class Health(msgspec.Struct, frozen=True):
    """The verdict: a score from 0 to 100, and its reasons, the gravest first."""

    score: int
    reasons: tuple[Reason, ...]


def judge(signals: Signals) -> Health:
    """Give the score. Total: any signals have one."""
    reasons = sorted(_reasons(signals), key=lambda one: -one.takes)
    score = max(100 - sum(one.takes for one in reasons), 0)
    return Health(score, tuple(reasons))


def _reasons(one: Signals) -> Iterator[Reason]:
    yield from _of_replies(one)
    yield from _of_people(one)
    yield from _of_reports(one)
    yield from _of_providers(one)


def _of_replies(one: Signals) -> Iterator[Reason]:
    if one.suspended:
        yield Reason(40, f"suspended: {one.suspended}")
    elif one.is_stopped:
        yield Reason(20, f"stopped: {one.stopped_why}")
    tried = one.delivered + one.bounced
    if tried >= MESSAGES_MIN:
        blocked = one.blocked / tried
        if blocked >= 0.005:
            yield Reason(50 if blocked >= 0.05 else 25, f"{blocked:.1%} refused as unwanted")
        bounced = (one.bounced - min(one.blocked, one.bounced)) / tried
        if bounced >= 0.02:
            yield Reason(30 if bounced >= 0.05 else 10, f"{bounced:.1%} bounced")
    if one.delivered >= MESSAGES_MIN:
        deferred = one.deferred / one.delivered
        if deferred >= 0.1:
            yield Reason(15 if deferred >= 0.5 else 5, f"{deferred:.2f} deferrals a message")


def _of_people(one: Signals) -> Iterator[Reason]:
    rate = one.complained / one.delivered if one.delivered >= MESSAGES_MIN else 0.0
    if one.complained >= 2 and rate >= 0.001:
        yield Reason(50 if rate >= 0.003 else 20, f"{rate:.2%} complained")


def _of_reports(one: Signals) -> Iterator[Reason]:
    seen = one.aligned + one.unaligned
    if seen >= MESSAGES_MIN and one.unaligned / seen >= 0.01:
        yield Reason(20, f"{one.unaligned / seen:.1%} fail DMARC in its reports")
    if one.tls_sessions >= MESSAGES_MIN and one.tls_failures / one.tls_sessions >= 0.01:
        share = one.tls_failures / one.tls_sessions
        yield Reason(5, f"{share:.1%} of its TLS sessions failed")


def _of_providers(one: Signals) -> Iterator[Reason]:
    takes = {"MEDIUM": 10, "LOW": 35, "BAD": 60}.get(one.postmaster, 0)
    if takes:
        yield Reason(takes, f"Postmaster Tools: reputation {one.postmaster}")
    if one.spam_rate is not None and one.spam_rate >= 0.001:
        takes = 50 if one.spam_rate >= 0.003 else 20
        yield Reason(takes, f"Postmaster Tools: {one.spam_rate:.2%} reported as spam")
    takes = {"YELLOW": 20, "RED": 50}.get(one.snds, 0)
    if takes:
        yield Reason(takes, f"SNDS: {one.snds.lower()}")
    if one.trap_hits:
        yield Reason(30, f"SNDS: {one.trap_hits} trap hits")
