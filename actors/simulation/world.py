"""What all lives of a simulation share, made of texts alone: catalog, machines, cast, and who serves a domain."""

from __future__ import annotations

__all__ = ("Setting", "World")

from collections.abc import Mapping
from typing import Any

import msgspec

from deliverability.message.machine import MessageMachine
from deliverability.twin.config import TwinConfig
from deliverability.twin.twin import Twin
from engine.config import Delivery
from scenarios.behaviour.acting import Cast
from scenarios.behaviour.model import Behaviour
from scenarios.compiling import CompiledScenario, compile_scenario
from scenarios.contact import ContactMachine
from scenarios.migration import Migration
from scenarios.model import Scenario, Split, Wait, walk
from scenarios.proof.coverage import Traced, traced
from scenarios.proof.rehearsal import Published
from scenarios.settings import ContactSettings
from scenarios.zones import local_time, zone_of

TENANT = "default"


class Setting(msgspec.Struct, frozen=True):
    """All that decides a simulation but the number of contacts; the same setting gives the same lives.

    `beside` are other scenarios that run too, and share caps with the one that is looked at.
    """

    scenario: Scenario
    behaviour: Behaviour
    settings: ContactSettings
    twin: TwinConfig
    seed: int = 0
    delivery: Delivery = Delivery()
    beside: tuple[Scenario, ...] = ()


class World:
    """The shared parts of one process.

    `older` and `migration`: a version that is published too, and what holds for its journeys under way.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        cast: Cast | None = None,
        older: Scenario | None = None,
        migration: Migration | None = None,
    ) -> None:
        self.setting = setting
        self.tenant = TENANT
        self.scenario = setting.scenario
        self.compiled: CompiledScenario = compile_scenario(setting.scenario)
        watched, program = traced(self.compiled)
        self.trace: Traced = program
        others = {one.name: compile_scenario(one) for one in setting.beside}
        current = {**others, setting.scenario.name: watched}
        self.catalog = (
            Published(current, setting.settings)
            if older is None
            else _Changed(current, setting.settings, compile_scenario(older), migration)
        )
        self.contacts = ContactMachine()
        self.messages = MessageMachine(setting.delivery.curve)
        self.cast = cast or Cast(setting.behaviour)
        self.at_minutes = _at_minutes(setting.scenario)
        self.metrics = _metrics(setting.scenario)
        self.step_names = {at: name for name, at in self.compiled.places.items()}
        self._twin = Twin(setting.twin)
        self._providers: dict[str, str] = {}

    def provider(self, domain: str) -> str:
        """Name who serves a domain: the provider of the twin, or the domain itself."""
        found = self._providers.get(domain)
        if found is None:
            served = self._twin.provider_of(domain)
            found = self._providers[domain] = served.name if served else domain
        return found

    def meant(self, created: int, name: str) -> str:
        """Tell for which wall time a contact's mail was meant, such as `09:00 Europe/Warsaw`; "" for none."""
        name = name or "UTC"
        zone = zone_of(name) if self.at_minutes else None
        if zone is None:
            return ""
        wall = local_time(created, zone)
        if wall.hour * 60 + wall.minute not in self.at_minutes or wall.second:
            return ""
        return f"{wall:%H:%M} {name}"


class _Changed(Published):
    """A catalog with an older version of one scenario, and how its journeys move."""

    def __init__(
        self,
        current: Mapping[str, CompiledScenario],
        settings: ContactSettings,
        older: CompiledScenario,
        migration: Migration | None,
    ) -> None:
        super().__init__(current, settings)
        self._older = older
        self._migration = migration

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Give a scenario, the older version, the migration, or the settings."""
        older = self._older
        if section == "scenario-version":
            return older if name == f"{older.name}@{older.version}" else None
        if section == "migration":
            return self._migration if name == older.name else None
        return super().find(section, tenant, name)


def _at_minutes(scenario: Scenario) -> frozenset[int]:
    """Find the wall times at which waits end: mail that is due then is meant for that time."""
    found = set()
    for step in walk(scenario.steps):
        if isinstance(step, Wait) and step.calendar is not None:
            for minute in (step.calendar.at_minute, step.calendar.from_minute):
                if minute >= 0:
                    found.add(minute)
    return frozenset(found)


def _metrics(scenario: Scenario) -> Mapping[str, tuple[str, ...]]:
    """Give the experiments' steps by the event that measures them."""
    found: dict[str, Any] = {}
    for step in walk(scenario.steps):
        if isinstance(step, Split) and step.metric:
            found.setdefault(step.metric, []).append(step.id)
    return {event: tuple(steps) for event, steps in found.items()}
