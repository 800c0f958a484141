"""What systems outside answer to the calls of a scenario, and pools to questions for codes, in a simulated life."""

from __future__ import annotations

__all__ = ("Heard", "code_of", "heard_of")

from collections.abc import Sequence

import msgspec

from engine.keyspace import name_of
from engine.machine import Tell
from engine.vocabulary import Call, CallAnswered
from scenarios.behaviour.acting import Actor, Answer, Doing
from scenarios.coupons import CodeGiven, TakeCode


class Heard(msgspec.Struct, frozen=True):
    """The answer to a call that comes before its time is out, and what the contact does of it; None: none comes."""

    said: str
    at: int = 0
    answer: CallAnswered | None = None
    doings: Sequence[Doing] = ()


def heard_of(call: Call, actor: Actor | None, now: int) -> Heard:
    """Let the system outside answer; where nobody acts it takes all at once."""
    answer: Answer | None = Answer(now, 200)
    doings: Sequence[Doing] = ()
    if actor is not None:
        answer, doings = actor.after_call(call, now)
    if answer is None or answer.at >= call.not_after:
        return Heard(f"{call.endpoint}: no answer")
    body = CallAnswered(
        bytes.fromhex(call.journey),
        call.step,
        call.visit,
        200 <= answer.status < 300,
        answer.status,
        dict(answer.fields),
    )
    return Heard(f"{call.endpoint}: answered {answer.status}", answer.at, body, doings)


def code_of(tell: Tell) -> CodeGiven:
    """Answer for a pool, which has any number of codes."""
    asked, pool = tell.body, name_of(tell.to).decode()
    assert isinstance(asked, TakeCode), "what is told to a pool"
    code = f"{pool}-{asked.journey.hex()[-8:]}-{asked.visit}"
    return CodeGiven(asked.journey, asked.step, asked.visit, pool, code)
