"""How states are shown outside: the edge's views, as JSON. Addresses appear only in the contact's own view."""

from __future__ import annotations

__all__ = ("explain_of", "message_view", "view_of")

from typing import Any

import msgspec

from actors.backend import (
    ConsentView,
    ContactView,
    CouponView,
    Explanation,
    JourneyView,
    MessageView,
    StoryLine,
)
from actors.coupon_views import CodeView, PoolView
from deliverability.message.state import QUEUED, MessageState
from engine.keyspace import EntityKey, name_of
from engine.machine import Place
from engine.once import OnceState
from scenarios.coupons import Coupon, Pool
from scenarios.state import Contact


class OnceView(msgspec.Struct, frozen=True):
    """What stands under an idempotency key."""

    digest: str
    message_ids: list[str]


def view_of(key: EntityKey, state: Any, place: Place | None) -> bytes:
    """Encode the view of an entity of any kind. A message's view is its whole explanation."""
    del place
    view: ContactView | Explanation | OnceView | PoolView | CodeView
    if isinstance(state, Contact):
        view = contact_view(key, state)
    elif isinstance(state, MessageState):
        view = explain_of(key, state)
    elif isinstance(state, Pool):
        view = pool_view(key, state)
    elif isinstance(state, Coupon):
        view = CodeView(state.holder, state.at or None, state.scenario, state.step)
    else:
        assert isinstance(state, OnceState), f"no view of {type(state).__name__}"
        ids = state.message_ids or (state.message_id,)
        view = OnceView(state.digest.hex(), [one.hex() for one in ids])
    return msgspec.json.encode(view)


def pool_view(key: EntityKey, state: Pool) -> PoolView:
    """Show a pool of coupons."""
    return PoolView(
        pool=name_of(key).decode(),
        added=state.added - state.returned,
        given=state.taken - state.returned,
        left=state.left,
        low=state.low,
        known=state.known,
        refused=state.refused,
        closed=state.closed,
        expires_ms=state.expires,
    )


def contact_view(key: EntityKey, state: Contact) -> ContactView:
    """Show everything held about a contact. Messages are named by id; their views are their own."""
    return ContactView(
        contact=name_of(key).decode(),
        erased=bool(state.erased_at),
        version=state.record_version,
        attributes=state.attributes,
        consents={
            topic: ConsentView(consent.granted, consent.at, consent.source)
            for topic, consent in state.consents.items()
        },
        suppressions={stream: one.reason for stream, one in state.suppressions.items()},
        counts=state.counts,
        journeys=[
            JourneyView(j.id.hex(), j.scenario, j.version, j.step, "waiting", j.due or None)
            for j in state.journeys
        ],
        merged_into=state.merged_into,
        formers=list(state.formers),
        coupons=[CouponView(one.pool, one.code, one.at) for one in state.coupons],
        messages=[
            MessageView(
                message_id=message_id.hex(),
                contact=name_of(key).decode(),
                state="under_way",
                stream="",
                template="",
                scenario=send.scenario,
                step=send.step,
            )
            for message_id, send in state.sends.items()
        ],
    )


def message_view(key: EntityKey, state: MessageState) -> MessageView:
    """Show where a message stands."""
    send = state.send
    last = state.story[-1].detail if state.story else ""
    return MessageView(
        message_id=name_of(key).hex(),
        contact=name_of(send.contact).decode(),
        state=state.status,
        stream=send.stream,
        template=send.template,
        scenario=send.scenario,
        step=send.step,
        domain=send.domain,
        attempts=state.attempt,
        due_ms=send.due if state.status in QUEUED else None,
        expires_ms=state.expires if state.status in QUEUED else None,
        cause=state.reason,
        reply=last,
        final=state.status not in QUEUED,
        topic=send.topic,
    )


def explain_of(key: EntityKey, state: MessageState) -> Explanation:
    """Tell a message's story, oldest line first."""
    send = state.send
    opened = {"input": send.opened_by.hex(), "version": send.version, "journey": send.journey.hex()}
    what = f"{send.scenario}/{send.step}" if send.scenario else "asked for by API"
    lines = [StoryLine(state.created, f"accepted: {what}", opened)]
    lines += [StoryLine(line.at, line.what, {"detail": line.detail}) for line in state.story]
    if state.status == "scheduled":
        lines.append(StoryLine(send.due, "due", {}))
    if state.status == "ready":
        lines.append(
            StoryLine(send.due, "waits for a connection or credit", {"route": send.domain})
        )
    return Explanation(message_view(key, state), lines)
