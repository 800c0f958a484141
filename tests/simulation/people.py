"""A small honest contact machine: it takes part in the whole protocol and asserts exactly-once by itself.

An input that it has decided before, a second final word on a message, or a wake for nothing fails an assertion, which
puts the input into quarantine, where the checks find it: only inputs that are poison by design may lie there.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.ids import journey_id, message_id
from engine.keyspace import CONTACT, EntityKey, message_key, name_of, tenant_of
from engine.machine import At, Context, Effect, Record, Tell, Transition, Wake
from engine.vocabulary import Cancel, MaySend, OutcomeNotice, Permit, Refuse, Send

Deed = Literal[
    "note", "send", "wait", "refer", "poison", "deep_poison", "cancel", "erase", "suppress"
]


class Happened(msgspec.Struct, frozen=True, tag="happened", array_like=True):
    """An event of the n-th number, and what the contact is to do about it."""

    n: int
    do: Deed
    to: bytes = b""  # another contact
    delay: int = 0
    stream: str = "marketing"
    message_class: int = 2
    domain: str = "a.example"
    poison: bool = False  # what follows from it raises: the referral, the wake


class Referred(msgspec.Struct, frozen=True, tag="referred", array_like=True):
    """What one contact tells another, in a partition of its own perhaps."""

    n: int
    poison: bool = False


class Person(msgspec.Struct, frozen=True, array_like=True):
    """Everything that must be there once."""

    decided: tuple[int, ...] = ()
    referred: tuple[int, ...] = ()
    waits: tuple[tuple[int, int, bool], ...] = ()  # due, number of the event, whether it is poison
    woken: tuple[int, ...] = ()
    open: tuple[bytes, ...] = ()  # messages without a final word
    closed: tuple[bytes, ...] = ()
    permits: int = 0
    erased: bool = False
    suppressed: bool = False
    brittle: bool = False  # raises when it hears of an outcome


PersonInput = Happened | Referred | MaySend | OutcomeNotice | Wake


class Poison(Exception):
    """Raised by inputs that are poison by design, until the operator publishes a catalog in which that is mended."""


def _hurts(context: Context) -> bool:
    return not context.catalog.find("mended", "", "")


class PersonMachine:
    """Decides people."""

    kind = CONTACT
    schema = 1
    state_type: Any = Person
    input_type: Any = PersonInput

    def tally(self, state: Person) -> None:
        """People don't count in the law of messages."""

    def decide(self, state: Person | None, body: PersonInput, context: Context) -> Transition:
        """Decide one input."""
        person = state or Person()
        match body:
            case Happened():
                return _happened(person, body, context)
            case Referred():
                if body.poison and _hurts(context):
                    raise Poison("referred")
                assert body.n not in person.referred, "a Tell was decided twice"
                return _stay(msgspec.structs.replace(person, referred=(*person.referred, body.n)))
            case MaySend():
                return _may_send(person, body, context)
            case OutcomeNotice():
                return _outcome(person, body, context)
            case Wake():
                return _wake(person, context)


def _stay(person: Person, effects: tuple[Effect, ...] = ()) -> Transition:
    due = min((one[0] for one in person.waits), default=0)
    return Transition(person, At(due) if due else None, effects)


def _happened(person: Person, body: Happened, context: Context) -> Transition:
    assert body.n not in person.decided, "an event was decided twice"
    person = msgspec.structs.replace(person, decided=(*person.decided, body.n))
    record = Record("happened", {"n": body.n})
    match body.do:
        case "send":
            return _send(person, body, context)
        case "wait":
            wait = (context.now + body.delay, body.n, body.poison)
            return _stay(msgspec.structs.replace(person, waits=(*person.waits, wait)))
        case "refer":
            return _stay(person, (Tell(EntityKey(body.to), Referred(body.n, body.poison)), record))
        case "deep_poison":  # raises only after this contact was decided: all of it must be undone
            sent = _send(person, body, context)
            told = Tell(EntityKey(context.key), Referred(body.n, poison=True))
            return Transition(sent.state, sent.place, (*sent.effects, told))
        case "poison":
            if _hurts(context):
                raise Poison("event")
            return _stay(person)
        case "cancel" | "erase":
            tenant, erase = tenant_of(context.key), body.do == "erase"
            reason = "erased" if erase else "changed my mind"
            person = msgspec.structs.replace(person, erased=person.erased or erase)
            cancels = [Tell(message_key(tenant, one), Cancel(reason)) for one in person.open]
            return _stay(person, tuple(cancels))
        case "suppress":
            return _stay(msgspec.structs.replace(person, suppressed=True))
        case "note":
            brittle = person.brittle or body.poison
            return _stay(msgspec.structs.replace(person, brittle=brittle), (record,))


def _send(person: Person, body: Happened, context: Context) -> Transition:
    if person.erased:
        return _stay(person)
    journey = journey_id(context.key, "simulation", str(body.n), context.input_id)
    message = message_id(journey, "send", 1)
    send = Send(
        contact=context.key,
        template="t",
        stream=body.stream,
        domain=body.domain,
        due=context.now + body.delay,
        message_class=body.message_class,
        journey=journey,
        opened_by=context.input_id,
    )
    person = msgspec.structs.replace(person, open=(*person.open, message))
    return _stay(person, (Tell(message_key(tenant_of(context.key), message), send),))


def _may_send(person: Person, body: MaySend, context: Context) -> Transition:
    key = message_key(tenant_of(context.key), body.message_id)
    chance = context.rng(f"{body.message_id.hex()}{body.attempt}").random()
    answer: Permit | Refuse
    if person.erased:
        answer = Refuse(body.attempt, "erased")
    elif person.suppressed:
        answer = Refuse(body.attempt, "suppressed")
    elif body.attempt == 1 and chance < 0.05:
        answer = Refuse(body.attempt, "quiet_hours", context.now + 60_000)
    elif body.attempt == 1 and chance < 0.07:
        answer = Refuse(body.attempt, "no_consent")
    elif body.attempt == 1 and chance < 0.08 and _hurts(context):
        raise Poison("may send")
    else:
        answer = Permit(body.attempt, name_of(context.key).decode() + "@example", {"a": 1})
    permits = person.permits + isinstance(answer, Permit)
    return _stay(msgspec.structs.replace(person, permits=permits), (Tell(key, answer),))


def _outcome(person: Person, body: OutcomeNotice, context: Context) -> Transition:
    if person.brittle and _hurts(context):
        raise Poison("outcome")
    if not body.final:
        return _stay(person)
    assert body.message_id not in person.closed, "a message had two final words"
    left = tuple(one for one in person.open if one != body.message_id)
    closed = (*person.closed, body.message_id)
    return _stay(msgspec.structs.replace(person, open=left, closed=closed))


def _wake(person: Person, context: Context) -> Transition:
    due = [one for one in person.waits if one[0] <= context.now]
    assert due, "woken for nothing"
    if any(poison for _, _, poison in due) and _hurts(context):
        raise Poison("wake")
    left = tuple(one for one in person.waits if one[0] > context.now)
    woken = (*person.woken, *(n for _, n, _ in due))
    return _stay(msgspec.structs.replace(person, waits=left, woken=woken))
