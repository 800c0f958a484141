"""Sends are decided here: the message is told, noted as under way, and the journey goes on."""

from __future__ import annotations

__all__ = ("address_of", "domain_of", "eagerness", "send_direct", "send_message")

from collections.abc import Mapping
from typing import Any, Final

from engine.ids import message_id
from engine.vocabulary import EAGER_MAX, Cancel, MessageClass, Send, SendDirect
from scenarios import model
from scenarios.draft import Draft
from scenarios.state import UNDER_WAY_MAX, Direct, Journey, JourneySend

_CLASSES: Final[tuple[MessageClass, ...]] = (0, 1, 2)
_ADDRESS_MAX: Final = (
    254  # RFC 5321 §4.5.3.1.3: a path has 256 octets, two of them its angle brackets
)


def send_message(draft: Draft, send: model.Send, journey: Journey, visit: int, meant: int) -> None:
    """Decide a send of a journey: once for each journey, step and visit, since the id says so."""
    identity = message_id(journey.id, send.id, visit)
    domain = domain_of(address_of(draft))
    reason = "no_address" if not domain else "" if _has_room(draft) else "too_many_under_way"
    if reason:
        draft.record("send_skipped", journey=journey.id, step=send.id, reason=reason)
        draft.tell_campaign(journey.scenario, "unsent", reason)
        return
    draft.add_send(identity, _under_way(send, journey, visit))
    body = Send(
        contact=draft.context.key,
        template=send.template,
        stream=send.stream,
        domain=domain,
        due=meant,
        expires=meant + send.expires_ms if send.expires_ms else 0,
        message_class=_CLASSES[send.message_class],
        scenario=journey.scenario,
        version=journey.version,
        step=send.id,
        journey=journey.id,
        topic=send.topic,
        opened_by=draft.context.input_id,
        eager=eagerness(draft.counts),
    )
    draft.tell_message(identity, body)
    draft.record("send_decided", journey=journey.id, step=send.id, message=identity, due=meant)
    draft.tell_campaign(journey.scenario, "sent", step=send.id)


def eagerness(counts: Mapping[str, int]) -> int:
    """Tell how eager a reader somebody is, from 0 to 10: a click says more than an opening, which machines make too."""
    clicks, openings = counts.get("mail.clicked", 0), counts.get("mail.opened", 0)
    return min(3 * min(clicks, 3) + min(openings, 3), EAGER_MAX)


def _has_room(draft: Draft) -> bool:
    return len(draft.sends) + len(draft.directs) < UNDER_WAY_MAX


def _under_way(send: model.Send, journey: Journey, visit: int) -> JourneySend:
    return JourneySend(
        journey.id,
        journey.scenario,
        journey.version,
        send.id,
        visit,
        journey.opened_at,
        send.late_ms,
        journey.event,
        journey.key,
        journey.caught,
        send.capped,
        send.no_consent,
    )


def send_direct(draft: Draft, body: SendDirect) -> None:
    """Begin a message of the API. It always comes to be; where it can't go, it is cancelled at once."""
    if body.message_id in draft.directs:
        return
    domain = domain_of(body.address or address_of(draft))
    send = Send(
        contact=draft.context.key,
        template=body.template,
        stream=body.stream,
        domain=domain,
        due=body.due or draft.now,
        expires=body.expires,
        message_class=_CLASSES[min(max(body.message_class, 0), 2)],
        step=body.campaign,
        pool=body.pool,
        opened_by=draft.context.input_id,
        eager=eagerness(draft.counts),
    )
    draft.tell_message(body.message_id, send)
    reason = "no_address" if not domain else "" if _has_room(draft) else "too_many_under_way"
    if reason:
        draft.tell_message(body.message_id, Cancel(reason))
        draft.record("send_skipped", message=body.message_id, reason=reason)
        return
    direct = Direct(body.variables, body.address)
    draft.directs = {**draft.directs, body.message_id: direct}
    draft.record("send_decided", message=body.message_id, due=send.due)


def address_of(draft: Draft) -> str:
    """Give the contact's address; "" where it has none that could be one."""
    value: Any = draft.attributes.get(draft.view.settings.address_attribute)
    return value if isinstance(value, str) else ""


def domain_of(address: str) -> str:
    """Give the domain of an address in lower case as A-labels; "" where it isn't an address. RFC 5890 §2.3.2.1."""
    local_part, at, domain = address.rpartition("@")
    if not (local_part and at and domain) or len(address.encode(errors="replace")) > _ADDRESS_MAX:
        return ""
    if not address.isprintable() or " " in domain:
        return ""
    if domain.isascii():
        return domain.lower()
    try:
        return domain.encode("idna").decode().lower()
    except UnicodeError:
        return ""
