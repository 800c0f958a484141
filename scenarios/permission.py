"""May a message go? Asked of the contact when a credit is at hand, and answered in the same unit.

Checked in this order: erased, suppressed, consent, lateness, frequency cap, quiet hours (DESIGN §4.5). The last word is
here, not at the step that decided the send, so that nothing goes after a withdrawal.
"""

from __future__ import annotations

__all__ = ("answer",)

from typing import Any

from engine.vocabulary import MaySend, Permit, Refuse, RefuseReason
from scenarios.draft import Draft
from scenarios.sending import address_of, domain_of
from scenarios.state import Direct, JourneySend


def answer(draft: Draft, body: MaySend) -> None:
    """Answer a message with `Permit` or `Refuse`."""
    under_way = draft.sends.get(body.message_id) or draft.directs.get(body.message_id)
    reason = _objection(draft, body, under_way)
    if reason is None:
        assert under_way is not None
        draft.tell_message(body.message_id, _permit(draft, body, under_way))
        return
    draft.record("send_refused", message=body.message_id, attempt=body.attempt, reason=reason)
    draft.tell_message(body.message_id, Refuse(body.attempt, reason))


def _objection(
    draft: Draft, body: MaySend, under_way: JourneySend | Direct | None
) -> RefuseReason | None:
    if under_way is None:
        return "cancelled"
    if "" in draft.suppressions or body.stream in draft.suppressions:
        return "suppressed"
    if body.stream not in draft.view.settings.streams_without_consent:
        consent = draft.consents.get(body.topic or body.stream)
        if consent is None or not consent.granted:
            return "no_consent"
    late_ms = under_way.late_ms if isinstance(under_way, JourneySend) else 0
    if late_ms and draft.now > body.due + late_ms:
        return "late"
    if not domain_of(_address(draft, under_way)):
        return "no_address"
    return None


def _address(draft: Draft, under_way: JourneySend | Direct) -> str:
    if isinstance(under_way, Direct) and under_way.address:
        return under_way.address
    return address_of(draft)


def _permit(draft: Draft, body: MaySend, under_way: JourneySend | Direct) -> Permit:
    name = draft.attributes.get(draft.view.settings.name_attribute)
    return Permit(
        body.attempt,
        _address(draft, under_way),
        _variables(draft, under_way),
        name if isinstance(name, str) else "",
    )


def _variables(draft: Draft, under_way: JourneySend | Direct) -> dict[str, Any]:
    """Give the template its variables: `contact`, `event`, `journey`; a direct message brings its own."""
    if isinstance(under_way, Direct):
        return {"contact": draft.attributes, **under_way.variables}
    journey = {
        **under_way.caught,
        "id": under_way.journey.hex(),
        "scenario": under_way.scenario,
        "version": under_way.version,
        "step": under_way.step,
        "visit": under_way.visit,
        "opened_at": under_way.opened_at,
        "key": under_way.key,
        "event": under_way.event,
    }
    return {"contact": draft.attributes, "event": under_way.event, "journey": journey}
