"""Where the mail of simulated lives goes, and what is written down of a life."""

from __future__ import annotations

__all__ = ("HandedOver", "OpenPost", "Post", "Told")

from typing import TYPE_CHECKING, Protocol

import msgspec

from deliverability.message.records import AttemptOutcome
from engine.vocabulary import Message

if TYPE_CHECKING:
    from actors.simulation.life import Life


class Told(msgspec.Struct, frozen=True):
    """One line of a contact's story."""

    at: int
    what: str
    detail: str = ""


class HandedOver(msgspec.Struct, frozen=True):
    """A mail at its first hand-over."""

    at: int
    scenario: str
    step: str
    message_id: bytes
    template: str = ""


class Post(Protocol):
    """Where the mail of lives goes."""

    def ready(self, life: Life, message_id: bytes, domain: str, order: int) -> int:
        """Tell when credit is at hand: a time (ms), or -1 when the post will call `life.grant` itself."""

    def attempt(self, life: Life, message: Message) -> AttemptOutcome:
        """Make one attempt now."""


class OpenPost:
    """A post without limits: credit is always at hand, and all arrives but at addresses that don't exist."""

    def __init__(self) -> None:
        self.bounces = False

    def ready(self, life: Life, message_id: bytes, domain: str, order: int) -> int:
        """Give credit at once."""
        del life, message_id, domain
        return order

    def attempt(self, life: Life, message: Message) -> AttemptOutcome:
        """Deliver it, or bounce it."""
        if self.bounces:
            return AttemptOutcome(
                message.attempt, "bounced", "no-such-mailbox", 550, "5.1.1", at=life.now
            )
        return AttemptOutcome(message.attempt, "delivered", at=life.now)
