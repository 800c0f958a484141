"""How webhooks are shown. Light, for the command line."""

from __future__ import annotations

__all__ = ("EndpointView", "WebhookTried", "WebhookView")

import msgspec


class EndpointView(msgspec.Struct, frozen=True):
    """How an endpoint stands that scenarios call. `dropped`: nobody waited for the answer any more."""

    name: str = ""
    url: str = ""
    waiting: int = 0
    oldest_ms: int | None = None
    delivered: int = 0
    given_up: int = 0
    last_delivered_ms: int = 0
    last_failure: str = ""
    last_failure_ms: int = 0
    refused: int = 0
    dropped: int = 0


class WebhookView(msgspec.Struct, frozen=True):
    """How a tenant's webhook stands (`url` "": it has none), and the endpoints that its scenarios call."""

    url: str
    waiting: int
    oldest_ms: int | None
    delivered: int
    given_up: int
    last_delivered_ms: int
    last_failure: str
    last_failure_ms: int
    endpoints: list[EndpointView] = []


class WebhookTried(msgspec.Struct, frozen=True):
    """What became of a test event."""

    taken: bool
    status: int
    took_ms: int
    reason: str = ""
