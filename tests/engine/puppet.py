"""A machine that does what its inputs say, and the smallest surroundings for partitions and hosts in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.entities import Machines
from engine.host import Host
from engine.inputs import Arrival, PartitionSettings
from engine.keyspace import EntityKey, Keyspace, control_key
from engine.machine import (
    At,
    Context,
    Effect,
    Emit,
    Granted,
    Held,
    Place,
    Record,
    Release,
    Tell,
    Transition,
    Wake,
)
from engine.store.memory import MemoryStore
from engine.store.protocol import Store
from engine.tick import HostSettings, Released, TickInputs

PUPPET = 0x70  # p
HORIZON = 1_000_000


class Do(msgspec.Struct, frozen=True, tag="do", array_like=True):
    """Add a number; stand somewhere; tell, emit; fail at the end."""

    add: int = 0
    place: Place | None = None
    tells: tuple[tuple[bytes, Do], ...] = ()
    emit: str = ""
    bucket: str = ""
    fail: bool = False
    gone: bool = False
    then: Do | None = None  # what a wake or a grant does


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """What a puppet has counted, and where it stands in the law ("": nowhere)."""

    total: int = 0
    bucket: str = ""
    decided: int = 0
    last: int = 0
    then: Do | None = None


class Puppet:
    """Decides puppets."""

    kind = PUPPET
    schema = 3
    state_type: Any = Sum
    input_type: Any = Do | Wake | Granted

    def decide(self, state: Sum | None, body: Do | Wake | Granted, context: Context) -> Transition:
        """Do as told."""
        was = state or Sum()
        do = body if isinstance(body, Do) else was.then or Do()
        told: list[Effect] = [Tell(EntityKey(to), told) for to, told in do.tells]
        if do.fail:
            raise ValueError("told to fail")
        if do.gone:
            return Transition(None, None, told)
        draw = context.rng("draw").randrange(1000)
        now = Sum(
            was.total + do.add, do.bucket or was.bucket, was.decided + 1, context.now, do.then
        )
        effects: list[Effect] = [*told, Record("decided", {"draw": draw, "total": now.total})]
        if do.emit:
            effects.append(Emit("test", {"say": do.emit}))
        place = do.place
        if isinstance(body, Granted):
            place = do.place or Held(body.credit.holder)
            effects.append(Release(body.credit.holder, context.key))
        return Transition(now, place, effects)

    def tally(self, state: Sum) -> tuple[str, str] | None:
        """Count under its bucket."""
        return ("stream", state.bucket) if state.bucket else None


class NoCatalog:
    """Nothing is published."""

    version = 0

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Find nothing."""

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        """Give nothing."""
        return {}


def key(name: str, tenant: str = "t") -> EntityKey:
    """Name a puppet."""
    return control_key(PUPPET, tenant, name)


def keys_in(partition: int, keyspace: Keyspace, number: int) -> list[EntityKey]:
    """Name puppets of one partition."""
    found: list[EntityKey] = []
    n = 0
    while len(found) < number:
        one = key(f"p{n}")
        if keyspace.partition(one) == partition:
            found.append(one)
        n += 1
    return found


def host_on(
    store: Store | None = None,
    partitions: int = 4,
    numbers: Iterable[int] | None = None,
    settings: HostSettings | None = None,
    machines: Machines | None = None,
) -> Host:
    """Make a host of puppets."""
    keyspace = Keyspace(partitions)
    return Host(
        store if store is not None else MemoryStore(),
        machines or Machines((Puppet(),)),
        keyspace,
        NoCatalog(),
        numbers if numbers is not None else range(partitions),
        settings or HostSettings(partition=PartitionSettings(horizon_ms=HORIZON)),
    )


def arrival(to: EntityKey, do: Do, n: int, at: int = 0, *, historical: bool = False) -> Arrival:
    """Make an input from outside."""
    return Arrival(to, do, n.to_bytes(8), at, historical=historical)


def tick(host: Host, now: int, *arrivals: Arrival, **more: Any) -> Released:
    """Tick once."""
    return host.tick(now, TickInputs(arrivals=list(arrivals), **more))


def total(host: Host, of: EntityKey) -> int:
    """Tell what a puppet has counted."""
    state = host.entry(of)[0]
    return state.total if state is not None else 0


def due(at: int, **more: Any) -> Do:
    """Do, and stand in the agenda."""
    return Do(place=At(at), **more)
