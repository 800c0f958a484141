"""All endpoints of an instance: a sender for each, and the HTTP client they share.

A tenant's `webhook` hears what becomes of its mail; its `endpoint.NAME` are called by steps of scenarios.
"""

from __future__ import annotations

__all__ = ("OutcomeSource", "WebhookDesk", "WebhookSource")

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, Counter

from actors.backend import OutcomePage
from actors.webhooks.calls import Calls, CallSource
from actors.webhooks.posting import Poster, secret_in
from actors.webhooks.sender import EventPage, Posted, Read, Sender, SenderSettings
from actors.webhooks.signing import Event, event_of, test_event
from actors.webhooks.views import EndpointView, WebhookTried, WebhookView
from engine.config import Config, Endpoint, Webhook

CALL_PAGE = 1_000
"""Entries of a feed read at a time for calls, of which few are calls."""
CALL_LOT = 40
"""Calls tried before the breaker looks: so many, 8 at a time, are a minute where each runs into its time-out."""


class OutcomeSource(Protocol):
    """Where outcomes are read."""

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read behind a cursor."""


class WebhookSource(OutcomeSource, CallSource, Protocol):
    """What of the backend is needed."""


class _Line(msgspec.Struct, frozen=True):
    """An endpoint with its secret and its sender."""

    to: Webhook | Endpoint
    secret: bytes
    sender: Sender


class WebhookDesk:
    """Runs the endpoints of a configuration. Use `run` as a task.

    Args:
        config: which tenants have endpoints.
        source: where outcomes and calls are read, and answers go.
        registry: where metrics go.
        now_ms: wall time.

    Raises: ConfigError: a secret can't be used.
    """

    def __init__(
        self,
        config: Config,
        source: WebhookSource,
        registry: CollectorRegistry,
        now_ms: Callable[[], int],
        settings: SenderSettings | None = None,
    ) -> None:
        self._now_ms = now_ms
        self._source = source
        self._settings = settings or SenderSettings()
        self._folder = Path(config.data_dir) / "webhooks"
        self._poster = Poster()
        self._lines: dict[tuple[str, str], _Line] = {}  # by tenant and endpoint; "": the webhook
        self._tries = Counter(
            "veredus_webhook_tries_total",
            "Posts to tenants' endpoints, outcomes and calls of scenarios, by whether they were taken.",
            ("tenant", "status"),
            registry=registry,
        )
        for tenant in config.tenant:
            if tenant.webhook.url:
                self._add_webhook(tenant.name, tenant.webhook)
            for name, endpoint in tenant.endpoint.items():
                self._add_endpoint(tenant.name, name, endpoint)

    def _add_webhook(self, tenant: str, webhook: Webhook) -> None:
        async def read(cursor: str, limit: int, wait_ms: int) -> EventPage:
            page = await self._source.outcomes(tenant, cursor, limit, wait_ms)
            return EventPage(tuple(event_of(entry) for entry in page.items), page.next)

        secret = secret_in(webhook.secret_file, "tenant.webhook.secret_file")
        sender = Sender(
            tenant,
            read,
            self._posting(tenant, webhook, secret, asks=False),
            self._folder / f"{tenant}.json",
            self._now_ms,
            self._chance(tenant),
            self._settings,
        )
        self._lines[tenant, ""] = _Line(webhook, secret, sender)

    def _add_endpoint(self, tenant: str, name: str, endpoint: Endpoint) -> None:
        secret = secret_in(endpoint.secret_file, f"tenant.endpoint.{name}.secret_file")
        post = self._posting(tenant, endpoint, secret, asks=True)
        calls = Calls(tenant, name, self._source, post, self._now_ms)
        read: Read = calls.read
        sender = Sender(
            tenant,
            read,
            calls.post,
            self._folder / tenant / f"{name}.json",
            self._now_ms,
            self._chance(f"{tenant} {name}"),
            msgspec.structs.replace(self._settings, page=CALL_PAGE, lot=CALL_LOT),
            begin="",
            ended=calls.ended,
        )
        self._lines[tenant, name] = _Line(endpoint, secret, sender)

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"webhook {name} {self._now_ms()}")  # noqa: S311 -- spread, no secret

    async def run(self) -> None:
        """Post; until cancelled. An endpoint that is down holds up no other."""
        async with asyncio.TaskGroup() as group:
            for line in self._lines.values():
                group.create_task(line.sender.run())

    async def close(self) -> None:
        """Close connections. Idempotent."""
        await self._poster.close()

    def view(self, tenant: str) -> WebhookView | None:
        """Tell how a tenant's webhook and the endpoints of its scenarios stand; None: it has neither."""
        webhook = self._lines.get((tenant, ""))
        others = [
            _endpoint_view(name, line)
            for (owner, name), line in self._lines.items()
            if owner == tenant and name
        ]
        if webhook is None and not others:
            return None
        own = _endpoint_view("", webhook) if webhook is not None else EndpointView()
        return WebhookView(
            own.url,
            own.waiting,
            own.oldest_ms,
            own.delivered,
            own.given_up,
            own.last_delivered_ms,
            own.last_failure,
            own.last_failure_ms,
            others,
        )

    async def test(self, tenant: str, endpoint: str = "") -> WebhookTried | None:
        """Post a test event now; None: the tenant has no such endpoint."""
        line = self._lines.get((tenant, endpoint))
        if line is None:
            return None
        began = time.perf_counter()
        event = test_event(self._now_ms())
        posted = await self._posting(tenant, line.to, line.secret, asks=False)(event)
        took_ms = int((time.perf_counter() - began) * 1000)
        return WebhookTried(posted.taken, posted.status, took_ms, posted.reason)

    def _posting(
        self, tenant: str, to: Webhook | Endpoint, secret: bytes, *, asks: bool
    ) -> Callable[[Event], Awaitable[Posted]]:
        async def post(event: Event) -> Posted:
            posted = await self._poster.post(to, secret, event, self._now_ms(), asks=asks)
            self._tries.labels(tenant, "taken" if posted.taken else "failed").inc()
            return posted

        return post


def _endpoint_view(name: str, line: _Line) -> EndpointView:
    kept = line.sender.kept
    return EndpointView(
        name,
        line.to.url,
        len(kept.waiting),
        min((one.since_ms for one in kept.waiting), default=None),
        kept.delivered,
        kept.given_up,
        kept.last_delivered_ms,
        kept.last_failure,
        kept.last_failure_ms,
        kept.refused,
        kept.dropped,
    )
