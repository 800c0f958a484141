"""Calls to systems outside: a journey stands at its `webhook` step until the answer comes, or the time is out.

The call is an entry of the feed, written with the journey that waits for it: what is posted is durable before it is
posted, and nothing is posted that wasn't decided. Its id is made of journey, step and visit, so that whoever is called
twice knows it. The answer is an input again; one that finds the journey elsewhere changes nothing.
"""

from __future__ import annotations

__all__ = ("answered", "call", "kept_of", "unanswered")

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engine.ids import call_id
from engine.keyspace import name_of
from engine.vocabulary import CALLS, Call, CallAnswered
from scenarios.program import Calling, Condition
from scenarios.state import Journey

if TYPE_CHECKING:  # acts are compiled into what a draft knows
    from scenarios.draft import Draft

_KEPT_BYTES_MAX: Final = 4_096  # of an answer: it lives in the state of the contact


def call(draft: Draft, step: Calling, journey: Journey, visit: int) -> None:
    """Put a call on the feed."""
    identity = call_id(journey.id, step.id, visit)
    draft.record(
        "webhook_called",
        journey=journey.id,
        step=step.id,
        endpoint=step.endpoint,
        call=identity,
    )
    body = Call(
        call_id=identity.hex(),
        endpoint=step.endpoint,
        contact=name_of(draft.context.key).decode(),
        scenario=journey.scenario,
        version=journey.version,
        step=step.id,
        journey=journey.id.hex(),
        visit=visit,
        at=draft.now,
        not_after=draft.now + step.timeout_ms,
        data=_data(draft, step, journey),
        keep=step.keep,
    )
    draft.emit(CALLS, body)


def _data(draft: Draft, step: Calling, journey: Journey) -> dict[str, Any]:
    """Evaluate what is posted; a field whose expression has no value is left out."""
    data: dict[str, Any] = {}
    for name, value in step.values:
        if isinstance(value, Condition):
            draft.look(value, journey, step.id)
            value = draft.value(value, step.id)  # noqa: PLW2901
            if value is None:
                continue
        data[name] = value
    return data


def answered(draft: Draft, step: Calling, journey: Journey, body: CallAnswered) -> Journey:
    """Note which way an answer leads, and keep of it what the step keeps."""
    detail: dict[str, Any] = {"branch": "taken"} if body.taken else _ELSE | {"why": "refused"}
    draft.record("branch_taken", journey=journey.id, step=step.id, status=body.status, **detail)
    return _caught(step, journey, {**kept_of(body.fields, step.keep), "status": body.status})


def unanswered(draft: Draft, step: Calling, journey: Journey) -> Journey:
    """Note that the time is out."""
    draft.record("branch_taken", journey=journey.id, step=step.id, why="timeout", **_ELSE)
    return _caught(step, journey, {"status": 0})


_ELSE: Final[dict[str, Any]] = {"branch": "else"}


def _caught(step: Calling, journey: Journey, answer: dict[str, Any]) -> Journey:
    if not step.caught:
        return journey
    return msgspec.structs.replace(journey, caught={**journey.caught, step.caught: answer})


def kept_of(answer: Mapping[str, Any], keep: tuple[str, ...]) -> dict[str, Any]:
    """Give the fields of an answer that a step keeps; those that would make them too large together are left out."""
    kept: dict[str, Any] = {}
    room = _KEPT_BYTES_MAX
    for name in keep:
        if name in answer:
            room -= len(msgspec.msgpack.encode(answer[name]))
            if room < 0:
                break
            kept[name] = answer[name]
    return kept
