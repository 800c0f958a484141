"""The message machine over the full product of statuses and inputs: total, in one bucket, true to its outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.leaving import Leaving
from deliverability.marks import DOUBT_QUEUE, parked
from deliverability.message.machine import Input, MessageMachine
from deliverability.message.places import queue_name
from deliverability.message.records import (
    HELD,
    LOOK,
    PACE_CAUSES,
    AttemptOutcome,
    CancelAttempt,
    Settle,
)
from deliverability.message.state import QUEUED, STORY_MAX, MessageState, Status, StoryLine
from deliverability.message.stream_policy import StreamPolicy
from deliverability.returned import EVENTS, Returned, ReturnedKind
from engine.ids import derive
from engine.keyspace import EntityKey, contact_key, message_key, name_of
from engine.machine import (
    At,
    Context,
    Credit,
    Emit,
    Granted,
    Held,
    Ready,
    Release,
    Retired,
    Tell,
    Transition,
    Wake,
)
from engine.tally import BUCKETS
from engine.vocabulary import (
    Cancel,
    ConsentGiven,
    Event,
    MaySend,
    Message,
    OutcomeKind,
    OutcomeNotice,
    Permit,
    Refuse,
    Send,
    data_of,
)

NOW = 1_700_000_000_000
CONTACT = contact_key("t", "ada")
KEY = message_key("t", derive(CONTACT, "m"))
MACHINE = MessageMachine()
STATUSES: tuple[Status, ...] = get_args(Status)
KINDS: tuple[OutcomeKind, ...] = get_args(OutcomeKind)
GRANTED = Granted(Credit(b"w0", 7, 99))
FINAL = tuple(one for one in STATUSES if one not in (*QUEUED, "in_doubt"))


class Streams:
    """A catalog with one policy for each stream."""

    version = 1

    def __init__(self, **streams: StreamPolicy) -> None:
        self._streams = streams

    def find(self, section: str, tenant: str, name: str) -> Any:
        return self._streams.get(name) if section == "stream" else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        return self._streams


def _send(stream: str = "marketing", due: int = NOW, expires: int = 0) -> Send:
    return Send(CONTACT, "welcome", stream, "example.org", due, expires)


def _state(
    status: Status, *, cancel: str = "", attempt: int = 2, stream: str = "marketing"
) -> MessageState:
    under_way = status in ("asking", "attempting")
    return MessageState(
        _send(stream),
        status,
        NOW + 10_000_000,
        NOW - 5,
        attempt=attempt,
        reason="cap" if status == "skipped" else "",
        address="ada@example.org",
        variables={"name": "Ada"},
        date=NOW - 1,
        credit=GRANTED if under_way else None,
        cancel=cancel,
        finished=NOW + 99 if status in FINAL else 0,
    )


def _decide(
    state: MessageState | None, body: Input, now: int = NOW, **streams: StreamPolicy
) -> Transition:
    context = Context(Streams(**streams), now)
    context.key = EntityKey(KEY)
    context.input_id = b"input"
    return MACHINE.decide(state, body, context)


def _outcome(kind: OutcomeKind, attempt: int = 2, cause: str = "x") -> AttemptOutcome:
    return AttemptOutcome(attempt, kind, cause, code=250 if kind == "delivered" else 0)


INPUTS: list[Input] = [
    _send(),
    Returned("returned", "mailbox-unknown", permanent=True),
    Returned("unsubscribed"),
    Wake(),
    LOOK,
    GRANTED,
    *(Permit(attempt, "a@b.example", {}) for attempt in (1, 2, 3)),
    *(
        Refuse(attempt, reason, retry)
        for attempt in (1, 2)
        for reason in (
            "erased",
            "suppressed",
            "no_consent",
            "late",
            "cap",
            "cancelled",
            "no_address",
        )
        for retry in (None, NOW + 60_000, NOW - 5)
    ),
    Cancel(""),
    Cancel("erased"),
    *(_outcome(kind, attempt) for kind in KINDS for attempt in (1, 2, 3)),
    Settle(resend=True),
    Settle(resend=False),
]
STATES = [_state(status, cancel=cancel) for status in STATUSES for cancel in ("", "erased", "stop")]


@pytest.mark.parametrize(
    "state", STATES, ids=lambda state: f"{state.status}-{state.cancel or 'no'}"
)
@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("late", [0, 20_000_000])
def test_every_status_takes_every_input(state: MessageState, policy: Any, late: int) -> None:
    """Total: never raises, always in one bucket of the law, its place fits its status, what is final stays so."""
    for body in INPUTS:
        done = _decide(state, body, NOW + late, marketing=StreamPolicy(in_doubt=policy))
        after: MessageState = done.state
        stream, bucket = MACHINE.tally(after)
        assert stream == "marketing"
        assert bucket.partition(":")[0] in BUCKETS
        if bucket.startswith("skipped"):
            assert bucket.partition(":")[2]
        _place_fits(after, done)
        if state.status in FINAL:
            assert after == state, "what is final stays as it is"
            assert not any(isinstance(e, (Emit, Release, Tell)) for e in done.effects)
        if after.status in FINAL and state.status not in FINAL:
            assert not after.address
            assert not after.variables
            finals = [
                e.body
                for e in done.effects
                if isinstance(e, Tell) and isinstance(e.body, OutcomeNotice)
            ]
            assert [notice.final for notice in finals] == [True]
        assert after.attempt >= state.attempt
        msgspec.msgpack.decode(msgspec.msgpack.encode(after), type=MessageState)


def _place_fits(state: MessageState, done: Transition) -> None:
    place = done.place
    match state.status:
        case "scheduled":
            assert isinstance(place, At)
        case "ready":
            assert place == Ready(queue_name(state.send, "t"), state.send.due)
        case "attempting":
            assert place == Held(b"w0")
        case "suspended":
            assert place == Ready(parked(queue_name(state.send, "t")), state.expires)
        case "in_doubt":
            assert place == Ready(DOUBT_QUEUE, state.created)
        case "asking":
            assert place is None
        case _:
            assert isinstance(place, Retired)


@pytest.mark.parametrize("body", INPUTS, ids=lambda body: type(body).__name__)
def test_a_message_that_isnt_there_begins_only_with_a_send(body: Input) -> None:
    """An outcome for a message that is gone is confirmed without effect."""
    done = _decide(None, body)
    assert (done.state is not None) == isinstance(body, Send)
    if done.state is None:
        assert done.place is None
        assert not any(isinstance(e, (Tell, Emit, Release)) for e in done.effects)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", ["scheduled", "ready", "in_doubt", "attempting"])
def test_a_late_outcome_settles_only_what_isnt_begun_again(
    status: Status, kind: OutcomeKind
) -> None:
    """A true end of an older attempt wins while nothing is in the air; else it counts as a duplicate."""
    state = _state(status, attempt=3)
    done = _decide(state, _outcome(kind, attempt=2))
    if kind in ("delivered", "bounced") and status != "attempting":
        assert done.state.status == kind
    else:
        assert done.state == state


def test_an_outcome_of_an_attempt_that_was_never_made_changes_nothing() -> None:
    """Numbers only ever go up."""
    for status in ("scheduled", "ready", "in_doubt", "attempting"):
        state = _state(status, attempt=2)
        assert _decide(state, _outcome("delivered", attempt=9)).state == state


@pytest.mark.parametrize("cancel", ["stop", "erased"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_is_a_request_and_the_true_outcome_wins(kind: OutcomeKind, cancel: str) -> None:
    """It may be called cancelled only when no begin mark was written; in doubt it is held and not sent again."""
    asked = _decide(_state("attempting"), Cancel(cancel))
    assert asked.state.status == "attempting"
    assert [e.body for e in asked.effects if isinstance(e, Release)] == [
        CancelAttempt(name_of(KEY), 2)
    ]
    assert bool(asked.state.address) == (cancel == "stop")
    done = _decide(asked.state, _outcome(kind)).state
    gone = "erased" if cancel == "erased" else "cancelled"
    expected = {"cancelled": gone, "unattempted": gone, "deferred": gone, "in_doubt": "in_doubt"}
    assert done.status == expected.get(kind, kind)
    if done.status == "in_doubt":
        assert _decide(done, Settle(resend=True)).state.status == gone
        assert _decide(done, Settle(resend=False)).state.status == "delivered"


def test_a_held_doubt_isnt_called_cancelled() -> None:
    """It may have arrived; erasure takes what is personal and leaves the doubt."""
    held = _state("in_doubt", stream="hold")
    for reason in ("stop", "erased"):
        done = _decide(held, Cancel(reason))
        assert (done.state.status, done.place) == ("in_doubt", Ready(DOUBT_QUEUE, held.created))
        assert bool(done.state.address) == (reason == "stop")


def test_the_policy_decides_about_doubt() -> None:
    """Resend: ready again, counted; hold: it stays, and an operator settles it."""
    doubt = _outcome("in_doubt")
    again = _decide(_state("attempting"), doubt)
    assert (again.state.status, again.state.doubts) == ("ready", 1)
    held = _decide(_state("attempting"), doubt, marketing=StreamPolicy(in_doubt="hold"))
    assert (held.state.status, held.state.doubts) == ("in_doubt", 1)
    assert MACHINE.tally(held.state) == ("marketing", "in_doubt")
    for done in (again, held):
        assert [e.body.kind for e in done.effects if isinstance(e, Emit)] == ["in_doubt"]
    assert _decide(held.state, Settle(resend=True)).state.status == "ready"


def test_the_first_permit_fixes_what_every_attempt_renders() -> None:
    """Address, variables and Date; the attempt and the credit are the newest."""
    asking = msgspec.structs.replace(_state("asking", attempt=1), date=0, address="", variables={})
    first = _decide(asking, Permit(1, "one@example.org", {"n": 1}))
    message = _message(first)
    assert (message.address, message.variables, message.date) == ("one@example.org", {"n": 1}, NOW)
    assert (message.attempt, message.not_after, message.incarnation) == (1, 99, 7)
    ready = _decide(first.state, _outcome("unattempted", 1)).state
    asked = _decide(ready, GRANTED, NOW + 50).state
    second = _message(_decide(asked, Permit(2, "two@example.org", {"n": 2}), NOW + 50))
    assert (second.address, second.variables, second.date) == ("one@example.org", {"n": 1}, NOW)
    assert second.attempt == 2


def _message(done: Transition) -> Message:
    released = [e.body for e in done.effects if isinstance(e, Release)]
    assert len(released) == 1
    message = released[0]
    assert isinstance(message, Message)
    return message


def test_a_grant_asks_the_contact_with_a_new_attempt() -> None:
    """In the same unit: the message stands nowhere until it is answered."""
    done = _decide(_state("ready", attempt=4), GRANTED)
    assert (done.state.status, done.state.attempt, done.place) == ("asking", 5, None)
    assert [e.body for e in done.effects if isinstance(e, Tell)] == [
        MaySend(name_of(KEY), 5, "marketing", "", NOW)
    ]


def test_unattempted_burns_no_retry_and_a_slow_queue_neither() -> None:
    """Only what is the message's own matter counts as a deferral."""
    state = _state("attempting")
    assert _decide(state, _outcome("unattempted")).state.deferrals == 0
    for cause in PACE_CAUSES:
        assert _decide(state, _outcome("deferred", cause=cause)).state.deferrals == 0
    assert _decide(state, _outcome("deferred", cause="greylisted")).state.deferrals == 1


