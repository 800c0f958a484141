"""Calls that scenarios make (step `webhook`): what is posted, whether it is still wanted, and the answer's way back.

    feed ─▶ Sender ─▶ still wanted? ─▶ POST ─▶ CallAnswered, an input of the contact ─▶ forgotten

A call is posted at least once and always under its id, as long as its journey stands at the step. The answer is durable
with the contact before the call is forgotten here, so that a crash between the two posts it again, and loses nothing.
"""

from __future__ import annotations

__all__ = ("CallSource", "Calls", "call_event")

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog

from actors.backend import Arrival, CallPage, ContactView, ItemResult
from actors.webhooks.sender import EventPage, Posted
from actors.webhooks.signing import Event
from engine.errors import VeredusError
from engine.keyspace import contact_key
from engine.vocabulary import Call, CallAnswered
from scenarios.calls import kept_of
from scenarios.merging import merged_journey

_log = structlog.get_logger("veredus.webhook")


class CallSource(Protocol):
    """What of the backend is needed."""

    async def scenario_calls(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> CallPage:
        """Read calls behind a cursor."""

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        """Tell what is held about a contact."""

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions."""


class _Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: dict[str, Any]


def call_event(call: Call) -> Event:
    """Make the event of a call. The same each time it is made."""
    when = datetime.fromtimestamp(call.at / 1000, UTC).isoformat(timespec="milliseconds")
    told = {
        "contact": call.contact,
        "scenario": call.scenario,
        "version": call.version,
        "step": call.step,
        "journey": call.journey,
        "visit": call.visit,
        "values": call.data,
    }
    body = msgspec.json.encode(_Payload("scenario.webhook", when, told))
    about = msgspec.msgpack.encode(msgspec.structs.replace(call, data={}))  # the body has them
    return Event(f"call_{call.call_id}", call.journey, body, call.not_after, about)


class Calls:
    """The calls of one endpoint of one tenant.

    Args:
        tenant: whose.
        endpoint: its name.
        source: where calls come from, and answers go.
        post: makes one try.
        now_ms: wall time.
    """

    def __init__(
        self,
        tenant: str,
        endpoint: str,
        source: CallSource,
        post: Callable[[Event], Awaitable[Posted]],
        now_ms: Callable[[], int],
    ) -> None:
        self._tenant = tenant
        self._endpoint = endpoint
        self._source = source
        self._post = post
        self._now_ms = now_ms

    async def read(self, cursor: str, limit: int, wait_ms: int) -> EventPage:
        """Read the calls of this endpoint; those of others are passed over."""
        page = await self._source.scenario_calls(self._tenant, cursor, limit, wait_ms)
        mine = (call for call in page.items if call.endpoint == self._endpoint)
        return EventPage(tuple(call_event(call) for call in mine), page.next)

    async def post(self, event: Event) -> Posted:
        """Post a call, if its journey still stands at the step: it may have ended since, or its contact be erased."""
        try:
            wanted = await self._is_wanted(_CALL.decode(event.about))
        except VeredusError as error:
            return Posted(0, f"it isn't known whether the journey still waits: {error}")
        return await self._post(event) if wanted else Posted(0, end="unwanted")

    async def ended(self, event: Event, posted: Posted) -> None:
        """Give the contact the answer, durably. Twice has no further effect. Raises: VeredusError."""
        if posted.end == "unwanted":
            return
        call = _CALL.decode(event.about)
        answer = CallAnswered(
            bytes.fromhex(call.journey),
            call.step,
            call.visit,
            posted.taken,
            posted.status,
            kept_of(posted.fields, call.keep),
        )
        arrival = Arrival(self._tenant, call.contact, event.id, self._now_ms(), answer)
        (result,) = await self._source.admit([arrival])
        if result.status == "refused":
            _log.error("webhook_answer_refused", tenant=self._tenant, why=result.reason)

    async def _is_wanted(self, call: Call) -> bool:
        contact, journey = call.contact, call.journey
        for _ in range(_ALIASES_MAX):
            view = await self._source.contact(self._tenant, contact)
            if view is None or view.erased:
                return False
            if not view.merged_into:
                places = ((one.journey_id, one.step) for one in view.journeys)
                return (journey, call.step) in places
            contact = view.merged_into
            survivor = contact_key(self._tenant, contact)
            journey = merged_journey(survivor, bytes.fromhex(journey)).hex()
        return False


_ALIASES_MAX = 20  # merged one after the other
_CALL = msgspec.msgpack.Decoder(Call)
