"""The message machine: from `Send` to its last outcome.

    scheduled --due--> ready --credit--> asking --permit--> attempting --outcome--> delivered | bounced | ...
        ^                 ^                 |                    |
        |                 '---unattempted---|--------------------|
        '------------- refused until later -'---- deferred ------'

`asking` lasts only within one unit: the contact lives in the same partition and answers before the unit ends. An
attempt has a number; outcomes are recognised by it. First attempts and retries are one mechanism, the agenda. What the
first permit fixed (address, variables, Date) is what every attempt renders. DESIGN §4.
"""

from __future__ import annotations

__all__ = ("Input", "MessageMachine")

from collections.abc import Callable
from typing import assert_never

import msgspec

from deliverability.message.ending import finish
from deliverability.message.outcomes import concluded, settled
from deliverability.message.places import made_ready, place_of, rescheduled
from deliverability.message.queue_marks import is_concerned, marks_of, put_under_marks
from deliverability.message.records import AttemptOutcome, CancelAttempt, Look, Settle
from deliverability.message.reports import came_back, left_by_token
from deliverability.message.state import (
    QUEUED,
    WAITING,
    MessageState,
    Status,
    story_with,
    without_person,
)
from deliverability.message.stream_policy import policy_of
from deliverability.returned import Returned
from engine.config import Delivery, RetryCurve
from engine.keyspace import MESSAGE, EntityKey, name_of, tenant_of
from engine.machine import At, Context, Granted, Held, Record, Release, Tell, Transition, Wake
from engine.vocabulary import EAGER_MAX, Cancel, MaySend, Message, Permit, Refuse, Send

Input = Send | Wake | Granted | Permit | Refuse | Cancel | AttemptOutcome | Settle | Returned | Look


class MessageMachine:
    """Decides messages. Holds nothing: one object serves all partitions.

    Args:
        curve_of: gives the retry curve of a cause.
        hash_of: hashes an address, so that what comes back later can be laid to it; None: it can't.
    """

    kind = MESSAGE
    schema = 1
    state_type = MessageState
    input_type = Input

    def __init__(
        self,
        curve_of: Callable[[str], RetryCurve] | None = None,
        hash_of: Callable[[str], bytes] | None = None,
    ) -> None:
        self._curve_of = curve_of or Delivery().curve
        self._hash_of = hash_of

    def decide(self, state: MessageState | None, body: Input, context: Context) -> Transition:
        """Decide one input; an input that doesn't fit the status changes nothing but is told.

        Whatever leaves a message in a queue looks at the marks that are in force on it.
        """
        return put_under_marks(self._decided(state, body, context), context)

    def _decided(self, state: MessageState | None, body: Input, context: Context) -> Transition:
        if state is None:
            if isinstance(body, Send):
                return _accept(body, context)
            if isinstance(body, Returned) and body.leaving is not None:
                return left_by_token(body, body.leaving, context)
            return Transition(None, None, (Record("no_such_message"),))
        match body:
            case Send():
                return Transition(state, place_of(state, context.key), (Record("repeated_send"),))
            case Wake():
                return _due(state, context)
            case Granted():
                return _ask(state, body, context)
            case Permit():
                return _hand_over(state, body, context)
            case Refuse():
                return _refused(state, body, context)
            case Cancel():
                return _cancelled(state, body, context)
            case AttemptOutcome():
                if self._hash_of is not None and state.address and not state.recipient:
                    recipient = self._hash_of(state.address)
                    state = msgspec.structs.replace(state, recipient=recipient)
                return concluded(state, body, context, self._curve_of)
            case Settle():
                return settled(state, body, context)
            case Look():
                return _looked_at(state, context)
            case Returned():
                return came_back(state, body, context)
            case _:
                assert_never(body)

    def tally(self, state: MessageState) -> tuple[str, str]:
        """Tell stream and bucket."""
        status = state.status
        if status in QUEUED:
            bucket = "queued"
        elif status == "skipped":
            bucket = f"skipped:{state.reason}"
        else:
            bucket = status
        return state.send.stream, bucket


def _accept(send: Send, context: Context) -> Transition:
    policy = policy_of(send, context)
    expires = send.expires or max(send.due, context.now) + policy.expires_ms
    marks = marks_of(context)
    lead = policy.lead_ms * send.eager // EAGER_MAX
    state = MessageState(send, "scheduled", expires, context.now, lead=lead)
    if marks is not None:
        state = msgspec.structs.replace(state, generation=marks.newest)
    if send.due > context.now:
        return Transition(state, At(send.due))
    return made_ready(state, context)


def _due(state: MessageState, context: Context) -> Transition:
    if state.status != "scheduled":
        return Transition(state, place_of(state, context.key), (Record("wake_out_of_place"),))
    if context.now >= state.expires:
        return finish(state, "expired", context, "expired", reason="age")
    return made_ready(state, context)


