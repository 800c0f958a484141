"""What is told of pacing: lanes, and what automation did. Light on imports, for the command line."""

from __future__ import annotations

__all__ = ("ActView", "PacingView")

import msgspec

from deliverability.pacing.acting import Acted
from deliverability.pacing.flows import FlowView
from deliverability.pacing.telling_forms import LaneView

ActView = Acted


class PacingView(msgspec.Struct, frozen=True):
    """All lanes. `acts`: what automation did that isn't on record yet; `newest`: the number of the last of them."""

    on: bool
    lanes: list[LaneView] = []
    acts: list[ActView] = []
    newest: int = 0
    flows: list[FlowView] = []
    """Limits of tenants and streams."""
