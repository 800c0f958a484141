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

__all__ = (
    "LOOK",
    "QUEUED",
    "SUPPRESSED",
    "AttemptOutcome",
    "CancelAttempt",
    "Look",
    "MessageMachine",
    "MessageState",
    "OutcomeRecord",
    "Settle",
    "StoryLine",
    "StreamPolicy",
    "awaits_marks",
    "is_concerned",
    "queue_name",
)

from collections.abc import Callable
from typing import Annotated, Any, Literal, assert_never

import msgspec

from deliverability.leaving import Leaving
from deliverability.marks import DOUBT_QUEUE, MARKS, SECTION, Mark, Marks, looked, parked
from deliverability.retry import next_attempt
from deliverability.returned import OFTEN, Returned, about
from engine.config import Delivery, RetryCurve
from engine.keyspace import MESSAGE, EntityKey, contact_key, name_of, tenant_of
from engine.machine import (
    At,
    Context,
    Effect,
    Emit,
    Granted,
    Held,
    Place,
    Ready,
    Record,
    Release,
    Retired,
    Tell,
    Transition,
    Wake,
)
from engine.vocabulary import (
    Cancel,
    ConsentGiven,
    MaySend,
    Message,
    OutcomeKind,
    OutcomeNotice,
    Permit,
    Personal,
    Refuse,
    Send,
)

HOUR = 3_600_000
STORY_MAX = 24  # lines kept of a message's story: the first few and the newest

Status = Literal[
    "scheduled",
    "ready",
    "suspended",
    "asking",
    "attempting",
    "delivered",
    "bounced",
    "expired",
    "suppressed",
    "cancelled",
    "skipped",
    "erased",
    "in_doubt",
]
PACE_CAUSES = ("sending-too-fast", "too-many-connections")
"""Deferrals that are the queue's fault, not the message's: they burn none of its attempts."""

GREYLISTED = "greylisted"
SUPPRESSED = "suppressed"
"""Cause of an attempt that the egress cancelled because the address is on the suppression list."""

WAITING = ("scheduled", "ready", "suspended")
QUEUED = (*WAITING, "asking", "attempting")


class StreamPolicy(msgspec.Struct, frozen=True):
    """How messages of a stream are treated: published in the catalog's section `stream`."""

    in_doubt: Literal["resend", "hold"] = "resend"
    expires_ms: int = 72 * HOUR
    retention_ms: int = 30 * 24 * HOUR
    attempts_max: int = 60


DEFAULT_POLICY = StreamPolicy()


class StoryLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a message's story: when (ms), what, and in what words."""

    at: int
    what: str
    detail: str = ""


class AttemptOutcome(msgspec.Struct, frozen=True, tag="attempt_outcome", array_like=True):
    """What an egress says of an attempt. `code` 0: there was no reply."""

    attempt: int
    kind: OutcomeKind
    cause: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    phase: str = ""
    at: int = 0  # wall time, ms
    host: str = ""
    source: str = ""  # address that it was sent from
    retry_ms: int = 0  # how long the site's greylisting is known to want; 0: not known


class Settle(msgspec.Struct, frozen=True, tag="settle", array_like=True):
    """An operator's word on a message held in doubt: it arrived, or it must be sent again."""

    resend: bool


class CancelAttempt(msgspec.Struct, frozen=True, array_like=True):
    """To the egress: don't begin this one any more."""

    message_id: bytes
    attempt: int


class OutcomeRecord(msgspec.Struct, frozen=True):
    """What the feed tells about a message: no address, only ids."""

    message_id: str
    contact: str
    scenario: str
    step: str
    stream: str
    kind: str
    attempt: int
    at: int
    cause: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    final: bool = True
    first_attempt: int = 0  # when it was first handed over, ms; 0: never
    accepted: int = 0  # when it was told to be sent, ms
    domain: str = ""  # of the forward-path
    recipient: str = ""  # keyed hash of the forward-path, unless it was delivered
    topic: str = ""
    phase: str = ""  # the command that was answered
    source: str = ""  # where it was sent from
    returned: Returned | None = None  # what came back after the outcome


