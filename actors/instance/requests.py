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
from engine.keyspace import IDEMPOTENCY, EntityKey, contact_key, control_key, control_key_beside
from engine.once import Addressed, Several

RESULTS = {
    "accepted": ItemResult("accepted"),
    "duplicate": ItemResult("duplicate"),
    "too_old": ItemResult("refused", "its own time is older than store.horizon_days"),
    "quarantined": ItemResult("refused", "it can't be decided; it is kept in quarantine"),
}
"""What an item's verdict comes to."""


def once_key(request: SendRequest) -> EntityKey:
    """Give the entity under which a request is held.

    A mail transaction that no other one can equal (it has a Message-ID) is held beside a recipient, the same one in
    whatever order they come: its Tell stays in the partition, so that one tick decides it and hands the message over,
    where a Tell to elsewhere takes an outbox, a call to another worker, another tick and a confirmation.
    """
    if request.content_keyed and not request.repeat_ms and request.items:
        beside = contact_key(request.tenant, min(one.contact for one in request.items))
        return control_key_beside(beside, IDEMPOTENCY, request.tenant, request.idempotency_key)
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