def test_a_deferral_beyond_the_age_or_the_last_attempt_is_the_end() -> None:
    """Expired, with the cause of the last deferral."""
    state = msgspec.structs.replace(_state("attempting"), expires=NOW + 1000)
    done = _decide(state, _outcome("deferred", cause="greylisted"))
    assert (done.state.status, done.state.reason) == ("expired", "greylisted")
    few = _decide(
        _state("attempting"), _outcome("deferred"), marketing=StreamPolicy(attempts_max=1)
    )
    assert few.state.status == "expired"


@pytest.mark.parametrize("status", ["scheduled", "ready"])
def test_age_ends_a_message_when_its_turn_comes(status: Status) -> None:
    """Due or granted after its expiry: expired, nothing is released."""
    state = _state(status)
    done = _decide(state, Wake() if status == "scheduled" else GRANTED, state.expires)
    assert done.state.status == "expired"
    assert not any(isinstance(e, Release) for e in done.effects)


def test_a_refusal_until_later_is_always_later() -> None:
    """A time in the past would make it due again within the same tick."""
    done = _decide(_state("asking"), Refuse(2, "quiet_hours", NOW - 1000))
    assert done.place == At(NOW + 1)


@settings(deadline=None)
@given(st.lists(st.sampled_from(INPUTS), max_size=40), st.sampled_from(["resend", "hold"]))
def test_any_story_is_bounded_and_counted_once(inputs: list[Input], policy: Any) -> None:
    """However long it goes on: one bucket, a bounded story, attempts that only go up."""
    done = _decide(None, _send())
    attempt, now = 0, NOW
    for body in inputs:
        now += 1000
        done = _decide(done.state, body, now, marketing=StreamPolicy(in_doubt=policy))
        state: MessageState = done.state
        assert len(state.story) <= STORY_MAX
        assert all(isinstance(line, StoryLine) and len(line.detail) <= 200 for line in state.story)
        assert state.attempt >= attempt
        attempt = state.attempt
        _place_fits(state, done)


