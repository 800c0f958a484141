"""The sections of the configuration about what protects a sender's name: rates that act, and preflight at publish."""

from __future__ import annotations

__all__ = ("Measures", "MeasuresOfStream", "Preflight")

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.settings_types import Name

_Limit = Annotated[float, Meta(gt=0, le=100)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `settings_types.Section`; of its own here, where the linter sees that defaults are copied."""


class MeasuresOfStream(_Section, frozen=True, kw_only=True):
    """What is otherwise for one stream; what isn't written is as in `[measures]`."""

    act: Annotated[
        bool | None,
        Meta(
            description="hold and slow it, or only tell; not written: as `[measures]`, for bulk streams alone"
        ),
    ] = None
    complaints_slow_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    complaints_pause_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    bounces_slow_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    bounces_pause_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    blocks_slow_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    blocks_pause_percent: Annotated[_Limit | None, Meta(description="as above")] = None
    messages_min: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None, Meta(description="as above")
    ] = None


class Measures(_Section, frozen=True, kw_only=True):
    """When rates slow a bulk stream down or hold it back by themselves. Rates are of a day, by provider and in all.

    Over `…_slow_percent` the pace at that provider is halved, for the source whose mail it was, while it lasts (where
    pacing is on); over `…_pause_percent` the stream is held there. Both are on record, with the actor.
    """

    act: Annotated[
        bool, Meta(description="slow down and hold bulk streams (class 2); else only tell")
    ] = True
    complaints_slow_percent: Annotated[
        float, Meta(gt=0, le=100, description="of what was accepted; Google's target")
    ] = 0.1
    complaints_pause_percent: Annotated[
        float, Meta(gt=0, le=100, description="holds the stream at that provider; Google's ceiling")
    ] = 0.3
    bounces_slow_percent: Annotated[
        float, Meta(gt=0, le=100, description="final failures, at once or later, of what was tried")
    ] = 2.0
    bounces_pause_percent: Annotated[float, Meta(gt=0, le=100, description="holds the stream")] = (
        5.0
    )
    blocks_slow_percent: Annotated[
        float, Meta(gt=0, le=100, description="refusals of us, whoever the recipient is, likewise")
    ] = 1.0
    blocks_pause_percent: Annotated[float, Meta(gt=0, le=100, description="holds the stream")] = 5.0
    messages_min: Annotated[
        int, Meta(ge=1, le=10_000_000, description="rates of fewer messages are chance")
    ] = 1000
    hold_hours: Annotated[
        int, Meta(ge=1, le=720, description="at least; then until the rate is good again")
    ] = 24
    streams: Annotated[dict[Name, MeasuresOfStream], Meta(description="per stream")] = {}

    def acts_on(self, stream: str, *, bulk: bool) -> bool:
        """Tell whether a stream is slowed down and held."""
        own = self.streams.get(stream)
        return own.act if own is not None and own.act is not None else self.act and bulk


class Preflight(_Section, frozen=True, kw_only=True):
    """What is examined when a scenario is published: its templates as they will be sent. In mode `twin`: nothing."""

    at_publish: Annotated[
        Literal["tell", "refuse", "off"],
        Meta(
            description="`tell` what providers refuse; `refuse` what blocks and isn't overridden; `off`: don't look"
        ),
    ] = "tell"
