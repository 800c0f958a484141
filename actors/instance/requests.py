"""Requests to send under keys of their own, as inputs; and what is answered to inputs."""

from __future__ import annotations

__all__ = (
    "RESULTS",
    "once_arrival",
    "once_key",
    "send_result",
)

import msgspec

from actors.backend import ItemResult, SendRequest, SendResult
from actors.worker.views import OnceView
from actors.worker.wire import WireArrival
from engine.keyspace import IDEMPOTENCY, EntityKey, contact_key, control_key
from engine.once import Addressed, Several

RESULTS = {
    "accepted": ItemResult("accepted"),
    "duplicate": ItemResult("duplicate"),
    "too_old": ItemResult("refused", "its own time is older than store.horizon_days"),
    "quarantined": ItemResult("refused", "it can't be decided; it is kept in quarantine"),
}
"""What an item's verdict comes to."""


def once_key(request: SendRequest) -> EntityKey:
    """Give the entity under which a request is held."""
    return control_key(IDEMPOTENCY, request.tenant, request.idempotency_key)


def once_arrival(request: SendRequest, now: int) -> WireArrival:
    """Make the input of a request. Its id is the digest; where that may stand for another later, within a window."""
    tenant = request.tenant
    told = tuple(Addressed(contact_key(tenant, one.contact), one.body) for one in request.items)
    window = now // request.repeat_ms if request.repeat_ms else 0
    input_id = request.digest + (window.to_bytes(8) if window else b"")
    body = Several(request.digest, told, request.repeat_ms)
    return WireArrival(once_key(request), body, input_id)


def send_result(request: SendRequest, verdict: str, view: bytes) -> SendResult:
    """Answer a request by its verdict, and by what its key stands for."""
    if request.content_keyed:
        ids = tuple(item.body.message_id for item in request.items)
        if verdict in ("accepted", "duplicate"):
            return SendResult("accepted" if verdict == "accepted" else "repeated", ids)
        return SendResult("refused", (), RESULTS[verdict].reason)
    if not view:
        return SendResult("refused", (), RESULTS[verdict].reason)
    held = msgspec.json.decode(view, type=OnceView)
    ids = tuple(bytes.fromhex(one) for one in held.message_ids)
    if held.digest != request.digest.hex():
        return SendResult("conflict", ids)
    return SendResult("repeated" if verdict == "duplicate" else "accepted", ids)