def test_a_queue_is_named_by_class_route_and_tenant() -> None:
    """The lane before the NUL is what credits are for."""
    assert queue_name(_send(), "t") == b"2default/example.org\0t"


@pytest.mark.parametrize("kind", ["returned", "complained", "auto_replied", "delayed"])
def test_what_comes_back_is_told_once_and_moves_nothing(kind: ReturnedKind) -> None:
    """The contact hears the event, the feed the report; the status stays, and a second one of the kind is refused."""
    state = msgspec.structs.replace(_state("delivered"), first_attempt=NOW - 1, recipient=b"r" * 16)
    returned = Returned(kind, "mailbox-unknown", reply_code="550", report="d" * 32)
    first = _decide(state, returned)
    assert first.state.status == "delivered"
    assert first.place == _decide(state, Wake()).place
    told = [e.body for e in first.effects if isinstance(e, Tell)]
    assert EVENTS[kind] in [one.name for one in told if isinstance(one, Event)]
    fed = [e.body for e in first.effects if isinstance(e, Emit)]
    assert [(kind, (b"r" * 16).hex(), returned)] == [(o.kind, o.recipient, o.returned) for o in fed]
    again = _decide(first.state, msgspec.structs.replace(returned, report="e" * 32))
    assert again.state == first.state
    assert not [e for e in again.effects if isinstance(e, Tell | Emit)]


