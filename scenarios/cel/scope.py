"""What an expression can see: the contact's attributes and counts, an event's data, the journey's fields."""

from __future__ import annotations

__all__ = ("JOURNEY_FIELDS", "Decaying", "Marked", "Scope", "Staying")

from collections.abc import Mapping
from typing import Any, Final, Protocol

from engine.vocabulary import data_of

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


class Marked(Protocol):
    """One of the last mails as an expression sees it."""

    @property
    def marks(self) -> int:
        """What was done with it."""


class Scope:
    """The variables of one evaluation. One object is used again for all conditions of a decision.

    `data` is that of the event in view: fields, or JSON text that is decoded when an expression looks at it.
    """

    __slots__ = (
        "_decoded",
        "attributes",
        "counts",
        "data",
        "journey",
        "mails",
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
        event: Mapping[str, Any] | bytes = _NOTHING,
        journey: Mapping[str, Any] = _NOTHING,
        now: int = 0,
        scores: Mapping[str, Decaying] = _NOTHING,
        tags: Mapping[str, int] = _NOTHING,
        times: Mapping[str, tuple[int, ...]] = _NOTHING,
        segments: Mapping[str, Staying] = _NOTHING,
        mails: tuple[Marked, ...] = (),
    ) -> None:
        self.attributes = attributes
        self.counts = counts
        self.data: Mapping[str, Any] | bytes = event
        self.journey = journey
        self.now = now
        self.scores = scores
        self.tags = tags
        self.times = times
        self.segments = segments
        self.mails = mails
        self.variables: dict[str, Any] = {}
        self._decoded: dict[bytes, Mapping[str, Any]] = {}

    @property
    def event(self) -> Mapping[str, Any]:
        """The fields of the event in view."""
        return self.read(self.data)

    def read(self, data: Mapping[str, Any] | bytes) -> Mapping[str, Any]:
        """Give the fields of an event's data. Text is decoded once, for as long as the scope lives."""
        if not isinstance(data, bytes):
            return data
        fields = self._decoded.get(data)
        if fields is None:
            fields = self._decoded[data] = data_of(data)
        return fields
