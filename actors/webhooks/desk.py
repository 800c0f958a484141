"""All webhooks of an instance: a sender for each tenant that has an endpoint, and the HTTP client they share."""

from __future__ import annotations

__all__ = ("WebhookDesk",)

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry, Counter

from actors.webhooks.sender import Posted, Sender, SenderSettings, Source
from actors.webhooks.signing import Event, read_secret, signed_headers, test_event
from actors.webhooks.views import WebhookTried, WebhookView
from engine.config import Config, Webhook
from engine.errors import ConfigError, Place

_REASON_MAX = 200


class WebhookDesk:
    """Runs the webhooks of a configuration. Use `run` as a task.

    Args:
        config: which tenants have an endpoint.
        source: where outcomes are read.
        registry: where metrics go.
        now_ms: wall time.

    Raises: ConfigError: a secret can't be used.
    """

    def __init__(
        self,
        config: Config,
        source: Source,
        registry: CollectorRegistry,
        now_ms: Callable[[], int],
        settings: SenderSettings | None = None,
    ) -> None:
        self._now_ms = now_ms
        self._endpoints: dict[str, tuple[Webhook, bytes]] = {}
        self._senders: dict[str, Sender] = {}
        self._tries = Counter(
            "veredus_webhook_tries_total",
            "Posts of outcomes to tenants' endpoints, by whether they were taken.",
            ("tenant", "status"),
            registry=registry,
        )
        for tenant in config.tenant:
            if tenant.webhook.url:
                self._endpoints[tenant.name] = (tenant.webhook, _secret_of(tenant.webhook))
                self._senders[tenant.name] = Sender(
                    tenant.name,
                    source,
                    self._poster(tenant.name),
                    Path(config.data_dir) / "webhooks" / f"{tenant.name}.json",
                    now_ms,
                    random.Random(f"webhook {tenant.name} {now_ms()}"),  # noqa: S311 -- spread, no secret
                    settings,
                )
        self._client: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """Post outcomes; until cancelled. A tenant's endpoint that is down holds up nobody else's."""
        async with asyncio.TaskGroup() as group:
            for sender in self._senders.values():
                group.create_task(sender.run())

    async def close(self) -> None:
        """Close connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def view(self, tenant: str) -> WebhookView | None:
        """Tell how a tenant's webhook stands; None: it has none."""
        sender = self._senders.get(tenant)
        if sender is None:
            return None
        kept = sender.kept
        return WebhookView(
            self._endpoints[tenant][0].url,
            len(kept.waiting),
            min((one.since_ms for one in kept.waiting), default=None),
            kept.delivered,
            kept.given_up,
            kept.last_delivered_ms,
            kept.last_failure,
            kept.last_failure_ms,
        )

    async def test(self, tenant: str) -> WebhookTried | None:
        """Post a test event now; None: the tenant has no webhook."""
        if tenant not in self._senders:
            return None
        began = time.perf_counter()
        posted = await self._post(tenant, test_event(self._now_ms()))
        took_ms = int((time.perf_counter() - began) * 1000)
        return WebhookTried(posted.taken, posted.status, took_ms, posted.reason)

    def _poster(self, tenant: str) -> Callable[[Event], asyncio.Future[Posted]]:
        def post(event: Event) -> asyncio.Future[Posted]:
            return asyncio.ensure_future(self._post(tenant, event))

        return post

    async def _post(self, tenant: str, event: Event) -> Posted:
        endpoint, secret = self._endpoints[tenant]
        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        headers = signed_headers(event, secret, self._now_ms())
        try:
            async with asyncio.timeout(endpoint.timeout_s):
                # the answer's body is nobody's business, and not read
                async with self._client.stream(
                    "POST", endpoint.url, content=event.body, headers=headers, timeout=None
                ) as response:
                    posted = Posted(
                        response.status_code,
                        response.reason_phrase[:_REASON_MAX],
                        _seconds(response.headers.get("retry-after", "")),
                    )
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            posted = Posted(0, f"{type(error).__name__}: {error}"[:_REASON_MAX])
        self._tries.labels(tenant, "taken" if posted.taken else "failed").inc()
        return posted


def _seconds(text: str) -> float:
    """Read Retry-After, where it is a number of seconds. RFC 9110 §10.2.3."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


def _secret_of(webhook: Webhook) -> bytes:
    place = Place(file=webhook.secret_file, path="tenant.webhook.secret_file")
    try:
        text = Path(webhook.secret_file).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}", place) from error
    return read_secret(text, webhook.secret_file)
