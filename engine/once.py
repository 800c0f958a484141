"""Idempotency keys: a control entity that tells its target once, whoever asks how often.

A key belongs to a tenant and is placed by its own name, so that a repetition with another recipient meets the same
entity and is seen as the conflict it is. The first request tells the contact's partition; every later one changes
nothing, and the asker compares the digest that the entity holds with its own.
"""

from __future__ import annotations

__all__ = ("Once", "OnceMachine", "OnceState")

import msgspec

from engine.keyspace import IDEMPOTENCY, EntityKey
from engine.machine import Context, Record, Retired, Tell, Transition
from engine.vocabulary import SendDirect

KEPT_MS = 7 * 24 * 3_600_000


class Once(msgspec.Struct, frozen=True, tag="once", array_like=True):
    """Ask for a message under a key. `digest` is of all that was asked for, the recipient included."""

    digest: bytes
    to: bytes  # the contact's key
    body: SendDirect


class OnceState(msgspec.Struct, frozen=True, array_like=True):
    """What the first request under a key asked for."""

    digest: bytes
    message_id: bytes
    at: int


class OnceMachine:
    """Decides idempotency keys."""

    kind = IDEMPOTENCY
    schema = 1
    state_type = OnceState
    input_type = Once

    def decide(self, state: OnceState | None, body: Once, context: Context) -> Transition:
        """Tell the contact on the first request; later ones leave everything as it is."""
        if state is not None:
            what = "repeated_request" if state.digest == body.digest else "conflicting_request"
            return Transition(state, Retired(state.at + KEPT_MS), (Record(what),))
        state = OnceState(body.digest, body.body.message_id, context.now)
        tell = Tell(EntityKey(body.to), body.body)
        return Transition(state, Retired(context.now + KEPT_MS), (tell,))

    def tally(self, state: OnceState) -> None:
        """Idempotency keys don't count as messages."""
        del state
