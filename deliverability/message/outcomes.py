"""What follows from the outcome of an attempt: the end, another attempt, or doubt. DESIGN §4."""

from __future__ import annotations

__all__ = ("concluded", "settled")

from collections.abc import Callable
from typing import assert_never

import msgspec

from deliverability.message.ending import finish, notice_of, outcome_record
from deliverability.message.places import made_ready, place_of, rescheduled
from deliverability.message.records import (
    GREYLISTED,
    HELD,
    PACE_CAUSES,
    SUPPRESSED,
    AttemptOutcome,
    Settle,
    words_of,
)
from deliverability.message.state import WAITING, MessageState, Status, story_with
from deliverability.message.stream_policy import policy_of
from deliverability.retry import next_attempt
from engine.config import RetryCurve
from engine.machine import Context, Emit, Record, Transition


def concluded(
    state: MessageState,
    outcome: AttemptOutcome,
    context: Context,
    curve_of: Callable[[str], RetryCurve],
) -> Transition:
    """Take the outcome of an attempt. `curve_of` gives the retry curve of a cause."""
    late = outcome.attempt != state.attempt
    if state.status != "attempting" or late:
        return _late(state, outcome, context)
    match outcome.kind:
        case "delivered":
            return finish(state, "delivered", context, "delivered", outcome)
        case "bounced":
            return finish(state, "bounced", context, "bounced", outcome, reason=outcome.cause)
        case "cancelled":
            if outcome.cause == SUPPRESSED and not state.cancel:
                return finish(state, "suppressed", context, "cancelled", outcome, reason=SUPPRESSED)
            status: Status = "erased" if state.cancel == "erased" else "cancelled"
            return finish(state, status, context, "cancelled", outcome, reason=state.cancel)
        case "expired":
            return finish(state, "expired", context, "expired", outcome, reason=outcome.cause)
        case "unattempted":
            return _again(state, outcome, context)
        case "deferred":
            return _deferred(state, outcome, context, curve_of(outcome.cause))
        case "in_doubt":
            return _doubtful(state, outcome, context)
        case _:
            assert_never(outcome.kind)


def _again(state: MessageState, outcome: AttemptOutcome, context: Context) -> Transition:
    """Back into the ready queue; the next hand-over takes a new attempt number, no retry is counted."""
    if state.cancel:
        status: Status = "erased" if state.cancel == "erased" else "cancelled"
        return finish(state, status, context, "cancelled", outcome, reason=state.cancel)
    notice = notice_of(state, outcome.kind, context, final=False)
    if (
        outcome.cause == HELD and outcome.retry_ms
    ):  # its turn comes in the agenda, where it stands in nobody's way
        due = min(context.now + outcome.retry_ms, max(state.expires, context.now + 1))
        again = rescheduled(state, due)
    else:
        again = made_ready(state, context)
    return Transition(again.state, again.place, (notice,))


def _deferred(
    state: MessageState, outcome: AttemptOutcome, context: Context, curve: RetryCurve
) -> Transition:
    if state.cancel:
        return _again(state, outcome, context)
    deferrals = state.deferrals + (outcome.cause not in PACE_CAUSES)
    if outcome.retry_ms and outcome.cause == GREYLISTED and deferrals <= 1:
        curve = msgspec.structs.replace(curve, first_s=-(-outcome.retry_ms // 1000))
        curve = msgspec.structs.replace(curve, jitter_percent=0)  # sooner would be too soon
    due = next_attempt(curve, max(deferrals, 1), context.now, context.rng("retry"))
    policy = policy_of(state, context)
    if due >= state.expires or deferrals >= policy.attempts_max:
        return finish(state, "expired", context, "expired", outcome, reason=outcome.cause)
    story = story_with(state, context.now, "deferred", words_of(outcome))
    transition = rescheduled(state, due, deferrals=deferrals, story=story)
    notice = notice_of(state, "deferred", context, final=False, cause=outcome.cause)
    emit = Emit("outcome", outcome_record(state, outcome, "deferred", context, final=False))
    return Transition(transition.state, transition.place, (notice, emit))


def _doubtful(state: MessageState, outcome: AttemptOutcome, context: Context) -> Transition:
    """Begun, but nobody knows its reply: sent again at the price of a possible duplicate, or held.

    One under a cancel mark isn't sent again, and can't be called cancelled: a begin mark was written.
    """
    story = story_with(state, context.now, "in_doubt", words_of(outcome))
    state = msgspec.structs.replace(state, doubts=state.doubts + 1, story=story)
    emit = Emit("outcome", outcome_record(state, outcome, "in_doubt", context, final=False))
    notice = notice_of(state, "in_doubt", context, final=False)
    if state.cancel or policy_of(state, context).in_doubt == "hold":
        held = msgspec.structs.replace(state, status="in_doubt", credit=None)
        return Transition(held, place_of(held, context.key), (notice, emit))
    again = _again(state, outcome, context)
    return Transition(again.state, again.place, (*again.effects, emit))


def _late(state: MessageState, outcome: AttemptOutcome, context: Context) -> Transition:
    """An outcome of an attempt that isn't the present one settles a message that isn't begun again."""
    settles = outcome.kind in ("delivered", "bounced") and state.status in (*WAITING, "in_doubt")
    if settles and outcome.attempt <= state.attempt:
        status: Status = "delivered" if outcome.kind == "delivered" else "bounced"
        return finish(state, status, context, outcome.kind, outcome, reason=outcome.cause)
    return Transition(state, place_of(state, context.key), (Record("duplicate_outcome"),))


def settled(state: MessageState, settle: Settle, context: Context) -> Transition:
    """Take an operator's word on a message held in doubt; one under a cancel isn't sent again."""
    if state.status != "in_doubt":
        return Transition(state, place_of(state, context.key), (Record("settle_out_of_place"),))
    if settle.resend and state.cancel:
        status: Status = "erased" if state.cancel == "erased" else "cancelled"
        return finish(state, status, context, "cancelled", reason=state.cancel)
    if settle.resend:
        story = story_with(state, context.now, "settled", "by hand: to be sent again")
        return made_ready(msgspec.structs.replace(state, story=story), context)
    return finish(state, "delivered", context, "delivered", reason="settled by hand")
