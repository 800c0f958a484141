"""May a message go? Asked of the contact when a credit is at hand, and answered in the same unit.

Checked in this order: erased, suppressed, consent, lateness, frequency cap, quiet hours (DESIGN §4.5).
The last word is here, not at the step that decided the send, so that nothing goes after a withdrawal.
"""

from __future__ import annotations

__all__ = ("Suppressed", "answer")

from collections.abc import Callable
from typing import Final

from engine.vocabulary import MaySend, Permit, Refuse, RefuseReason
from scenarios.calendar import within
from scenarios.draft import Draft
from scenarios.exposure import applies, reserve, room_at
from scenarios.sending import address_of, domain_of
from scenarios.state import Direct, JourneySend
from scenarios.variables import template_variables

Suppressed = Callable[[str, str, str, str, int], str]
"""Tells why nobody may send to an address, as "scope: reason", or "": (tenant, stream, topic, address, now in ms)."""


def answer(draft: Draft, body: MaySend, suppressed: Suppressed | None = None) -> None:
    """Answer a message with `Permit` or `Refuse`."""
    under_way = draft.sends.get(body.message_id) or draft.directs.get(body.message_id)
    if under_way is None:
        _refuse(draft, body, "cancelled")
        return
    refused = _objection(draft, body, under_way, suppressed)
    if refused is None:
        reserve(draft, body.message_id, body.stream, body.topic)
        draft.tell_message(body.message_id, _permit(draft, body, under_way))
        return
    reason, retry_at = refused
    _refuse(draft, body, reason, retry_at)
    if isinstance(under_way, JourneySend):
        _leave(draft, under_way, reason)


def _refuse(draft: Draft, body: MaySend, reason: RefuseReason, retry_at: int | None = None) -> None:
    draft.record("send_refused", message=body.message_id, attempt=body.attempt, reason=reason)
    draft.tell_message(body.message_id, Refuse(body.attempt, reason, retry_at))


def _leave(draft: Draft, send: JourneySend, reason: RefuseReason) -> None:
    """End the journey where its step says so."""
    rule = {"cap": send.capped, "no_consent": send.no_consent}.get(reason)
    if rule == "leave":
        for journey in draft.journeys:
            if journey.id == send.journey:
                draft.end(journey, f"refused:{reason}")
                return


_PAUSE_ASK_MS: Final = (
    120_000  # a message of a paused scenario asks again after so long, and up to twice that
)


def _objection(
    draft: Draft, body: MaySend, under_way: JourneySend | Direct, suppressed: Suppressed | None
) -> tuple[RefuseReason, int | None] | None:
    """Give the first reason against it, with the time to ask again."""
    settings = draft.view.settings
    if isinstance(under_way, JourneySend) and under_way.scenario in draft.view.paused:
        again = _PAUSE_ASK_MS + int.from_bytes(body.message_id[-3:]) % _PAUSE_ASK_MS
        return "paused", draft.now + again
    if "" in draft.suppressions or body.stream in draft.suppressions:
        return "suppressed", None
    if suppressed is not None:
        address = _address(draft, under_way)
        reason = suppressed(draft.tenant, body.stream, body.topic, address, draft.now)
        if reason:
            draft.record("suppressed", message=body.message_id, reason=reason)
            return "suppressed", None
    if body.stream not in settings.streams_without_consent:
        consent = draft.consents.get(body.topic or body.stream)
        if consent is None or not consent.granted:
            return "no_consent", None
    late_ms = under_way.late_ms if isinstance(under_way, JourneySend) else 0
    if late_ms and draft.now > body.due + late_ms:
        return "late", None
    if settings.caps and (free := room_at(draft, body.message_id, body.stream, body.topic)):
        waits = isinstance(under_way, JourneySend) and under_way.capped == "wait"
        return "cap", free if waits else None
    quiet = settings.quiet_hours
    if quiet is not None and applies(quiet, settings, body.stream):
        until = within(quiet.from_minute, quiet.to_minute, draft.now, draft.zone())
        if until is not None:
            return "quiet_hours", until
    return None if domain_of(_address(draft, under_way)) else ("no_address", None)


def _address(draft: Draft, under_way: JourneySend | Direct) -> str:
    if isinstance(under_way, Direct) and under_way.address:
        return under_way.address
    return address_of(draft)


def _permit(draft: Draft, body: MaySend, under_way: JourneySend | Direct) -> Permit:
    name = draft.attributes.get(draft.view.settings.name_attribute)
    return Permit(
        body.attempt,
        _address(draft, under_way),
        template_variables(draft.attributes, under_way),
        name if isinstance(name, str) else "",
    )
