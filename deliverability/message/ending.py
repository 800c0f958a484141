"""How a message ends, and how contact and feed are told of it and of outcomes on the way."""

from __future__ import annotations

__all__ = ("finish", "notice_of", "outcome_record")

import msgspec

from deliverability.message.records import AttemptOutcome, OutcomeRecord, words_of
from deliverability.message.state import MessageState, Status, story_with
from deliverability.message.stream_policy import policy_of
from engine.keyspace import EntityKey, name_of
from engine.machine import Context, Effect, Emit, Retired, Tell, Transition
from engine.vocabulary import OutcomeKind, OutcomeNotice


def finish(
    state: MessageState,
    status: Status,
    context: Context,
    kind: OutcomeKind,
    outcome: AttemptOutcome | None = None,
    *,
    reason: str = "",
) -> Transition:
    """End the message: personal fields go, the contact hears of it, the feed tells it."""
    words = words_of(outcome) if outcome is not None else reason
    until = context.now + policy_of(state, context).retention_ms
    final = msgspec.structs.replace(
        state,
        status=status,
        reason=reason,
        credit=None,
        address="",
        display_name="",
        variables={},
        finished=until,
        story=story_with(state, context.now, status, words),
        source=outcome.source if outcome is not None else "",
    )
    cause = outcome.cause if outcome is not None else reason
    told = outcome or AttemptOutcome(state.attempt, kind, reason)
    effects: tuple[Effect, ...] = (
        notice_of(state, kind, context, final=True, cause=cause),
        Emit("outcome", outcome_record(state, told, status, context, final=True)),
    )
    return Transition(final, Retired(until), effects)


def notice_of(
    state: MessageState, kind: OutcomeKind, context: Context, *, final: bool, cause: str = ""
) -> Tell:
    """Tell the contact what came of the message or of an attempt."""
    send = state.send
    notice = OutcomeNotice(
        name_of(context.key),
        kind,
        state.attempt,
        context.now,
        final,
        send.journey,
        send.step,
        cause,
    )
    return Tell(EntityKey(send.contact), notice)


def outcome_record(
    state: MessageState, outcome: AttemptOutcome, kind: str, context: Context, *, final: bool
) -> OutcomeRecord:
    """Make what the feed tells of an outcome. `kind` is the feed's word for it, which may be a status."""
    send = state.send
    return OutcomeRecord(
        message_id=name_of(context.key).hex(),
        contact=name_of(send.contact).decode(),
        scenario=send.scenario,
        step=send.step,
        stream=send.stream,
        kind=kind,
        attempt=outcome.attempt,
        at=context.now,
        cause=outcome.cause,
        code=outcome.code,
        enhanced=outcome.enhanced,
        text=outcome.text,
        final=final,
        first_attempt=state.first_attempt,
        accepted=state.created,
        domain=send.domain,
        recipient="" if kind == "delivered" else state.recipient.hex(),
        topic=send.topic,
        phase=outcome.phase,
        source=outcome.source,
    )
