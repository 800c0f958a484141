"""How webhooks are shown. Light, for the command line."""

from __future__ import annotations

__all__ = ("WebhookTried", "WebhookView")

import msgspec


class WebhookView(msgspec.Struct, frozen=True):
    """How a tenant's webhook stands."""

    url: str
    waiting: int
    oldest_ms: int | None
    delivered: int
    given_up: int
    last_delivered_ms: int
    last_failure: str
    last_failure_ms: int


class WebhookTried(msgspec.Struct, frozen=True):
    """What became of a test event."""

    taken: bool
    status: int
    took_ms: int
    reason: str = ""
