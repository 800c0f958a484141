"""A tiny world for contact machines: a catalog, an agenda in memory, and messages that are noted, not sent."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from typing import Any

from engine.keyspace import EntityKey, contact_key, name_of
from engine.machine import At, Context, Emit, Record, Tell, Transition, Wake
from engine.vocabulary import Send
from scenarios.checking import load
from scenarios.compiling import CompiledScenario, compile_scenario
from scenarios.contact import ContactMachine
from scenarios.migration import Migration
from scenarios.segments import compile_segment, load_segment
from scenarios.state import Contact


class Catalog:
    """Published scenarios and settings, for every tenant the same."""

    def __init__(self, *texts: str, **settings: Any) -> None:
        self.version = 1
        self.settings = settings
        self.migrations: dict[str, Migration] = {}
        self._current: dict[str, CompiledScenario] = {}
        self._versions: dict[str, CompiledScenario] = {}
        self.others: dict[str, dict[str, Any]] = {}
        for text in texts:
            self.publish(text)

    def publish(self, text: str) -> CompiledScenario:
        compiled = compile_scenario(load(text))
        self._current = {**self._current, compiled.name: compiled}
        self._versions[f"{compiled.name}@{compiled.version}"] = compiled
        self.version += 1
        return compiled

    def forget(self) -> None:
        """Lose everything that was published."""
        self._current, self._versions = {}, {}
        self.version += 1

    def find(self, section: str, tenant: str, name: str) -> Any:
        if section == "scenario-version":
            return self._versions.get(name)
        if section == "scenario":
            return self._current.get(name)
        if section == "migration":
            return self.migrations.get(name)
        return self.settings.get(name) if section == "setting" else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        return self._current if section == "scenario" else self.others.get(section, {})

    def put(self, section: str, name: str, value: Any) -> None:
        """Publish something of another section."""
        self.others.setdefault(section, {})[name] = value
        self.version += 1

    def segment(self, name: str, when: str) -> None:
        """Publish a segment."""
        text = f"segment: {name}\nwhen: {json.dumps(when)}\n"
        self.put("segment", name, compile_segment(load_segment(text)))


class World:
    """Runs contacts: inputs by hand, wakes in order of time as the clock is moved."""

    def __init__(self, *texts: str, **settings: Any) -> None:
        self.catalog = Catalog(*texts, **settings)
        self.machine = ContactMachine()
        self.context = Context(self.catalog)
        self.states: dict[EntityKey, Contact | None] = {}
        self.places: dict[EntityKey, Any] = {}
        self.agenda: list[tuple[int, EntityKey]] = []
        self.sent: list[tuple[int, str, bytes, Send]] = []
        self.told: list[Tell] = []
        self.records: list[Record] = []
        self.emitted: list[Emit] = []
        self.now = 0
        self.inputs = 0
        self.transitions = 0

    def give(self, contact: str, body: Any, tenant: str = "t") -> Transition:
        """Give one input now."""
        return self._decide(contact_key(tenant, contact), body)

    def _decide(self, key: EntityKey, body: Any) -> Transition:
        self.inputs += 1
        self.transitions += 1
        self.context.now, self.context.key = self.now, key
        self.context.input_id = self.inputs.to_bytes(16)
        transition = self.machine.decide(self.states.get(key), body, self.context)
        self.states[key] = transition.state
        self.places[key] = transition.place
        if isinstance(transition.place, At):
            heapq.heappush(self.agenda, (transition.place.due, key))
        for effect in transition.effects:
            if isinstance(effect, Record):
                self.records.append(effect)
            elif isinstance(effect, Emit):
                self.emitted.append(effect)
            elif isinstance(effect, Tell):
                self.told.append(effect)
                if isinstance(effect.body, Send):
                    contact = name_of(effect.body.contact).decode()
                    self.sent.append((self.now, contact, name_of(effect.to), effect.body))
        return transition

    def until(self, now: int) -> None:
        """Move the clock; whatever is due at or before `now` wakes on the way."""
        while self.agenda and self.agenda[0][0] <= now:
            due, key = heapq.heappop(self.agenda)
            if self.places.get(key) == At(due):
                self.now = max(self.now, due)
                self._decide(key, Wake())
        self.now = max(self.now, now)

    def drain(self) -> None:
        """Move the clock until nothing is due."""
        while self.agenda:
            self.until(self.agenda[0][0])

    def contact(self, contact: str, tenant: str = "t") -> Contact:
        state = self.states[contact_key(tenant, contact)]
        assert state is not None
        return state

    def facts(self, fact: str) -> list[Mapping[str, Any]]:
        return [record.detail for record in self.records if record.fact == fact]
