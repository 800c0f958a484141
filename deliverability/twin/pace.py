"""Pace: servers that take their time, and tarpits. Real time, not a log's."""

from __future__ import annotations

__all__ = ("Pace", "PaceModel", "Tarpit")

from typing import Annotated

from msgspec import Meta

from deliverability.twin.chance import draw
from deliverability.twin.verdict import Connection, Phase, Rule

DELAY_MS_MAX = 600_000
"""No reply is held back longer: no client has to wait longer. RFC 5321 §4.5.3.2.6."""

_Delay = Annotated[int, Meta(ge=0, le=DELAY_MS_MAX)]


class Pace(Rule, frozen=True, kw_only=True):
    """How long a server thinks before it replies, between `at_least_ms` and `at_most_ms`."""

    at_least_ms: Annotated[_Delay, Meta(description="before each reply of `phases`")]
    at_most_ms: Annotated[_Delay, Meta(description="drawn evenly between the two")] = 0
    phases: Annotated[
        tuple[Phase, ...], Meta(min_length=1, max_length=5, description="where it thinks")
    ] = ("dot",)


class Tarpit(Rule, frozen=True, kw_only=True):
    """After some refused commands on a connection, each further one is answered later."""

    free: Annotated[int, Meta(ge=0, le=10_000, description="refusals that cost nothing")] = 3
    step_ms: Annotated[_Delay, Meta(description="delay that each further refusal adds")] = 500
    delay_ms_max: Annotated[_Delay, Meta(description="and where it ends")] = 20_000


class PaceModel:
    """Adds both up. Without settings it costs nothing and delays nothing."""

    def __init__(self, pace: Pace | None, tarpit: Tarpit | None, seed: int) -> None:
        self._pace = pace
        self._tarpit = tarpit
        self._seed = seed

    def delay_ms(self, phase: Phase, now: int, connection: Connection, key: bytes) -> int:
        """Tell how long to hold the next reply back."""
        delay = 0
        pace, tarpit = self._pace, self._tarpit
        if pace is not None and phase in pace.phases:
            spread = max(0, pace.at_most_ms - pace.at_least_ms)
            delay = pace.at_least_ms
            if spread:
                delay += int(draw(self._seed, "pace", phase, key, now) * (spread + 1))
        if tarpit is not None and connection.refused > tarpit.free:
            excess = connection.refused - tarpit.free
            delay += min(excess * tarpit.step_ms, tarpit.delay_ms_max)
        return min(delay, DELAY_MS_MAX)
