"""What instructions do: each becomes a function of the walk, made once for a version of a scenario.

A hot path (bench/ `scenarios`: 1 to 2 µs an act): whatever doesn't depend on the contact is worked out here, not there.
A new kind of step is an instruction (`scenarios.program`), its layout (`scenarios.compiling`), and an act here.
"""

from __future__ import annotations

__all__ = ("acts_of",)

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from engine.machine import Record
from engine.vocabulary import CallAnswered
from scenarios.calls import answered, call
from scenarios.coupons import CodeGiven
from scenarios.doing import do
from scenarios.migration import moved
from scenarios.products import find
from scenarios.program import (
    Branching,
    Calling,
    Condition,
    Doing,
    Ending,
    Finding,
    Instruction,
    Listening,
    Looping,
    Sending,
    Splitting,
    Taking,
    Updating,
    Waiting,
)
from scenarios.sending import send_message
from scenarios.state import Journey, Loop
from scenarios.taking import take, taken
from scenarios.trials import assign
from scenarios.waits import due_of, earlier_event, stand
from scenarios.walk import OVER, Act, Walk

if TYPE_CHECKING:  # a draft knows compiled scenarios
    from scenarios.draft import Draft


def acts_of(program: Sequence[Instruction], looped: frozenset[str]) -> tuple[Act, ...]:
    """Make the acts of a program, by position. `looped`: ids of the steps within loops, whose visits are counted."""
    return tuple(_act(step, looped) for step in program)


def _act(step: Instruction, looped: frozenset[str]) -> Act:
    match step:
        case Waiting() if step.calendar is None:
            return _waiting(step, step.id in looped)
        case Waiting():
            return _waiting_by_calendar(step, step.id in looped)
        case Listening():
            return _listening(step, step.id in looped)
        case Calling():
            return _calling(step, step.id in looped)
        case Taking():
            return _taking(step, step.id in looped)
        case Branching():
            return _branching(step)
        case Splitting():
            return _splitting(step)
        case Looping():
            return _looping(step)
        case Sending():
            return _sending(step, step.id in looped)
        case Updating():
            return _updating(step)
        case Doing():
            return _doing(step)
        case Finding():
            return _finding(step)
        case Ending(reason=reason):
            return lambda walk: walk.end(reason)
        case _:
            assert_never(step)


# ---- standing


def _visit(walk: Walk, step: str) -> int:
    """Count the visit of a step within a loop."""
    journey = walk.journey
    visit = journey.visits.get(step, 0) + 1
    walk.journey = msgspec.structs.replace(journey, visits={**journey.visits, step: visit})
    return visit


def _move(walk: Walk, step: str) -> int | None:
    """Let a journey that reaches a waiting step go on in a newer version, where that was chosen.

    Gives what came of it, or None where it stays.
    """
    draft, journey = walk.draft, walk.journey
    heir = draft.view.successor(journey)
    if heir is None:
        return None
    compiled, places = heir
    found = moved(step, compiled, places).step
    if found is None:
        return walk.end("step_removed")
    draft.record(
        "journey_moved",
        journey=journey.id,
        scenario=journey.scenario,
        before=journey.version,
        after=compiled.version,
        step=found.id,
    )
    walk.compiled = compiled
    walk.journey = msgspec.structs.replace(journey, version=compiled.version)
    return compiled.acts[compiled.places[found.id]](walk)


def _waiting(step: Waiting, in_loop: bool) -> Act:
    identity, duration_ms = step.id, step.duration_ms

    def wait(walk: Walk) -> int:
        draft = walk.draft
        if walk.compiled is not draft.view.current.get(walk.compiled.name):
            went = _move(walk, identity)
            if went is not None:
                return went
        visit = _visit(walk, identity) if in_loop else 1
        walk.journey = stand(draft, walk.journey, identity, visit, draft.now + duration_ms)
        return OVER

    return wait


