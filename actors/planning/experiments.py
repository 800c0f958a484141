"""Experiments of an instance: what is counted of them, what is decided as time passes, and their reports.

A decision is published into the catalog with a record of why, then noted here: a crash between the two repeats it.
Counts are of the feed `experiment`, once each (`actors.planning.counting`).
"""

from __future__ import annotations

__all__ = ("ArmView", "ExperimentDesk", "ExperimentList", "ExperimentView")

from pathlib import Path
from typing import Literal

import msgspec

from actors.planning.counting import Counting
from actors.planning.versions import Author, VersionDesk
from actors.simulation.intervals import Share, difference, share_of
from engine.errors import DamageError, InputError
from engine.store.catalog_files import write_durably
from scenarios.checking import load
from scenarios.experiments import Experiment, Ruling, arm_of, experiments_of, judged, needed
from scenarios.mistakes import did_you_mean
from scenarios.shares import p_value

_LOOK_MS = 5_000
BY_ITSELF = "veredus"
"""The actor on record where an experiment decided itself."""


class Said(msgspec.Struct, frozen=True):
    """Something that was decided of an experiment."""

    at: int
    what: str
    actor: str = BY_ITSELF


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an experiment stands."""

    state: Literal["running", "decided", "stopped"] = "running"
    ruling: Ruling = Ruling()
    dropped: tuple[str, ...] = ()
    full_at: int = 0
    story: list[Said] = []


class ArmView(msgspec.Struct, frozen=True):
    """One variant: its contacts, what they did, the difference to the control with its 95 % interval, p (two-sided)."""

    variant: str
    role: Literal["control", "variant", "holdout"]
    weight: int
    contacts: int
    converted: Share
    complained: int
    unsubscribed: int
    difference: tuple[float, float, float] | None = None
    p: float | None = None
    dropped: bool = False


class ExperimentView(msgspec.Struct, frozen=True):
    """An experiment and its report. `needed`: contacts each variant needs (0: no fixed plan)."""

    scenario: str
    step: str
    key: str
    state: str
    metric: str
    within_ms: int
    method: str
    needed: int
    winner: str
    arms: list[ArmView]
    story: list[Said]


class ExperimentList(msgspec.Struct, frozen=True):
    """The experiments of a tenant."""

    experiments: list[ExperimentView]


class ExperimentDesk:
    """Judges the experiments of published scenarios, by the counts of their contacts. One writer."""

    def __init__(self, data_dir: Path, versions: VersionDesk, counting: Counting) -> None:
        self._path = data_dir / "experiments.json"
        self._versions = versions
        self._counting = counting
        self._records = self._read()
        self._looked = 0
        self._known: dict[str, list[Experiment]] = {}
        self._catalog = -1

    def look(self, now: int) -> None:
        """Judge every running experiment, every few seconds."""
        if now < self._looked + _LOOK_MS:
            return
        self._looked = now
        for tenant, found in self._published().items():
            for one in found:
                if self._record(tenant, one).state == "running":
                    self._judge(tenant, one, now)

    def _judge(self, tenant: str, one: Experiment, now: int) -> None:
        record, counts = self._record(tenant, one), self._counting.experiment(tenant, one.key)
        told = judged(one, counts, record.dropped, record.ruling, record.full_at, now)
        changed = msgspec.structs.replace(
            record, state=told.state, dropped=told.dropped, full_at=told.full_at or record.full_at
        )
        if told.ruling is not None:
            story = [*record.story, Said(now, told.why)]
            changed = msgspec.structs.replace(changed, ruling=told.ruling, story=story)
            self._publish(tenant, one, told.ruling, Author(BY_ITSELF, told.why, now))
        if changed != record:
            self._keep(tenant, one, changed)

    def decide(self, tenant: str, place: str, variant: str, author: Author) -> ExperimentView:
        """Decide by hand. Raises: InputError: there is no such experiment or variant."""
        one = self._find(tenant, place)
        if variant not in one.variants:
            mend = did_you_mean(variant, one.variants) or f"there are {', '.join(one.variants)}"
            raise InputError(f"no variant {variant!r} of {place}", mend=mend)
        record = self._record(tenant, one)
        ruling = Ruling(variant)
        self._publish(tenant, one, ruling, author)
        said = Said(author.now, f"{variant}, by hand: {author.reason or 'no reason'}", author.actor)
        changed = msgspec.structs.replace(
            record, state="decided", ruling=ruling, story=[*record.story, said]
        )
        self._keep(tenant, one, changed)
        return self.view(tenant, place)

    def report(self, tenant: str) -> ExperimentList:
        """Report on all experiments of a tenant's current versions."""
        found = self._published().get(tenant, [])
        return ExperimentList([self._view(tenant, one) for one in found])

    def view(self, tenant: str, place: str) -> ExperimentView:
        """Report on one. Raises: InputError: there is none."""
        return self._view(tenant, self._find(tenant, place))

    # ---- inside

    def _published(self) -> dict[str, list[Experiment]]:
        """Give the experiments of the current versions by tenant, read once for each catalog."""
        head = self._versions.head()
        if head.version != self._catalog:
            self._known = {}
            for item in head.items:
                if item.section == "scenario":
                    text = self._versions.text(item.tenant, item.name) or ""
                    found = experiments_of(load(text, item.name))
                    self._known.setdefault(item.tenant, []).extend(found)
            self._catalog = head.version
        return self._known

    def _find(self, tenant: str, place: str) -> Experiment:
        known = {f"{one.scenario}/{one.step}": one for one in self._published().get(tenant, [])}
        if place not in known:
            mend = did_you_mean(place, known) or f"there are {', '.join(known) or 'none'}"
            raise InputError(f"there is no experiment {place[:100]!r}", mend=mend)
        return known[place]

    def _publish(self, tenant: str, one: Experiment, ruling: Ruling, author: Author) -> None:
        entry = [("experiment", one.key, msgspec.json.encode(ruling))]
        subject = f"experiment {tenant}/{one.scenario}/{one.step}"
        self._versions.put(tenant, entry, subject, "decide", author)

    def _view(self, tenant: str, one: Experiment) -> ExperimentView:
        record, counts = self._record(tenant, one), self._counting.experiment(tenant, one.key)
        control = one.tested[0] if one.tested else next(iter(one.variants))
        plan = one.deciding
        return ExperimentView(
            one.scenario,
            one.step,
            one.key,
            record.state,
            one.metric,
            one.within_ms,
            plan.method if plan is not None else "",
            needed(one),
            record.ruling.winner,
            [_arm(one, name, control, counts, record) for name in one.variants],
            record.story,
        )

    def _record(self, tenant: str, one: Experiment) -> _Record:
        return self._records.get(f"{tenant}\0{one.key}", _Record())

    def _keep(self, tenant: str, one: Experiment, record: _Record) -> None:
        self._records[f"{tenant}\0{one.key}"] = record
        write_durably(self._path, msgspec.json.encode(self._records))

    def _read(self) -> dict[str, _Record]:
        if not self._path.exists():
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Record])
        except msgspec.MsgspecError as error:
            raise DamageError(f"{self._path}: {error}") from error


def _arm(
    one: Experiment, name: str, control: str, counts: dict[str, int], record: _Record
) -> ArmView:
    mine, base = arm_of(counts, name), arm_of(counts, control)
    converted = share_of(mine.successes, mine.contacts)
    compared = name != control and mine.contacts > 0 and base.contacts > 0
    role: Literal["control", "variant", "holdout"] = "holdout" if name == one.holdout else "variant"
    return ArmView(
        name,
        "control" if name == control else role,
        (record.ruling.weights or one.variants).get(name, one.variants[name]),
        mine.contacts,
        converted,
        counts.get(f"{name}:complained", 0),
        counts.get(f"{name}:unsubscribed", 0),
        difference(converted, share_of(base.successes, base.contacts)) if compared else None,
        round(p_value(mine, base), 6) if compared else None,
        name in record.dropped,
    )
