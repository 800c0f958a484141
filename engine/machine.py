"""Machines: durable entities that are decided by pure functions.

A machine is one kind of entity. Its `decide` takes the entity's state (or None), one input and a context, and answers
with a `Transition`: the new state, where the entity stands from now on, and effects. It is total and deterministic: no
I/O, no clock, no randomness of its own. If it raises, the partition undoes the whole unit and puts the input into
quarantine.

    decide(state | None, input, context) -> Transition(state, place, effects)

An entity stands in at most one place at a time, which replaces whatever place it had:

- `At(due)`: in the agenda; it gets `Wake` when its time comes.
- `Ready(queue, order)`: in a ready queue, parked until somebody grants credit; it gets `Granted`.
- `Held(holder)`: handed over to a holder outside; found again by the holder's name after a crash.
- `Retired(until)`: finished; it is dropped, without another input, some time after `until`.
- None: nothing is due. It waits for inputs.
"""

from __future__ import annotations

__all__ = (
    "At",
    "Context",
    "Credit",
    "Effect",
    "Emit",
    "Granted",
    "Held",
    "Machine",
    "Place",
    "Ready",
    "Record",
    "Release",
    "Retired",
    "Stuck",
    "Tell",
    "Transition",
    "Wake",
)

import random
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from engine.keyspace import EntityKey


class At(msgspec.Struct, frozen=True, tag="at", array_like=True, gc=False):
    """In the agenda, due at a time in ms."""

    due: int


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True, gc=False):
    """Parked in a ready queue; the lowest `order` (ms: usually the due time) leaves first."""

    queue: bytes
    order: int


class Held(msgspec.Struct, frozen=True, tag="held", array_like=True, gc=False):
    """In the hands of a holder outside (an egress)."""

    holder: bytes


class Retired(msgspec.Struct, frozen=True, tag="retired", array_like=True, gc=False):
    """Finished; kept for questions until a time in ms, then dropped."""

    until: int


class Stuck(msgspec.Struct, frozen=True, tag="stuck", array_like=True, gc=False):
    """Its wake or grant went into quarantine; set by the partition alone, never by a machine."""


Place = At | Ready | Held | Retired | Stuck


class Wake(msgspec.Struct, frozen=True, tag="wake", array_like=True, gc=False):
    """The time that the entity asked for with `At` has come."""


class Credit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The right to hand over, granted by one incarnation of one holder.

    `not_after` is on the holder's own monotonic clock, in ms; nobody else may compare it with a clock.
    """

    holder: bytes
    incarnation: int
    not_after: int


class Granted(msgspec.Struct, frozen=True, tag="granted", array_like=True):
    """A credit for the queue in which the entity was parked."""

    credit: Credit


class Tell(msgspec.Struct, frozen=True, gc=False):
    """Give an input to another entity: in the same unit when it lives in this partition, else durably by outbox."""

    to: EntityKey
    body: Any  # an input of the target's machine


class Emit(msgspec.Struct, frozen=True, gc=False):
    """Put an entry on the durable feed of this store, read by cursor, in commit order."""

    channel: str
    body: Any


class Release(msgspec.Struct, frozen=True, gc=False):
    """Hand something to a holder after the sync; the durable trace of it is the entity's place `Held`."""

    holder: bytes
    body: Any


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A fact about the decision, kept with the input as it is: which version, branch, draw, and why."""

    fact: str
    detail: Mapping[str, Any] = {}


Effect = Tell | Emit | Release | Record


class Transition(msgspec.Struct, frozen=True, gc=False):
    """What was decided. `state` None means: there is no such entity (any more)."""

    state: Any
    place: Place | None = None
    effects: tuple[Effect, ...] | list[Effect] = ()


class CatalogView(Protocol):
    """What a machine may ask of the catalog: things published, immutable, by section, tenant and name."""

    version: int

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Give the compiled object, or None when nothing of that name is published."""

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        """Give all of a tenant's section, by name."""


class Context:
    """What a decision may know beside state and input. One object is used again for all inputs of a tick."""

    __slots__ = ("catalog", "input_id", "key", "now")

    def __init__(self, catalog: CatalogView, now: int = 0) -> None:
        self.catalog = catalog
        self.now = now  # ms, never goes back within a partition
        self.key = EntityKey(b"")
        self.input_id = b""  # id of the input that opened the unit

    def rng(self, name: str) -> random.Random:
        """Give a generator seeded from entity, input and the name of the use, so that draws don't shift each other."""
        seed = blake2b(b"\0".join((self.key, self.input_id, name.encode())), digest_size=8)
        return random.Random(int.from_bytes(seed.digest()))  # noqa: S311 -- reproducible by design


class Machine(Protocol):
    """One kind of entity. `state_type` and `input_type` are what is decoded from disk and from other partitions."""

    kind: int
    schema: int  # version of the state's form, kept in each record's envelope
    state_type: Any
    input_type: Any

    def decide(self, state: Any, body: Any, context: Context) -> Transition:
        """Decide one input. Total and deterministic."""

    def tally(self, state: Any) -> tuple[str, str] | None:
        """Tell under which (stream, bucket) of the conservation law the entity counts; None: it doesn't count."""
