"""The sections of the configuration about pace: rules and warm-up."""

from __future__ import annotations

__all__ = ("Limit", "Pacing", "Warmup")

from typing import Annotated, Literal

from msgspec import Meta

from engine.settings_types import File, Name, Section

_Percent = Annotated[float, Meta(ge=0.0, le=100.0)]


class Warmup(Section, frozen=True, kw_only=True):
    """A source that providers don't know yet: each day's volume is decided from the day before (docs/shaping.md)."""

    source: Annotated[Name, Meta(description="the name of a `[[source]]`")]
    provider: Annotated[
        str,
        Meta(
            max_length=253,
            description="a pattern: a provider of the rules, or a site where no rule names it",
        ),
    ] = "*"
    first_day: Annotated[
        int, Meta(ge=1, le=1_000_000, description="messages to each provider on the first day")
    ] = 50
    goal_per_day: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="at this volume the source is warm")
    ] = 50_000
    growth_percent: Annotated[
        int, Meta(ge=101, le=199, description="a day's volume, of that of the day before")
    ] = 140
    hold_complaints_percent: Annotated[
        _Percent, Meta(description="with so many complaints the volume doesn't grow")
    ] = 0.1
    cut_complaints_percent: Annotated[
        _Percent, Meta(description="with so many it is halved, and rests")
    ] = 0.3
    rest_days: Annotated[
        int, Meta(ge=1, le=365, description="without growth, after the volume was halved")
    ] = 3


class Limit(Section, frozen=True, kw_only=True):
    """So many messages or bytes per time of a tenant or a stream, to a provider, from a source; over all senders.

    It counts together all that it is about; what is left out is about all. Where mail is paced.
    """

    rate: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=40,
            description="such as `1000/hr`, `20/min`, `50000/day`; `,max_burst=N` lets so many go at once",
        ),
    ]
    of: Annotated[Literal["messages", "bytes"], Meta(description="what is counted")] = "messages"
    tenant: Annotated[str, Meta(max_length=63, description="of this one")] = ""
    stream: Annotated[str, Meta(max_length=63, description="of this one")] = ""
    provider: Annotated[
        str,
        Meta(
            max_length=253,
            description="a pattern: a provider as `veredus feedback rates` names it, or a domain",
        ),
    ] = "*"
    source: Annotated[str, Meta(max_length=63, description="the name of a `[[source]]`")] = ""


class Pacing(Section, frozen=True, kw_only=True):
    """How fast each provider likes it: rules, and a loop that finds out the rest (docs/shaping.md)."""

    mode: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="`auto`: in mode `live` alone; a relay knows its own pace"),
    ] = "auto"
    rule_pack: Annotated[bool, Meta(description="begin with the rules that come with Veredus")] = (
        True
    )
    rule_files: Annotated[
        tuple[Annotated[File, Meta(min_length=1)], ...],
        Meta(description="TOML in KumoMTA's form, laid over each other in this order"),
    ] = ()
    first_per_hour: Annotated[
        float,
        Meta(
            ge=1.0,
            le=1_000_000_000.0,
            description="messages at first, from one source to one provider",
        ),
    ] = 600.0
    max_per_hour: Annotated[float, Meta(ge=1.0, le=1_000_000_000.0, description="and at most")] = (
        360_000.0
    )
    engaged_first_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=168,
            description="with a `[[pacing.warmup]]`: so much earlier than due the most eager readers' bulk mail goes",
        ),
    ] = 24
    warmup: Annotated[tuple[Warmup, ...], Meta(description="sources that are being warmed up")] = ()
    limit: Annotated[tuple[Limit, ...], Meta(description="limits of tenants and streams")] = ()