def test_unsubscribing_withdraws_the_consent_of_its_topic() -> None:
    """Each time: a recipient may leave one topic after the other."""
    state = msgspec.structs.replace(_state("delivered"), first_attempt=NOW - 1)
    for topic, wanted in (("news", "news"), ("", "marketing")):
        transition = _decide(state, Returned("unsubscribed", topic=topic, proof="one-click"))
        state = transition.state
        consent, event = (e.body for e in transition.effects if isinstance(e, Tell))
        assert isinstance(consent, ConsentGiven)
        assert (consent.topic, consent.granted) == (wanted, False)
        assert isinstance(event, Event)
        assert event.name == "mail.unsubscribed"


@pytest.mark.parametrize("kind", ["opened", "clicked"])
def test_opens_and_clicks_are_told_to_the_contact_alone(kind: ReturnedKind) -> None:
    """They change neither state nor feed; how long after the hand-over it was, the event says."""
    state = msgspec.structs.replace(_state("delivered"), first_attempt=NOW - 1, date=NOW - 7000)
    transition = _decide(state, Returned(kind, data={"by": "person"}))
    (told,) = transition.effects
    assert isinstance(told, Tell)
    assert (told.body.name, told.body.data["by"], told.body.data["after_s"]) == (
        f"mail.{kind}",
        "person",
        7,
    )
    assert transition.state == state


def test_nothing_comes_back_of_what_never_left() -> None:
    """A report about a message that was never handed over is refused: nobody can have its reverse-path."""
    transition = _decide(_state("scheduled"), Returned("returned", "mailbox-unknown"))
    assert transition.state == _state("scheduled")
    assert not [e for e in transition.effects if isinstance(e, Tell | Emit)]


def test_the_hash_of_the_recipient_outlives_the_address() -> None:
    """After the end the address is gone, and its hash tells whose bounce comes later; erasure takes that, too."""
    machine = MessageMachine(hash_of=lambda address: address.encode()[::-1][:16])
    context = Context(Streams(), NOW)
    context.key = EntityKey(KEY)
    ended = machine.decide(_state("attempting"), _outcome("bounced"), context).state
    assert (ended.address, ended.recipient) == ("", b"gro.elpmaxe@ada")
    erased = machine.decide(_state("attempting"), Cancel("erased"), context).state
    assert (erased.address, erased.recipient) == ("", b"")


def test_an_attempt_that_the_suppression_list_stopped_ends_as_suppressed() -> None:
    """The egress found the address on the list: the law counts it as suppressed."""
    outcome = AttemptOutcome(2, "cancelled", "suppressed", text="tenant/t: complaint")
    state = _decide(_state("attempting"), outcome).state
    assert state.status == "suppressed"


