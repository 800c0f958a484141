"""What an expression can see: the contact's attributes and counts, an event's data, the journey's fields."""

from __future__ import annotations

__all__ = ("JOURNEY_FIELDS", "Scope")

from collections.abc import Mapping
from typing import Any, Final

JOURNEY_FIELDS: Final = ("id", "scenario", "version", "step", "visit", "opened_at", "key", "event")
"""Fields of `journey`; beside them it has what `as` of a `wait_for` has caught."""

_NOTHING: Final[Mapping[str, Any]] = {}


class Scope:
    """The variables of one evaluation. One object is used again for all conditions of a decision."""

    __slots__ = ("attributes", "counts", "event", "journey", "now", "variables")

    def __init__(
        self,
        attributes: Mapping[str, Any] = _NOTHING,
        counts: Mapping[str, int] = _NOTHING,
        event: Mapping[str, Any] = _NOTHING,
        journey: Mapping[str, Any] = _NOTHING,
        now: int = 0,
    ) -> None:
        self.attributes = attributes
        self.counts = counts
        self.event = event
        self.journey = journey
        self.now = now
        self.variables: dict[str, Any] = {}
