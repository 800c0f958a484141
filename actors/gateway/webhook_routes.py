"""The endpoints of a tenant's webhook: how it stands, and a test."""

from __future__ import annotations

__all__ = ("WEBHOOK_HANDLERS",)

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import QueryParameter

from actors.gateway.handling import edge_of, found, tenant_of
from actors.webhooks.views import WebhookTried, WebhookView

_Request = Request[Any, Any, Any]
_Endpoint = Annotated[
    str, QueryParameter(max_length=64, description="One that scenarios call; empty: the webhook.")
]


@get("/v1/webhook")
async def get_webhook(request: _Request) -> WebhookView:
    """Tell how webhook and endpoints of the tenant stand: what waits, what was taken, the last failure."""
    desk = edge_of(request).webhooks
    return found(desk.view(tenant_of(request)) if desk is not None else None, "webhook")


@post("/v1/webhook/test", status_code=200)
async def post_webhook_test(request: _Request, endpoint: _Endpoint = "") -> WebhookTried:
    """Post a signed test event now, to the webhook or an endpoint of scenarios, and tell what it answered."""
    desk = edge_of(request).webhooks
    tried = await desk.test(tenant_of(request), endpoint) if desk is not None else None
    return found(tried, f"endpoint {endpoint!r}" if endpoint else "webhook")


WEBHOOK_HANDLERS = (get_webhook, post_webhook_test)
