"""What an expression can see: the contact's attributes and counts, an event's data, the journey's fields."""

from __future__ import annotations

__all__ = ("JOURNEY_FIELDS", "Decaying", "Scope", "Staying")

from collections.abc import Mapping
from typing import Any, Final, Protocol

JOURNEY_FIELDS: Final = ("id", "scenario", "version", "step", "visit", "opened_at", "key", "event")
"""Fields of `journey`; beside them it has what `as` of a `wait_for` has caught."""

_NOTHING: Final[Mapping[str, Any]] = {}


class Decaying(Protocol):
    """A score as an expression sees it."""

    def at(self, now: int) -> float:
        """Give its value at a time in ms."""


class Staying(Protocol):
    """A stay in a segment as an expression sees it; `until` 0: it isn't over."""

    @property
    def until(self) -> int:
        """When it ended, ms."""


class Scope:
    """The variables of one evaluation. One object is used again for all conditions of a decision."""

    __slots__ = (
        "attributes",
        "counts",
        "event",
        "journey",
        "now",
        "scores",
        "segments",
        "tags",
        "times",
        "variables",
    )

    def __init__(
        self,
        attributes: Mapping[str, Any] = _NOTHING,
        counts: Mapping[str, int] = _NOTHING,
        event: Mapping[str, Any] = _NOTHING,
        journey: Mapping[str, Any] = _NOTHING,
        now: int = 0,
        scores: Mapping[str, Decaying] = _NOTHING,
        tags: Mapping[str, int] = _NOTHING,
        times: Mapping[str, tuple[int, ...]] = _NOTHING,
        segments: Mapping[str, Staying] = _NOTHING,
    ) -> None:
        self.attributes = attributes
        self.counts = counts
        self.event = event
        self.journey = journey
        self.now = now
        self.scores = scores
        self.tags = tags
        self.times = times
        self.segments = segments
        self.variables: dict[str, Any] = {}