def test_who_leaves_by_a_link_older_than_its_message_is_heard() -> None:
    """The message is forgotten; its token told contact, stream and topic: consent goes, contact and feed hear of it."""
    leaving = Leaving("ada", "marketing", "news")
    done = _decide(None, Returned("unsubscribed", proof="one-click", leaving=leaving))
    assert (done.state, done.place) == (None, None)
    told = [effect for effect in done.effects if isinstance(effect, Tell)]
    assert {effect.to for effect in told} == {CONTACT}
    (consent,) = (one.body for one in told if isinstance(one.body, ConsentGiven))
    assert (consent.topic, consent.granted, consent.at) == ("news", False, NOW)
    (event,) = (one.body for one in told if isinstance(one.body, Event))
    assert (event.name, data_of(event.data)["stream"]) == ("mail.unsubscribed", "marketing")
    (fed,) = (effect.body for effect in done.effects if isinstance(effect, Emit))
    assert (fed.kind, fed.contact, fed.topic, fed.final) == ("unsubscribed", "ada", "news", False)


def test_a_complaint_counts_at_the_source_that_sent_the_message() -> None:
    """The outcome tells the source, and what comes back later tells the same one."""
    sent = AttemptOutcome(2, "delivered", code=250, source="192.0.2.7")
    ended = _decide(_state("attempting"), sent)
    state = msgspec.structs.replace(ended.state, first_attempt=NOW - 1)
    came = _decide(state, Returned("complained", "complaint"))
    fed = [e.body for one in (ended, came) for e in one.effects if isinstance(e, Emit)]
    assert [(one.kind, one.source) for one in fed] == [
        ("delivered", "192.0.2.7"),
        ("complained", "192.0.2.7"),
    ]


def test_eager_readers_stand_first_where_their_stream_says_so_and_nobody_waits_longer() -> None:
    """The most eager stands a lead before its time, the others by degrees; a stream without a lead keeps its order."""
    lead = StreamPolicy(lead_ms=10_000)

    def order(eager: int, due: int = NOW, **streams: StreamPolicy) -> int:
        send = msgspec.structs.replace(_send(due=due), eager=eager)
        place = _decide(None, send, NOW, **streams).place
        assert isinstance(place, Ready)
        return place.order

    assert [order(eager, marketing=lead) for eager in (0, 3, 10)] == [
        NOW,
        NOW - 3_000,
        NOW - 10_000,
    ]
    assert order(0, NOW - 10_001, marketing=lead) < order(10, marketing=lead)
    assert order(10) == order(10, marketing=StreamPolicy()) == NOW
    early = msgspec.structs.replace(_send(due=0), eager=10)
    assert _decide(None, early, marketing=lead).place == Ready(queue_name(early, "t"), 0)


def test_an_eager_readers_retry_keeps_its_lead() -> None:
    """After a deferral it stands where it stood, and a record of before leads has none."""
    lead = StreamPolicy(lead_ms=10_000)
    state = msgspec.structs.replace(_state("scheduled"), lead=10_000, first_attempt=NOW)
    done = _decide(state, Wake(), marketing=lead)
    assert done.place == Ready(queue_name(state.send, "t"), state.created - 10_000)
    before = msgspec.msgpack.decode(msgspec.msgpack.encode(_state("ready")))[:-1]
    before[0] = before[0][:-1]
    old = msgspec.convert(before, MessageState)
    assert (old.lead, old.send.eager) == (0, 0)


def test_a_message_that_a_limit_holds_waits_for_its_turn() -> None:
    """In the agenda, without a retry counted; not beyond its end; a cancel that came meanwhile wins."""
    held = AttemptOutcome(2, "unattempted", HELD, retry_ms=60_000)
    done = _decide(_state("attempting"), held)
    assert (done.state.status, done.place, done.state.deferrals) == (
        "scheduled",
        At(NOW + 60_000),
        0,
    )
    again = _decide(done.state, Wake(), NOW + 60_000)
    assert again.place == Ready(queue_name(again.state.send, "t"), NOW + 60_000)
    far = _decide(_state("attempting"), msgspec.structs.replace(held, retry_ms=10**9))
    assert far.place == At(far.state.expires)
    assert _decide(_state("attempting", cancel="stop"), held).state.status == "cancelled"
