"""What a route asks of whoever paces it: whether a message may start, how many connections there may be.

`actors.worker.pacing` implements it over a purse (`deliverability.pacing.purse`); a route without pace asks nobody.
A source is named as in the configuration; "" where the system chooses.
"""

from __future__ import annotations

__all__ = ("Pace",)

from collections.abc import Mapping
from typing import Protocol

from deliverability.message.records import AttemptOutcome
from engine.vocabulary import Message


class Pace(Protocol):
    """The pace of one route."""

    def may_start(self, source: str, message_class: int) -> bool:
        """Tell whether a message of a class may start on a connection from a source."""

    def held_ms(self, source: str, message: Message) -> int:
        """Tell how long limits of its tenant or stream hold a message; 0: it may start, and is counted."""

    def started(self, source: str) -> None:
        """Count one that starts, as `may_start` allowed."""

    def not_sent(self, source: str, message: Message) -> None:
        """Count one that was started and withdrawn before its content went."""

    def connections(self, opened: Mapping[str, int], wanted: int) -> int:
        """Tell how many connections may be open, given those of each source and how many could be used in all."""

    def is_full(self, source: str, opened: int) -> bool:
        """Tell whether a source can't use one more connection here."""

    def opened(self, source: str) -> None:
        """Count a connection that was opened."""

    def per_connection(self, source: str) -> int:
        """Tell after how many messages a connection is to be closed; 0: nobody says."""

    def ended(
        self,
        source: str,
        message: Message,
        outcome: AttemptOutcome,
        *,
        latency_ms: int,
        on_connection: int,
        size: int,
    ) -> int:
        """Hear what became of an attempt. Returns how long the site's greylisting wants, ms, or 0."""

    def refused(self, source: str, cause: str, code: int, text: str) -> None:
        """Hear that a connection was refused by a reply."""
