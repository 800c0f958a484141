"""The forms in which a lane is told to people and programs."""

from __future__ import annotations

__all__ = ("LaneView", "PathView")

import msgspec

from deliverability.pacing.path_limits import Shown
from deliverability.pacing.tracking import CurvePoint, Tally
from deliverability.pacing.warming import WarmingView


class PathView(msgspec.Struct, frozen=True):
    """A site of a lane. `domain`: one that it serves; `suspended_until`: ms, 0: it isn't; `holds`: by automation."""

    site: str
    domain: str
    connections: int
    suspended_until: int
    limits: list[Shown]
    holds: list[str]


class LaneView(msgspec.Struct, frozen=True):
    """One source at one provider: its pace and why, what happened of late, and how waiting times are told.

    `per_hour` is the rate of now, `ceiling` the limit that was found (None: none yet), `recent_per_hour` what really
    reached its end of late. `blocked_ms`: nothing goes for so long. `edges`: by what an estimated wait is multiplied to
    get the ends of its 80 % interval, for waits up to ten minutes, an hour, six hours, and longer.
    """

    source: str
    provider: str
    feedback_name: str
    phase: str
    reason: str
    since_ms: int
    per_hour: float
    ceiling: float | None
    recent_per_hour: float
    blocked_ms: int
    connections: int
    trips: int
    busy: bool
    hour: Tally
    day: Tally
    greylist: str
    greylist_delay_ms: int
    paths: list[PathView]
    warmup: WarmingView | None
    edges: list[tuple[float, float]]
    eta_told: int
    eta_held: int
    held_by: str = ""  # the exact limit that keeps messages waiting now
    pressed_until: int = 0
    pressed_why: str = ""
    curve: list[CurvePoint] = []