def _waiting_by_calendar(step: Waiting, in_loop: bool) -> Act:
    identity = step.id
    assert step.calendar is not None
    ends = step.calendar.past == "end"

    def wait(walk: Walk) -> int:
        draft = walk.draft
        if walk.compiled is not draft.view.current.get(walk.compiled.name):
            went = _move(walk, identity)
            if went is not None:
                return went
        visit = _visit(walk, identity) if in_loop else 1
        due = due_of(draft, step, walk.journey, draft.now)
        if due is None:
            return walk.end("no_date")
        if due < draft.now and ends:
            return walk.end("date_past")
        if due <= draft.now:
            return step.next
        walk.journey = stand(draft, walk.journey, identity, visit, due)
        return OVER

    return wait


def _listening(step: Listening, in_loop: bool) -> Act:
    identity, timeout_ms = step.id, step.timeout_ms

    def listen(walk: Walk) -> int:
        draft = walk.draft
        if walk.compiled is not draft.view.current.get(walk.compiled.name):
            went = _move(walk, identity)
            if went is not None:
                return went
        visit = _visit(walk, identity) if in_loop else 1
        if step.look_back_ms:
            found = earlier_event(draft, step, walk.journey)
            if found is not None:
                walk.journey, position = found
                return position
        due = draft.now + timeout_ms if timeout_ms else 0
        walk.journey = stand(draft, walk.journey, identity, visit, due)
        return OVER

    return listen


def _calling(step: Calling, in_loop: bool) -> Act:
    identity, timeout_ms = step.id, step.timeout_ms

    def call_out(walk: Walk) -> int:
        draft = walk.draft
        if walk.compiled is not draft.view.current.get(walk.compiled.name):
            went = _move(walk, identity)
            if went is not None:
                return went
        visit = _visit(walk, identity) if in_loop else 1
        if draft.view.settings.webhooks == "assumed":
            assumed = CallAnswered(walk.journey.id, identity, visit, taken=True, status=200)
            draft.record("webhook_called", journey=walk.journey.id, step=identity, assumed=True)
            walk.journey = answered(draft, step, walk.journey, assumed)
            return step.next
        call(draft, step, walk.journey, visit)
        walk.journey = stand(draft, walk.journey, identity, visit, draft.now + timeout_ms)
        return OVER

    return call_out


def _taking(step: Taking, in_loop: bool) -> Act:
    identity, timeout_ms = step.id, step.timeout_ms

    def take_code(walk: Walk) -> int:
        draft = walk.draft
        if walk.compiled is not draft.view.current.get(walk.compiled.name):
            went = _move(walk, identity)
            if went is not None:
                return went
        visit = _visit(walk, identity) if in_loop else 1
        if draft.view.settings.webhooks == "assumed":
            given = CodeGiven(walk.journey.id, identity, visit, step.pool, f"{step.pool}-code")
            draft.record("code_asked", journey=walk.journey.id, step=identity, assumed=True)
            walk.journey = taken(draft, step, walk.journey, given)
            return step.next
        take(draft, step, walk.journey, visit)
        walk.journey = stand(draft, walk.journey, identity, visit, draft.now + timeout_ms)
        return OVER

    return take_code


# ---- branching


def _branching(step: Branching) -> Act:
    identity, otherwise = step.id, step.otherwise

    def branch(walk: Walk) -> int:
        draft, journey = walk.draft, walk.journey
        values: dict[str, Any] = {}
        taken, position = "else", otherwise
        for condition, way, name in step.ways:
            draft.look(condition, journey, identity)
            draft.values_of(condition, values)
            if draft.holds(condition, identity):
                taken, position = name, way
                break
        draft.effects.append(
            Record(
                "branch_taken",
                {"journey": journey.id, "step": identity, "branch": taken, "values": values},
            )
        )
        return position

    return branch


