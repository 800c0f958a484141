"""What is told of health: lanes with their score, what is limited and why. Light on imports, for the command line."""

from __future__ import annotations

__all__ = ("HealthLine", "HealthView", "Imported", "StreamLine", "WaitView")

import msgspec

from deliverability.feedback.rates import RatePoint
from deliverability.pacing.health import Reason
from deliverability.pacing.telling_forms import LaneView


class StreamLine(msgspec.Struct, frozen=True):
    """A day of one tenant's stream from one source to one provider, as feedback counts it."""

    tenant: str
    stream: str
    source: str
    provider: str
    delivered: int
    deferred: int
    bounced: int
    returned: int
    complained: int
    unsubscribed: int


class HealthLine(msgspec.Struct, frozen=True):
    """One source at one provider: its score with reasons, its pace, and its streams."""

    source: str
    provider: str
    score: int
    reasons: list[Reason]
    lane: LaneView | None = None
    streams: list[StreamLine] = []
    day: list[RatePoint] = []
    """The last day by ten minutes, and the last month by day, where curves are asked for."""
    month: list[RatePoint] = []


class HealthView(msgspec.Struct, frozen=True):
    """All of it. `is_paced` False: the configuration doesn't pace; what is told comes from feedback alone."""

    is_paced: bool
    at_ms: int
    lines: list[HealthLine]
    limited: list[str]
    """What is limited now, and why, in words."""


class WaitView(msgspec.Struct, frozen=True):
    """When the last message of a queue will go: likely, and between which moments in four cases of five (ms).

    `doubled_ms`: when it would be, were the pace twice as high. `why`: what holds it now. `misses`: so many, as a
    sample tells, expire before their turn comes at this pace; `unavoidable` of them in whatever order the line went.
    """

    likely_ms: int
    earliest_ms: int
    latest_ms: int
    doubled_ms: int
    why: str
    misses: int = 0
    unavoidable: int = 0


class Imported(msgspec.Struct, frozen=True):
    """How many lines of an export were taken over."""

    taken: int