class MessageState(msgspec.Struct, frozen=True, array_like=True):
    """A message, durable. Fields are only ever appended; each new one has a default."""

    send: Send
    status: Status
    expires: int
    created: int
    attempt: int = 0
    deferrals: int = 0
    reason: str = ""
    address: Annotated[str, Personal] = ""
    display_name: Annotated[str, Personal] = ""
    variables: Annotated[dict[str, Any], Personal] = {}
    date: int = 0
    credit: Granted | None = None
    cancel: str = ""
    first_attempt: int = 0
    finished: int = 0
    doubts: int = 0
    story: tuple[StoryLine, ...] = ()
    recipient: bytes = b""  # keyed hash of the address that it was sent to, kept after the end
    generation: int = 0  # the newest mark when it was accepted
    rerouted: int = 0  # the newest reroute that it followed
    came_back: tuple[str, ...] = ()  # kinds of reports about it; each is believed once
    source: str = ""  # address that the last attempt was sent from, so that complaints count where they belong


class Look(msgspec.Struct, frozen=True, tag="look", array_like=True, gc=False):
    """The sweep's turn: look at the marks."""


LOOK = Look()

Input = Send | Wake | Granted | Permit | Refuse | Cancel | AttemptOutcome | Settle | Returned | Look


def queue_name(send: Send, tenant: str) -> bytes:
    """Name the ready queue: class and route (pool / site) make the lane, the tenant its queue."""
    return f"{send.message_class}{send.pool or 'default'}/{send.domain}\0{tenant}".encode()


def _told(state: MessageState, at: int, what: str, detail: str = "") -> tuple[StoryLine, ...]:
    story = state.story
    if len(story) >= STORY_MAX:
        story = (*story[:4], *story[-(STORY_MAX - 5) :])
    return (*story, StoryLine(at, what, detail[:200]))


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
        return _under_marks(self._decided(state, body, context), context)

    def _decided(self, state: MessageState | None, body: Input, context: Context) -> Transition:
        if state is None:
            if isinstance(body, Send):
                return _accept(body, context)
            if isinstance(body, Returned) and body.leaving is not None:
                return _left(body, body.leaving, context)
            return Transition(None, None, (Record("no_such_message"),))
        match body:
            case Send():
                return Transition(state, _place(state, context.key), (Record("repeated_send"),))
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
                return _concluded(state, body, context, self._curve_of)
            case Settle():
                return _settled(state, body, context)
            case Look():
                return _looked_at(state, context)
            case Returned():
                return _came_back(state, body, context)
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


def _policy(state: MessageState | Send, context: Context) -> StreamPolicy:
    stream = state.stream if isinstance(state, Send) else state.send.stream
    found = context.catalog.find("stream", tenant_of(context.key), stream)
    return found if isinstance(found, StreamPolicy) else DEFAULT_POLICY


def _place(state: MessageState, key: EntityKey) -> Place | None:
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


def _marks(context: Context) -> Marks | None:
    found = context.catalog.find(SECTION, tenant_of(context.key), MARKS)
    return found if isinstance(found, Marks) else None


def _under_marks(done: Transition, context: Context) -> Transition:
    """Let the marks in force have their effect on a message that would wait: it ends, waits elsewhere, or goes on."""
    state: MessageState | None = done.state
    if state is None or state.status not in WAITING:
        return done
    marks = _marks(context)
    if marks is None:
        return done
    found = looked(marks, state.send, state.generation, state.rerouted)
    if found.end is not None:
        ended = _ended_by(found.end, state, context)
        return Transition(ended.state, ended.place, (*done.effects, *ended.effects))
    if found.reroute is not None:
        send = msgspec.structs.replace(state.send, pool=found.reroute.to_pool)
        state = msgspec.structs.replace(state, send=send, rerouted=found.reroute.number)
    if state.status == "ready" and found.waits:
        state = msgspec.structs.replace(state, status="suspended")
    elif state.status == "suspended" and not found.waits:
        state = msgspec.structs.replace(state, status="ready")
    if state is done.state:
        return done
    return Transition(state, _place(state, context.key), done.effects)


def _ended_by(mark: Mark, state: MessageState, context: Context) -> Transition:
    reason = mark.reason or f"queue_{mark.action}"
    match mark.action:
        case "bounce":
            return _finish(state, "bounced", context, "bounced", reason=reason)
        case "expire":
            return _finish(state, "expired", context, "expired", reason=reason)
        case _:
            return _finish(state, "cancelled", context, "cancelled", reason=reason)