def _ask(state: MessageState, granted: Granted, context: Context) -> Transition:
    if state.status != "ready":
        return Transition(state, place_of(state, context.key), (Record("grant_out_of_place"),))
    if context.now >= state.expires:
        return finish(state, "expired", context, "expired", reason="age")
    standing = Transition(state, None)
    under_marks = put_under_marks(standing, context)
    if under_marks is not standing:  # of a catalog that is newer than its place
        if under_marks.place != place_of(state, context.key):
            return under_marks
        state = under_marks.state  # rerouted to where it stands already: its turn goes on
    send = state.send
    attempt = state.attempt + 1
    may = MaySend(name_of(context.key), attempt, send.stream, send.topic, send.due)
    state = msgspec.structs.replace(state, status="asking", attempt=attempt, credit=granted)
    return Transition(state, None, (Tell(EntityKey(send.contact), may),))


def _hand_over(state: MessageState, permit: Permit, context: Context) -> Transition:
    if state.status != "asking" or permit.attempt != state.attempt or state.credit is None:
        return Transition(state, place_of(state, context.key), (Record("permit_out_of_place"),))
    first = not state.date
    credit = state.credit.credit
    state = msgspec.structs.replace(
        state,
        status="attempting",
        address=permit.address if first else state.address,
        display_name=permit.display_name if first else state.display_name,
        variables=permit.variables if first else state.variables,
        date=state.date or context.now,
        first_attempt=state.first_attempt or context.now,
        story=story_with(state, context.now, "handed_over", f"attempt {state.attempt}"),
    )
    send = state.send
    message = Message(
        message_id=name_of(context.key),
        tenant=tenant_of(context.key),
        attempt=state.attempt,
        route=f"{send.pool or 'default'}/{send.domain}",
        message_class=send.message_class,
        template=send.template,
        address=state.address,
        display_name=state.display_name,
        variables=state.variables,
        stream=send.stream,
        scenario=send.scenario,
        step=send.step,
        date=state.date,
        not_after=credit.not_after,
        incarnation=credit.incarnation,
        contact=send.contact,
        topic=send.topic,
    )
    return Transition(state, Held(credit.holder), (Release(credit.holder, message),))


def _refused(state: MessageState, refuse: Refuse, context: Context) -> Transition:
    if state.status != "asking" or refuse.attempt != state.attempt:
        return Transition(state, place_of(state, context.key), (Record("refuse_out_of_place"),))
    if refuse.retry_at is not None:
        story = story_with(state, context.now, "refused_until_later", refuse.reason)
        return rescheduled(state, max(refuse.retry_at, context.now + 1), story=story)
    match refuse.reason:
        case "erased":
            return finish(state, "erased", context, "cancelled", reason="erased")
        case "suppressed":
            return finish(state, "suppressed", context, "cancelled", reason="suppressed")
        case "cancelled":
            return finish(state, "cancelled", context, "cancelled", reason="cancelled")
        case reason:
            return finish(state, "skipped", context, "cancelled", reason=reason)


def _cancelled(state: MessageState, cancel: Cancel, context: Context) -> Transition:
    """A cancel is a request: under way, only the egress can say that it wasn't begun. DESIGN §4."""
    erased = cancel.reason == "erased"
    if state.status in WAITING:
        status: Status = "erased" if erased else "cancelled"
        return finish(state, status, context, "cancelled", reason=cancel.reason)
    if state.status == "in_doubt":  # it may have arrived, so it can't be called cancelled
        state = msgspec.structs.replace(state, cancel=cancel.reason or "cancelled")
        state = without_person(state) if erased else state
        return Transition(state, place_of(state, context.key))
    if state.status == "attempting" and state.credit is not None:
        holder = state.credit.credit.holder
        state = msgspec.structs.replace(state, cancel=cancel.reason or "cancelled")
        if erased:
            state = without_person(state)
        request = CancelAttempt(name_of(context.key), state.attempt)
        return Transition(state, Held(holder), (Release(holder, request),))
    return Transition(state, place_of(state, context.key), (Record("cancel_too_late"),))


def _looked_at(state: MessageState, context: Context) -> Transition:
    """Have the turn that the sweep gives: one suspended may have expired, one under way or in doubt be called back."""
    if state.status == "suspended" and context.now >= state.expires:
        return finish(state, "expired", context, "expired", reason="age")
    marks = marks_of(context)
    under_way = state.status in ("attempting", "in_doubt")
    if under_way and marks is not None and is_concerned(state, marks):
        return _cancelled(state, Cancel("queue_cancel"), context)
    return Transition(state, place_of(state, context.key))
