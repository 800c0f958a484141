"""What comes back about a message after it was sent: bounces, complaints, wishes to be left alone."""

from __future__ import annotations

__all__ = ("came_back", "left_by_token")

import msgspec

from deliverability.leaving import Leaving
from deliverability.message.ending import outcome_record
from deliverability.message.places import place_of
from deliverability.message.records import AttemptOutcome
from deliverability.message.state import MessageState, story_with
from deliverability.returned import OFTEN, Returned, about
from engine.keyspace import EntityKey, contact_key, name_of, tenant_of
from engine.machine import Context, Effect, Emit, Record, Tell, Transition
from engine.vocabulary import ConsentGiven, Send


def came_back(state: MessageState, returned: Returned, context: Context) -> Transition:
    """Take a report about the message: it is told to the contact and to the feed, and moves no counter of the law.

    A bounce or complaint once each: whoever has the reverse-path could send more. None about a message that never left.
    """
    kind, send, message_id = returned.kind, state.send, name_of(context.key)
    if kind in state.came_back or not state.first_attempt:
        refused = Record("report_refused", {"kind": kind, "report": returned.report})
        return Transition(state, place_of(state, context.key), (refused,))
    contact = EntityKey(send.contact)
    event = about(returned, message_id, send, context.now, state.date)
    effects: list[Effect] = [Tell(contact, event)]
    if kind in OFTEN:
        return Transition(state, place_of(state, context.key), effects)
    if kind == "unsubscribed":
        topic = returned.topic or send.topic or send.stream
        source = f"unsubscribe: {returned.proof}"
        consent = ConsentGiven(topic, granted=False, at=context.now, source=source)
        effects.insert(0, Tell(contact, consent))
    else:
        state = msgspec.structs.replace(state, came_back=(*state.came_back, kind))
    said = (returned.reply_code, returned.status, returned.cause, returned.proof)
    words = " ".join(filter(None, (*said, returned.report and f"report {returned.report}")))
    state = msgspec.structs.replace(state, story=story_with(state, context.now, kind, words))
    code = int(returned.reply_code) if returned.reply_code.isdigit() else 0
    told = AttemptOutcome(
        state.attempt,
        "bounced",
        returned.cause,
        code,
        returned.status,
        host=returned.reporter,
        source=state.source,
    )
    record = outcome_record(state, told, kind, context, final=False)
    effects.append(Emit("outcome", msgspec.structs.replace(record, returned=returned)))
    return Transition(state, place_of(state, context.key), effects)


def left_by_token(returned: Returned, leaving: Leaving, context: Context) -> Transition:
    """Let somebody leave whose message is forgotten: the token said who it was, and of what."""
    contact = contact_key(tenant_of(context.key), leaving.contact)
    send = Send(contact, "", leaving.stream, "", due=0, topic=leaving.topic)
    topic = returned.topic or leaving.topic or leaving.stream
    consent = ConsentGiven(topic, False, context.now, f"unsubscribe: {returned.proof}")
    event = about(returned, name_of(context.key), send, context.now, context.now)
    record = outcome_record(
        MessageState(send, "delivered", 0, 0),
        AttemptOutcome(0, "delivered"),
        returned.kind,
        context,
        final=False,
    )
    told = msgspec.structs.replace(record, returned=returned)
    return Transition(
        None, None, (Tell(contact, consent), Tell(contact, event), Emit("outcome", told))
    )
