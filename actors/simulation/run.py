"""Run a simulation from files to report: the only part that reads files and starts processes."""

from __future__ import annotations

__all__ = (
    "TALES",
    "Options",
    "beside",
    "read_setting",
    "simulate",
    "simulate_change",
    "write_trace",
)

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.simulation.change import Change, Rehearsal, live_changed
from actors.simulation.change_report import ChangeReport, Tale, make_change_report
from actors.simulation.counting import Tally
from actors.simulation.crowds import Known, live_in_crowds
from actors.simulation.life import Life
from actors.simulation.report import Report, make_report
from actors.simulation.solo import contact_name, live_alone, live_told
from actors.simulation.world import Setting, World
from actors.text_file import read_text
from deliverability.twin.config import TwinConfig
from deliverability.twin.presets import mixed, parse_with_presets
from deliverability.warmup.plan import WarmupOptions
from deliverability.warmup.plan import forecast as plan_days
from engine.errors import InputError, Place
from scenarios.behaviour.reading import read_behaviour, settings_of
from scenarios.checking import load

TALES: Final = 8
"""Ways of the sample: the most frequent ones."""
_BEHAVIOUR: Final = "behaviour.yaml"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `processes` 0: one a core. `warmup` 0: no plan, else mails of its first day."""

    contacts: int
    twins: bool = False
    processes: int = 0
    warmup: int = 0
    tales: int = TALES
    fitted: tuple[str, ...] = ()


def beside(file: Path) -> Path:
    """Name the behaviour file of a scenario: `behaviour.yaml` beside `scenario.yaml`, else `NAME.behaviour.yaml`."""
    if file.name == "scenario.yaml":
        return file.with_name(_BEHAVIOUR)
    return file.with_name(f"{file.stem}.{_BEHAVIOUR}")


def read_setting(
    file: Path,
    *,
    behaviour: Path | None = None,
    twin: Path | None = None,
    seed: int = 0,
    days: int = 0,
) -> Setting:
    """Read all that decides a simulation. Raises: InputError: a file isn't there or has a mistake."""
    scenario = load(read_text(file), str(file))
    acted = behaviour or beside(file)
    if not acted.is_file():
        mend = f"write `{acted.name}` (docs/simulation.md), or name one with --behaviour"
        raise InputError("how contacts behave isn't stated", Place(str(acted)), mend)
    told = read_behaviour(read_text(acted), str(acted))
    if days:
        told = msgspec.structs.replace(told, days=days)
    return Setting(
        scenario,
        told,
        settings_of(told.settings, str(acted)),
        _twin(twin, seed),
        seed,
    )


def _twin(file: Path | None, seed: int) -> TwinConfig:
    if file is None:
        return mixed(seed=seed)
    return msgspec.structs.replace(parse_with_presets(read_text(file), str(file)), seed=seed)


def simulate(setting: Setting, options: Options, progress: Callable[[int], None]) -> Report:
    """Run all lives and report. The same setting and number of contacts give the same report."""
    world = World(setting)
    plan = _plan(options.warmup)
    if not options.twins:
        tally = live_alone(setting, options.contacts, processes_of(options.processes), progress)
        tales = [(way, live_told(world, number)) for way, number in _sample(tally, options.tales)]
        told = [(way, life.contact_id, tuple(life.story or ())) for way, life in tales]
        return make_report(world, tally, told, twins=False, plan=plan, fitted=options.fitted)
    numbers = _spread(options.contacts, options.tales * 8)
    processes = processes_of(options.processes)
    tally, known = live_in_crowds(setting, options.contacts, plan, processes, progress, numbers)
    told = [(one.way, one.contact, one.lines) for one in _varied(known, tally, options.tales)]
    return make_report(world, tally, told, twins=True, plan=plan, fitted=options.fitted)


def simulate_change(
    setting: Setting, change: Change, options: Options, progress: Callable[[int], None]
) -> ChangeReport:
    """Live through a change of a live scenario, and report what it does to those under way."""
    rehearsal = Rehearsal(setting, change)
    processes = processes_of(options.processes)
    tally = live_changed(setting, change, options.contacts, processes, progress)
    tales = []
    for kind, number in sorted(tally.examples.items(), key=_example)[: options.tales]:
        without, with_it = rehearsal.told(number)
        tales.append(Tale(contact_name(number), kind.partition("\t")[0], without, with_it))
    return make_change_report(setting, change, tally, tales)


def _example(item: tuple[str, int]) -> tuple[bool, bool, int]:
    """Journeys that end otherwise come first, then those that get a mail twice."""
    _, _, without, with_it, twice = item[0].split("\t")
    return without == with_it, not twice, item[1]


def processes_of(wanted: int) -> int:
    """Give the number of processes."""
    return wanted or len(os.sched_getaffinity(0))


def write_trace(setting: Setting, contacts: int, path: Path, sent: Path | None = None) -> int:
    """Write the inputs of all lives as an event log, and what they were sent. Returns the number of rows.

    The log has the form of docs/event-log.md, so that `veredus replay` takes it.
    """
    world = World(setting)
    encode = msgspec.json.Encoder().encode
    rows = [row for number in range(contacts) for row in _rows(live_told(world, number))]
    rows.sort(key=lambda row: (row["at"], row["id"]))
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    if sent is not None:
        lines = [line for n in range(contacts) for line in _sent(live_told(world, n))]
        sent.write_bytes(b"".join(encode(line) + b"\n" for line in lines))
    return len(rows)


def _rows(life: Life) -> Iterator[dict[str, object]]:
    for at, input_id, attributes, consents, event in life.trace or ():
        row: dict[str, object] = {
            "id": input_id.decode(),
            "event": event.name,
            "contact": life.contact_id,
            "at": at,
            "data": event.data,
        }
        if attributes:
            row["attributes"] = attributes
        if consents:
            row["consents"] = [
                {"topic": one.topic, "source": one.source, "granted": one.granted, "at": one.at}
                for one in consents
            ]
        yield row


def _sent(life: Life) -> Iterator[dict[str, object]]:
    for one in life.handed_over or ():
        yield {
            "contact": life.contact_id,
            "scenario": one.scenario,
            "step": one.step,
            "at": one.at,
            "day": datetime.fromtimestamp(one.at / 1000, UTC).date().isoformat(),
            "message_id": one.message_id.hex(),
        }


def _plan(first_day: int) -> tuple[int, ...]:
    """Give the warm-up plan as it goes if all is used and received well."""
    if not first_day:
        return ()
    return tuple(one.volume for one in plan_days(WarmupOptions(first_day=first_day)))


def _sample(tally: Tally, number: int) -> list[tuple[str, int]]:
    """Choose the most frequent ways; of each the first contact that took it."""
    ways = sorted(tally.stories.items(), key=lambda one: (-one[1].contacts, one[0]))
    return [(way, story.first) for way, story in ways if way not in {"", "…"}][:number]


def _spread(contacts: int, number: int) -> list[int]:
    """Choose contacts evenly, before anything is known of them."""
    return sorted({contacts * at // number for at in range(number)})


def _varied(known: list[Known], tally: Tally, number: int) -> list[Known]:
    """Take lives that went different ways, the most frequent ones first."""
    by_way: dict[str, Known] = {}
    for one in sorted(known, key=lambda one: one.number):
        by_way.setdefault(one.way, one)
    ways = {way: story.contacts for way, story in tally.stories.items()}
    return sorted(by_way.values(), key=lambda one: (-ways.get(one.way, 0), one.number))[:number]
