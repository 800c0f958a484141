"""Where a route leads, what is sent there, and who says what a reply means."""

from __future__ import annotations

__all__ = ("TEXT_MAX", "Attempted", "Classifier", "Rendered", "Renderer", "Target", "Verdict")

import ssl
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from deliverability.message.records import AttemptOutcome
from deliverability.smtp.envelope import Body
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.smtp_client import Connection, Endpoint, Timeouts
from deliverability.transport.way import Way
from engine.vocabulary import Message

TEXT_MAX = 500  # characters kept of a reply or reason

Attempted: TypeAlias = Callable[[Message, AttemptOutcome, "Connection | None"], None]


class Verdict(msgspec.Struct, frozen=True):
    """What a reply means: its cause, and whether it is worth trying again."""

    cause: str
    action: Literal["retry", "fail"]


class Classifier(Protocol):
    """Classifies an SMTP reply."""

    def __call__(self, code: int, enhanced: str, text: str, phase: str) -> Verdict:
        """Give cause and action; `phase` is the command that was answered."""


class Rendered(msgspec.Struct, frozen=True):
    """A message as it travels: signed content and envelope needs. The content is safe for DATA as it is."""

    content: bytes
    dot_free: bool = True


class Renderer(Protocol):
    """Makes content of a message. The reverse-path is asked for earlier than the content."""

    def reverse_path(self, message: Message) -> bytes:
        """Give the signed reverse-path. RFC 5321 §4.1.1.2."""

    def render(self, message: Message) -> Rendered:
        """Render and sign.

        Raises:
            UserError: the message can't be composed; it is bounced then.
            StoreError: what it is made of can't be read now; it is tried again.
        """


class Target(msgspec.Struct, frozen=True):
    """Where a route leads, and what may be used of it. A `way` chooses endpoints by itself."""

    endpoint: Endpoint
    config: ClientConfig
    timeouts: Timeouts
    connections_max: int = 10
    messages_per_connection: int = 1000
    idle_s: float = 10.0
    tls: ssl.SSLContext | None = None
    body: Body = "7bit"
    way: Way | None = None
    allowed: Callable[[int, int], int] | None = None
    """Connections that may be open now, by how many are and how many could be used; None: `connections_max`."""
