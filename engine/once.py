"""Idempotency keys: a control entity that tells its targets once, whoever asks how often.

A key belongs to a tenant and is placed by its own name, so that a repetition with another recipient meets the same
entity and is seen as the conflict it is. The first request tells the contacts' partitions; every later one changes
nothing, and the asker compares the digest that the entity holds with its own.

A request may have many recipients (a batch item, a mail transaction): the entity then holds what it hasn't told yet,
and tells `TOLD_AT_ONCE` of them a unit, so that no unit is larger than the kernel's bound however many there are. Once
the first of it is durable the rest follows by itself, over any crash.
"""

from __future__ import annotations

__all__ = (
    "KEPT_MS",
    "TOLD_AT_ONCE",
    "Addressed",
    "Once",
    "OnceInput",
    "OnceMachine",
    "OnceState",
    "Several",
)

from typing import assert_never

import msgspec

from engine.ids import derive
from engine.keyspace import IDEMPOTENCY, EntityKey
from engine.machine import At, Context, Record, Retired, Tell, Transition, Wake
from engine.vocabulary import SendDirect

KEPT_MS = 7 * 24 * 3_600_000
TOLD_AT_ONCE = 50
"""Recipients told in one unit: each is up to four decisions, of the 256 that a unit may have."""


class Once(msgspec.Struct, frozen=True, tag="once", array_like=True):
    """Ask for a message under a key. `digest` is of all that was asked for, the recipient included."""

    digest: bytes
    to: bytes  # the contact's key
    body: SendDirect


class Addressed(msgspec.Struct, frozen=True, array_like=True):
    """A message for one contact."""

    to: bytes  # the contact's key
    body: SendDirect


class Several(msgspec.Struct, frozen=True, tag="several", array_like=True):
    """Ask for the messages of one request under a key.

    `repeat_ms`: how long the same request is taken for a repetition; 0: as long as the key is kept. Later it stands
    for another one, with messages of its own: for requests that are recognised by their content alone.
    """

    digest: bytes
    items: tuple[Addressed, ...]
    repeat_ms: int = 0


OnceInput = Once | Several | Wake


class OnceState(msgspec.Struct, frozen=True, array_like=True):
    """What the first request under a key asked for. Fields are only ever appended."""

    digest: bytes
    message_id: bytes
    at: int
    message_ids: tuple[bytes, ...] = ()  # of all recipients, in order, where there are several
    untold: tuple[Addressed, ...] = ()
    repeat_ms: int = 0
    round: int = 0  # how often the key stood for another request before


class OnceMachine:
    """Decides idempotency keys."""

    kind = IDEMPOTENCY
    schema = 1
    state_type = OnceState
    input_type = OnceInput

    def decide(self, state: OnceState | None, body: OnceInput, context: Context) -> Transition:
        """Tell the contacts on the first request; later ones leave everything as it is."""
        match body:
            case Wake():
                if state is None:
                    return Transition(None)
                return _tell(state, context)
            case Once():
                asked = Several(body.digest, (Addressed(body.to, body.body),))
            case Several():
                asked = body
            case _:
                assert_never(body)
        if state is None:
            return _begin(asked, 0, context)
        if state.digest != asked.digest:
            return _stay(state, "conflicting_request")
        if state.repeat_ms and context.now - state.at > state.repeat_ms and not state.untold:
            return _begin(asked, state.round + 1, context)
        return _stay(state, "repeated_request")

    def tally(self, state: OnceState) -> None:
        """Idempotency keys don't count as messages."""
        del state


def _begin(asked: Several, number: int, context: Context) -> Transition:
    items = tuple(_again(item, number) for item in asked.items) if number else asked.items
    ids = tuple(item.body.message_id for item in items)
    first, more = ids[0] if ids else b"", ids if len(ids) > 1 else ()
    state = OnceState(asked.digest, first, context.now, more, items, asked.repeat_ms, round=number)
    return _tell(state, context)


def _again(item: Addressed, number: int) -> Addressed:
    """Give a message of a later round an id of its own."""
    identity = derive(item.body.message_id, b"round", item.body.message_id, str(number))
    return Addressed(item.to, msgspec.structs.replace(item.body, message_id=identity))


def _tell(state: OnceState, context: Context) -> Transition:
    """Tell the next contacts; the entity wakes itself while there are more."""
    now, rest = state.untold[:TOLD_AT_ONCE], state.untold[TOLD_AT_ONCE:]
    tells = tuple(Tell(EntityKey(item.to), item.body) for item in now)
    state = msgspec.structs.replace(state, untold=rest)
    place = At(context.now + 1) if rest else _kept(state)
    return Transition(state, place, tells)


def _kept(state: OnceState) -> Retired:
    return Retired(state.at + KEPT_MS)


def _stay(state: OnceState, what: str) -> Transition:
    """Change nothing. What is still to be told keeps its turn."""
    if state.untold:
        # its place has to be named, and only the turn itself knows which time it was: the next instant does as well
        return Transition(state, At(state.at + 1), (Record(what),))
    return Transition(state, _kept(state), (Record(what),))