def _looked_at(state: MessageState, context: Context) -> Transition:
    """Have the turn that the sweep gives: a suspended message may have expired, one under way may be called back."""
    if state.status == "suspended" and context.now >= state.expires:
        return _finish(state, "expired", context, "expired", reason="age")
    marks = _marks(context)
    if state.status == "attempting" and marks is not None and is_concerned(state, marks):
        return _cancelled(state, Cancel("queue_cancel"), context)
    return Transition(state, _place(state, context.key))


def is_concerned(state: MessageState, marks: Marks) -> bool:
    """Tell whether a look at the marks would change something: what the sweep asks before it gives a turn."""
    if state.status not in (*WAITING, "attempting"):
        return False
    found = looked(marks, state.send, state.generation, state.rerouted)
    if state.status == "attempting":
        return found.end is not None and found.end.action == "cancel" and not state.cancel
    if found.end is not None or found.reroute is not None:
        return True
    return state.status != "scheduled" and found.waits != (state.status == "suspended")


def awaits_marks(state: MessageState, marks: Marks) -> bool:
    """Tell whether a message under way will end or move by these marks once it comes back.

    Only the egress can say that it wasn't begun, so until then the marks must stay in force. A cancel is remembered by
    the message itself.
    """
    if state.status != "attempting":
        return False
    found = looked(marks, state.send, state.generation, state.rerouted)
    ends = found.end is not None and found.end.action != "cancel"
    return ends or found.reroute is not None


def _accept(send: Send, context: Context) -> Transition:
    expires = send.expires or max(send.due, context.now) + _policy(send, context).expires_ms
    marks = _marks(context)
    state = MessageState(send, "scheduled", expires, context.now)
    if marks is not None:
        state = msgspec.structs.replace(state, generation=marks.newest)
    if send.due > context.now:
        return Transition(state, At(send.due))
    return _make_ready(state, context)


def _make_ready(state: MessageState, context: Context) -> Transition:
    queue = queue_name(state.send, tenant_of(context.key))
    return Transition(
        msgspec.structs.replace(state, status="ready", credit=None), Ready(queue, _order(state))
    )


def _order(state: MessageState) -> int:
    """Give the place in a ready queue: what was tried before stands where it stood, not behind the whole backlog."""
    return state.created if state.first_attempt else state.send.due


def _reschedule(state: MessageState, due: int, **changes: Any) -> Transition:
    send = msgspec.structs.replace(state.send, due=due)
    state = msgspec.structs.replace(state, send=send, status="scheduled", credit=None, **changes)
    return Transition(state, At(due))


def _due(state: MessageState, context: Context) -> Transition:
    if state.status != "scheduled":
        return Transition(state, _place(state, context.key), (Record("wake_out_of_place"),))
    if context.now >= state.expires:
        return _finish(state, "expired", context, "expired", reason="age")
    return _make_ready(state, context)


def _ask(state: MessageState, granted: Granted, context: Context) -> Transition:
    if state.status != "ready":
        return Transition(state, _place(state, context.key), (Record("grant_out_of_place"),))
    if context.now >= state.expires:
        return _finish(state, "expired", context, "expired", reason="age")
    standing = Transition(state, None)
    under_marks = _under_marks(standing, context)
    if under_marks is not standing:  # of a catalog that is newer than its place
        if under_marks.place != _place(state, context.key):
            return under_marks
        state = under_marks.state  # rerouted to where it stands already: its turn goes on
    send = state.send
    attempt = state.attempt + 1
    may = MaySend(name_of(context.key), attempt, send.stream, send.topic, send.due)
    state = msgspec.structs.replace(state, status="asking", attempt=attempt, credit=granted)
    return Transition(state, None, (Tell(EntityKey(send.contact), may),))


def _hand_over(state: MessageState, permit: Permit, context: Context) -> Transition:
    if state.status != "asking" or permit.attempt != state.attempt or state.credit is None:
        return Transition(state, _place(state, context.key), (Record("permit_out_of_place"),))
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
        story=_told(state, context.now, "handed_over", f"attempt {state.attempt}"),
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
        return Transition(state, _place(state, context.key), (Record("refuse_out_of_place"),))
    if refuse.retry_at is not None:
        story = _told(state, context.now, "refused_until_later", refuse.reason)
        return _reschedule(state, max(refuse.retry_at, context.now + 1), story=story)
    match refuse.reason:
        case "erased":
            return _finish(state, "erased", context, "cancelled", reason="erased")
        case "suppressed":
            return _finish(state, "suppressed", context, "cancelled", reason="suppressed")
        case "cancelled":
            return _finish(state, "cancelled", context, "cancelled", reason="cancelled")
        case reason:
            return _finish(state, "skipped", context, "cancelled", reason=reason)


