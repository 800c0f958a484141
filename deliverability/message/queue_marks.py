"""What the marks on its queue (`deliverability.marks`) do to a message: it ends, waits elsewhere, or goes on."""

from __future__ import annotations

__all__ = ("awaits_marks", "is_concerned", "marks_of", "put_under_marks")

import msgspec

from deliverability.marks import MARKS, SECTION, Mark, Marks, looked
from deliverability.message.ending import finish
from deliverability.message.places import place_of
from deliverability.message.state import WAITING, MessageState
from engine.keyspace import tenant_of
from engine.machine import Context, Transition


def marks_of(context: Context) -> Marks | None:
    """Find the marks that are in force in the message's tenant."""
    found = context.catalog.find(SECTION, tenant_of(context.key), MARKS)
    return found if isinstance(found, Marks) else None


def put_under_marks(done: Transition, context: Context) -> Transition:
    """Let the marks in force have their effect on a message that would wait: it ends, waits elsewhere, or goes on."""
    state: MessageState | None = done.state
    if state is None or state.status not in WAITING:
        return done
    marks = marks_of(context)
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
    return Transition(state, place_of(state, context.key), done.effects)


def _ended_by(mark: Mark, state: MessageState, context: Context) -> Transition:
    reason = mark.reason or f"queue_{mark.action}"
    match mark.action:
        case "bounce":
            return finish(state, "bounced", context, "bounced", reason=reason)
        case "expire":
            return finish(state, "expired", context, "expired", reason=reason)
        case _:
            return finish(state, "cancelled", context, "cancelled", reason=reason)


def is_concerned(state: MessageState, marks: Marks) -> bool:
    """Tell whether a look at the marks would change something: what the sweep asks before it gives a turn."""
    if state.status not in (*WAITING, "attempting", "in_doubt"):
        return False
    found = looked(marks, state.send, state.generation, state.rerouted)
    if (
        state.status == "in_doubt"
    ):  # it may have arrived, so it can't end; but it isn't sent again either
        return found.end is not None and not state.cancel
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
