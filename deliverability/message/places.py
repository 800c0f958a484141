"""Where a message stands: the place that belongs to its status, and the moves into agenda and ready queue."""

from __future__ import annotations

__all__ = ("made_ready", "place_of", "queue_name", "rescheduled")

from typing import Any

import msgspec

from deliverability.marks import DOUBT_QUEUE, parked
from deliverability.message.state import MessageState
from engine.keyspace import EntityKey, tenant_of
from engine.machine import At, Context, Held, Place, Ready, Retired, Transition
from engine.vocabulary import Send


def queue_name(send: Send, tenant: str) -> bytes:
    """Name the ready queue: class and route (pool / site) make the lane, the tenant its queue."""
    return f"{send.message_class}{send.pool or 'default'}/{send.domain}\0{tenant}".encode()


def place_of(state: MessageState, key: EntityKey) -> Place | None:
    """Give the place that belongs to a status that an ignored input leaves as it is."""
    match state.status:
        case "scheduled":
            return At(state.send.due)
        case "ready":
            return Ready(queue_name(state.send, tenant_of(key)), _order(state))
        case "attempting":
            assert state.credit is not None, "an attempt has the credit that allowed it"
            return Held(state.credit.credit.holder)
        case "suspended":
            return Ready(parked(queue_name(state.send, tenant_of(key))), state.expires)
        case "in_doubt":
            return Ready(DOUBT_QUEUE, state.created)
        case "asking":
            return None
        case _:
            return Retired(state.finished)


def _order(state: MessageState) -> int:
    """Give the place in a ready queue: what was tried before stands where it stood, not behind the whole backlog.

    An eager reader's mail stands before what was due up to its lead sooner, so nobody waits longer than that for them.
    """
    since = state.created if state.first_attempt else state.send.due
    return max(since - state.lead, 0)


def made_ready(state: MessageState, context: Context) -> Transition:
    """Put the message into its ready queue, where it waits for credit."""
    queue = queue_name(state.send, tenant_of(context.key))
    return Transition(
        msgspec.structs.replace(state, status="ready", credit=None), Ready(queue, _order(state))
    )


def rescheduled(state: MessageState, due: int, **changes: Any) -> Transition:
    """Put the message into the agenda until `due`, ms. `changes` are further fields of its state."""
    send = msgspec.structs.replace(state.send, due=due)
    state = msgspec.structs.replace(state, send=send, status="scheduled", credit=None, **changes)
    return Transition(state, At(due))