def _cancelled(state: MessageState, cancel: Cancel, context: Context) -> Transition:
    """A cancel is a request: under way, only the egress can say that it wasn't begun. DESIGN §4."""
    erased = cancel.reason == "erased"
    if state.status in WAITING:
        status: Status = "erased" if erased else "cancelled"
        return _finish(state, status, context, "cancelled", reason=cancel.reason)
    if state.status == "in_doubt":  # it may have arrived, so it can't be called cancelled
        state = msgspec.structs.replace(state, cancel=cancel.reason or "cancelled")
        state = _without_person(state) if erased else state
        return Transition(state, _place(state, context.key))
    if state.status == "attempting" and state.credit is not None:
        holder = state.credit.credit.holder
        state = msgspec.structs.replace(state, cancel=cancel.reason or "cancelled")
        if erased:
            state = _without_person(state)
        request = CancelAttempt(name_of(context.key), state.attempt)
        return Transition(state, Held(holder), (Release(holder, request),))
    return Transition(state, _place(state, context.key), (Record("cancel_too_late"),))


def _without_person(state: MessageState) -> MessageState:
    return msgspec.structs.replace(state, address="", display_name="", variables={}, recipient=b"")


def _concluded(
    state: MessageState,
    outcome: AttemptOutcome,
    context: Context,
    curve_of: Callable[[str], RetryCurve],
) -> Transition:
    late = outcome.attempt != state.attempt
    if state.status != "attempting" or late:
        return _late(state, outcome, context)
    match outcome.kind:
        case "delivered":
            return _finish(state, "delivered", context, "delivered", outcome)
        case "bounced":
            return _finish(state, "bounced", context, "bounced", outcome, reason=outcome.cause)
        case "cancelled":
            if outcome.cause == SUPPRESSED and not state.cancel:
                return _finish(
                    state, "suppressed", context, "cancelled", outcome, reason=SUPPRESSED
                )
            status: Status = "erased" if state.cancel == "erased" else "cancelled"
            return _finish(state, status, context, "cancelled", outcome, reason=state.cancel)
        case "expired":
            return _finish(state, "expired", context, "expired", outcome, reason=outcome.cause)
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
        return _finish(state, status, context, "cancelled", outcome, reason=state.cancel)
    ready = _make_ready(state, context)
    notice = _notice(state, outcome.kind, context, final=False)
    return Transition(ready.state, ready.place, (notice,))


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
    policy = _policy(state, context)
    if due >= state.expires or deferrals >= policy.attempts_max:
        return _finish(state, "expired", context, "expired", outcome, reason=outcome.cause)
    story = _told(state, context.now, "deferred", _words(outcome))
    transition = _reschedule(state, due, deferrals=deferrals, story=story)
    notice = _notice(state, "deferred", context, final=False, cause=outcome.cause)
    emit = Emit("outcome", _outcome_record(state, outcome, "deferred", context, final=False))
    return Transition(transition.state, transition.place, (notice, emit))


def _doubtful(state: MessageState, outcome: AttemptOutcome, context: Context) -> Transition:
    """Begun, but nobody knows its reply: sent again at the price of a possible duplicate, or held.

    One under a cancel mark isn't sent again, and can't be called cancelled: a begin mark was written.
    """
    story = _told(state, context.now, "in_doubt", _words(outcome))
    state = msgspec.structs.replace(state, doubts=state.doubts + 1, story=story)
    emit = Emit("outcome", _outcome_record(state, outcome, "in_doubt", context, final=False))
    notice = _notice(state, "in_doubt", context, final=False)
    if state.cancel or _policy(state, context).in_doubt == "hold":
        held = msgspec.structs.replace(state, status="in_doubt", credit=None)
        return Transition(held, _place(held, context.key), (notice, emit))
    again = _again(state, outcome, context)
    return Transition(again.state, again.place, (*again.effects, emit))


def _late(state: MessageState, outcome: AttemptOutcome, context: Context) -> Transition:
    """An outcome of an attempt that isn't the present one settles a message that isn't begun again."""
    settles = outcome.kind in ("delivered", "bounced") and state.status in (*WAITING, "in_doubt")
    if settles and outcome.attempt <= state.attempt:
        status: Status = "delivered" if outcome.kind == "delivered" else "bounced"
        return _finish(state, status, context, outcome.kind, outcome, reason=outcome.cause)
    return Transition(state, _place(state, context.key), (Record("duplicate_outcome"),))


