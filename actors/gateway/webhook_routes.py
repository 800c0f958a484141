"""The endpoints of a tenant's webhook: how it stands, and a test."""

from __future__ import annotations

__all__ = ("WEBHOOK_HANDLERS",)

from typing import Any

from litestar import Request, get, post

from actors.gateway.handling import edge_of, found, tenant_of
from actors.webhooks.views import WebhookTried, WebhookView

_Request = Request[Any, Any, Any]


@get("/v1/webhook")
async def get_webhook(request: _Request) -> WebhookView:
    """Tell how the tenant's webhook stands: what waits, what was taken, the last failure."""
    desk = edge_of(request).webhooks
    return found(desk.view(tenant_of(request)) if desk is not None else None, "webhook")


@post("/v1/webhook/test", status_code=200)
async def post_webhook_test(request: _Request) -> WebhookTried:
    """Post a signed test event to the tenant's endpoint now, and tell what it answered."""
    desk = edge_of(request).webhooks
    tried = await desk.test(tenant_of(request)) if desk is not None else None
    return found(tried, "webhook")


WEBHOOK_HANDLERS = (get_webhook, post_webhook_test)
