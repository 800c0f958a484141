"""A small machine for kernel tests: people that count, wait and are told; poison raises until it is mended."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.entities import Machines
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import CONTACT, MESSAGE, EntityKey, Keyspace, contact_key
from engine.machine import At, Context, Place, Tell, Transition, Wake
from engine.store.protocol import Store
from engine.tick import HostSettings, Released, TickInputs


class Do(msgspec.Struct, frozen=True, tag="do", array_like=True):
    what: str
    to: bytes = b""
    due: int = 0


class Person(msgspec.Struct, frozen=True, array_like=True):
    done: tuple[str, ...] = ()
    woken: int = 0


class PersonMachine:
    kind = CONTACT
    schema = 1
    state_type: Any = Person
    input_type: Any = Do | Wake

    def __init__(self) -> None:
        self.poisonous = True

    def decide(self, state: Person | None, body: Do | Wake, context: Context) -> Transition:
        state = state or Person()
        if isinstance(body, Wake):
            if self.poisonous and "poisoned wake" in state.done:
                raise ValueError("a bad wake")
            return Transition(Person(state.done, state.woken + 1))
        if body.what == "poison" and self.poisonous:
            raise ValueError("a bad input")
        if body.what == "worse poison":
            raise ValueError(f"it stays bad at {context.now}")
        place: Place | None = At(body.due) if body.due else None
        tells = (Tell(EntityKey(body.to), Do(f"told {body.what}")),) if body.to else ()
        return Transition(Person((*state.done, body.what), state.woken), place, tells)

    def tally(self, state: Person) -> tuple[str, str] | None:
        return None


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    stream: str
    bucket: str


class ParcelMachine:
    """Counts in the law, as messages do; every third parcel can't be decided any further."""

    kind = MESSAGE
    schema = 1
    state_type: Any = Parcel
    input_type: Any = Do | Wake

    def __init__(self) -> None:
        self.jammed = False

    def decide(self, state: Parcel | None, body: Do | Wake, context: Context) -> Transition:
        if self.jammed:
            raise ValueError("jammed")
        if state is None:
            return Transition(Parcel("marketing", "queued"), At(context.now + 10))
        if isinstance(body, Do) and body.what == "bad wake":
            return Transition(Parcel("bad", state.bucket), At(context.now + 10))
        if state.stream == "bad":
            raise ValueError("this parcel is bad")
        return Transition(Parcel(state.stream, "delivered"))

    def tally(self, state: Parcel) -> tuple[str, str]:
        return "marketing", state.bucket


class NoCatalog:
    version = 0

    def find(self, section: str, tenant: str, name: str) -> Any:
        return None

    def all(self, section: str, tenant: str) -> dict[str, Any]:
        return {}


class People:
    """A host over a store, with a clock."""

    def __init__(self, store: Store, partitions: int = 4, batch_max: int = 1000) -> None:
        self.machine = PersonMachine()
        self.parcels = ParcelMachine()
        self.machines = Machines((self.machine, self.parcels))
        self.keyspace = Keyspace(partitions)
        self.now = 1_000_000
        self.settings = HostSettings(batch_max=batch_max)
        self.store = store
        self.host = self.opened()
        self._ids = 0

    @staticmethod
    def machines_only() -> Machines:
        return Machines((PersonMachine(), ParcelMachine()))

    def opened(self) -> Host:
        numbers = range(self.keyspace.partitions)
        return Host(self.store, self.machines, self.keyspace, NoCatalog(), numbers, self.settings)

    def arrival(self, name: str, body: Do) -> Arrival:
        self._ids += 1
        return Arrival(contact_key("default", name), body, b"%d" % self._ids)

    def tick(self, inputs: TickInputs | None = None, **lists: Any) -> Released:
        self.now += 1
        made = inputs or TickInputs(**lists)
        released = self.host.tick(self.now, made)
        follow = TickInputs(delivers=released.tells, confirms=released.confirms)
        if follow.delivers or follow.confirms:
            self.tick(follow)
        return released

    def do(self, name: str, what: str, **more: Any) -> str:
        return self.tick(arrivals=[self.arrival(name, Do(what, **more))]).verdicts[0]

    def person(self, name: str) -> Person | None:
        state, _ = self.host.entry(contact_key("default", name))
        assert state is None or isinstance(state, Person)
        return state

    def quarantined(self) -> list[tuple[int, int, str]]:
        return [
            (partition.number, number, held.reason)
            for partition in self.host.partitions.values()
            for number, held in partition.quarantine.listed()
        ]
