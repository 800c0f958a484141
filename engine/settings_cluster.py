"""The section of the configuration about workers that come and go."""

from __future__ import annotations

__all__ = ("Scaling",)

from typing import Annotated

from msgspec import Meta

from engine.settings_types import Section

_Seconds = Annotated[float, Meta(ge=0.1, le=86_400)]


class Scaling(Section, frozen=True, kw_only=True):
    """When workers are added and removed. Only with `store.kind = "redis"`, where partitions can move."""

    workers_max: Annotated[
        int,
        Meta(ge=0, le=1024, description="0: their number changes by `veredus cluster scale` only"),
    ] = 0
    workers_min: Annotated[int, Meta(ge=1, le=1024, description="never fewer")] = 1
    busy: Annotated[
        float,
        Meta(
            ge=0.1,
            le=1.0,
            description="a worker that uses so much of a core, or of its connections, is full",
        ),
    ] = 0.85
    idle: Annotated[
        float,
        Meta(
            ge=0.0, le=0.9, description="one goes when the others would be used no more than this"
        ),
    ] = 0.6
    late_s: Annotated[
        _Seconds,
        Meta(
            description="mail that could go now but for full workers, and waits so long, asks for more of them"
        ),
    ] = 2.0
    urgent_late_s: Annotated[
        _Seconds, Meta(description="the same for urgent and transactional mail")
    ] = 0.5
    patience_s: Annotated[
        _Seconds, Meta(description="how long it must stay so before a worker is added")
    ] = 2.0
    quiet_s: Annotated[
        _Seconds, Meta(description="how long workers must be idle before one is drained")
    ] = 60.0
    pause_s: Annotated[
        _Seconds, Meta(description="after a change, until the next is thought of")
    ] = 5.0
    drain_s: Annotated[
        _Seconds, Meta(description="a drain that takes longer is given up; the worker stays")
    ] = 60.0
    node_s: Annotated[
        _Seconds,
        Meta(description="how long a node is waited for; then the worker isn't wanted any more"),
    ] = 600.0