def _splitting(step: Splitting) -> Act:
    """Draw by a hash of contact and salt, so that retries, replays and other runs agree."""
    key, total, is_experiment = step.hash_key, step.bounds[-1], bool(step.key)

    def split(walk: Walk) -> int:
        draft = walk.draft
        if is_experiment:
            at, draw = assign(draft, step)
        else:
            digest = blake2b(draft.context.key, key=key, digest_size=8).digest()
            draw = int.from_bytes(digest) % total
            at = bisect_right(step.bounds, draw)
        draft.record(
            "variant_drawn",
            journey=walk.journey.id,
            step=step.id,
            variant=step.names[at],
            draw=draw,
            experiment=is_experiment,
        )
        return step.targets[at]

    return split


def _looping(step: Looping) -> Act:
    def loop(walk: Walk) -> int:
        """Begin the body once more, or leave the loop."""
        draft, journey = walk.draft, walk.journey
        stood = journey.loops.get(step.id)
        if stood is None:
            stood = Loop(0, _items(draft, step, journey))
        more = len(stood.items) if step.items is not None else step.limit
        again = stood.begun < more
        if again and step.condition is not None:
            draft.look(step.condition, journey, step.id)
            again = draft.holds(step.condition, step.id)
        loops = {name: one for name, one in journey.loops.items() if name != step.id}
        if not again:
            walk.journey = msgspec.structs.replace(journey, loops=loops)
            return step.next
        loops[step.id] = Loop(stood.begun + 1, stood.items)
        kept = journey.caught
        if step.variable:
            kept = {**kept, step.variable: stood.items[stood.begun]}
        walk.journey = msgspec.structs.replace(journey, loops=loops, caught=kept)
        return step.body

    return loop


def _items(draft: Draft, step: Looping, journey: Journey) -> list[Any]:
    """Evaluate the list of a `for_each`; what is no list has no items."""
    if step.items is None:
        return []
    draft.look(step.items, journey, step.id)
    value = draft.value(step.items, step.id)
    items = list(value) if isinstance(value, (list, tuple)) else []
    if len(items) > step.limit:
        draft.record("items_dropped", journey=journey.id, step=step.id, items=len(items))
    return items[: step.limit]


# ---- doing


def _sending(step: Sending, in_loop: bool) -> Act:
    send, identity, onward = step.send, step.id, step.next

    def act(walk: Walk) -> int:
        visit = _visit(walk, identity) if in_loop else 1
        send_message(walk.draft, send, walk.journey, visit, walk.meant)
        return onward

    return act


def _updating(step: Updating) -> Act:
    def update(walk: Walk) -> int:
        """Set attributes; where an expression has no value, the attribute stays as it is."""
        draft = walk.draft
        for name, value in step.values:
            if isinstance(value, Condition):
                draft.look(value, walk.journey, step.id)
                value = draft.value(value, step.id)  # noqa: PLW2901
                if value is None:
                    continue
            draft.set_attribute(name, value)
        return step.next

    return update


def _doing(step: Doing) -> Act:
    def act(walk: Walk) -> int:
        do(walk.draft, step.step, walk.journey)
        walk.draft.data = walk.journey.event
        return step.next

    return act


def _finding(step: Finding) -> Act:
    identity, name, onward, otherwise = step.id, step.caught, step.next, step.otherwise

    def look_up(walk: Walk) -> int:
        """Look rows up as the list is now, and keep them; of the keys only how many is on record, rows are large."""
        draft, journey = walk.draft, walk.journey
        draft.look(step.keys, journey, identity)
        products = draft.view.products.get(step.source)
        found = find(products, draft.value(step.keys, identity), step.limit, step.instead)
        told = {"rows": len(found.rows), "absent": found.absent, "instead": found.instead}
        why = {} if products is not None else {"why": "no_list"}
        branch = "found" if found.rows else "else"
        draft.record(
            "branch_taken", journey=journey.id, step=identity, branch=branch, values=told, **why
        )
        if not found.rows:
            return otherwise
        kept = {**journey.caught, name: found.rows}
        walk.journey = msgspec.structs.replace(journey, caught=kept)
        return onward

    return look_up