def _settled(state: MessageState, settle: Settle, context: Context) -> Transition:
    if state.status != "in_doubt":
        return Transition(state, _place(state, context.key), (Record("settle_out_of_place"),))
    if settle.resend and state.cancel:
        status: Status = "erased" if state.cancel == "erased" else "cancelled"
        return _finish(state, status, context, "cancelled", reason=state.cancel)
    if settle.resend:
        story = _told(state, context.now, "settled", "by hand: to be sent again")
        return _make_ready(msgspec.structs.replace(state, story=story), context)
    return _finish(state, "delivered", context, "delivered", reason="settled by hand")


def _came_back(state: MessageState, returned: Returned, context: Context) -> Transition:
    """Take a report about the message: it is told to the contact and to the feed, and moves no counter of the law.

    A bounce or complaint once each: whoever has the reverse-path could send more. None about a message that never left.
    """
    kind, send, message_id = returned.kind, state.send, name_of(context.key)
    if kind in state.came_back or not state.first_attempt:
        refused = Record("report_refused", {"kind": kind, "report": returned.report})
        return Transition(state, _place(state, context.key), (refused,))
    contact = EntityKey(send.contact)
    event = about(returned, message_id, send, context.now, state.date)
    effects: list[Effect] = [Tell(contact, event)]
    if kind in OFTEN:
        return Transition(state, _place(state, context.key), effects)
    if kind == "unsubscribed":
        topic = returned.topic or send.topic or send.stream
        source = f"unsubscribe: {returned.proof}"
        consent = ConsentGiven(topic, granted=False, at=context.now, source=source)
        effects.insert(0, Tell(contact, consent))
    else:
        state = msgspec.structs.replace(state, came_back=(*state.came_back, kind))
    said = (returned.reply_code, returned.status, returned.cause, returned.proof)
    words = " ".join(filter(None, (*said, returned.report and f"report {returned.report}")))
    state = msgspec.structs.replace(state, story=_told(state, context.now, kind, words))
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
    record = _outcome_record(state, told, kind, context, final=False)
    effects.append(Emit("outcome", msgspec.structs.replace(record, returned=returned)))
    return Transition(state, _place(state, context.key), effects)


def _left(returned: Returned, leaving: Leaving, context: Context) -> Transition:
    """Let somebody leave whose message is forgotten: the token said who it was, and of what."""
    contact = contact_key(tenant_of(context.key), leaving.contact)
    send = Send(contact, "", leaving.stream, "", due=0, topic=leaving.topic)
    topic = returned.topic or leaving.topic or leaving.stream
    consent = ConsentGiven(topic, False, context.now, f"unsubscribe: {returned.proof}")
    event = about(returned, name_of(context.key), send, context.now, context.now)
    record = _outcome_record(
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


def _finish(
    state: MessageState,
    status: Status,
    context: Context,
    kind: OutcomeKind,
    outcome: AttemptOutcome | None = None,
    *,
    reason: str = "",
) -> Transition:
    """End the message: personal fields go, the contact hears of it, the feed tells it."""
    words = _words(outcome) if outcome is not None else reason
    until = context.now + _policy(state, context).retention_ms
    final = msgspec.structs.replace(
        state,
        status=status,
        reason=reason,
        credit=None,
        address="",
        display_name="",
        variables={},
        finished=until,
        story=_told(state, context.now, status, words),
        source=outcome.source if outcome is not None else "",
    )
    cause = outcome.cause if outcome is not None else reason
    told = outcome or AttemptOutcome(state.attempt, kind, reason)
    effects: tuple[Effect, ...] = (
        _notice(state, kind, context, final=True, cause=cause),
        Emit("outcome", _outcome_record(state, told, status, context, final=True)),
    )
    return Transition(final, Retired(until), effects)


def _notice(
    state: MessageState, kind: OutcomeKind, context: Context, *, final: bool, cause: str = ""
) -> Tell:
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


def _outcome_record(
    state: MessageState, outcome: AttemptOutcome, kind: str, context: Context, *, final: bool
) -> OutcomeRecord:
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


def _words(outcome: AttemptOutcome) -> str:
    parts = (outcome.phase, str(outcome.code or ""), outcome.enhanced, outcome.text, outcome.cause)
    return " ".join(part for part in parts if part)
