"""What really happened, read from an event log: to measure behaviour on it, or to run it through a scenario."""

from __future__ import annotations

__all__ = ("backtest_history", "fit_history", "open_history")

from collections.abc import Sequence
from pathlib import Path

import msgspec

from actors.replay.mapping import load_mapping
from actors.replay.reading import EventLog, open_log
from actors.replay.sorting import instants, survey
from actors.simulation.backtest import Backtest, WouldSend, backtest
from actors.simulation.world import Setting, World
from actors.text_file import read_text
from deliverability.twin.presets import mixed
from engine.errors import InputError, Place
from scenarios.behaviour.fitting import Fitting
from scenarios.behaviour.model import Behaviour
from scenarios.checking import load
from scenarios.settings import ContactSettings


def open_history(log: Path, mapping: Path | None) -> EventLog:
    """Open an event log. Raises: InputError: it isn't there, or the map doesn't fit it."""
    opened = open_log(log, load_mapping(mapping) if mapping is not None else None)
    opened.check_columns()
    return opened


def fit_history(
    setting: Setting, log: Path, mapping: Path | None
) -> tuple[Setting, tuple[str, ...]]:
    """Give the setting with figures of its behaviour measured, and in words what was measured and what wasn't."""
    fitting = Fitting(setting.behaviour)
    for row in open_history(log, mapping):
        fitting.take(row.contact, row.event)
    behaviour, words = fitting.result()
    return msgspec.structs.replace(setting, behaviour=behaviour), words


def backtest_history(
    file: Path,
    log: Path,
    mapping: Path | None,
    *,
    beside: Sequence[Path] = (),
    settings: Path | None = None,
) -> tuple[Backtest, list[WouldSend]]:
    """Run a log through a scenario. Raises: InputError: a file isn't there or has a mistake."""
    events = open_history(log, mapping)
    surveyed = survey(events)
    if not surveyed.rows:
        raise InputError("there is no event in it", Place(str(log)))
    setting = Setting(
        load(read_text(file), str(file)),
        Behaviour(),
        read_settings(settings),
        mixed(),
        beside=tuple(load(read_text(one), str(one)) for one in beside),
    )
    return backtest(World(setting), instants(events, surveyed))


def read_settings(file: Path | None) -> ContactSettings:
    """Read a tenant's contact file. Raises: InputError: it can't be read, or says what isn't known."""
    if file is None:
        return ContactSettings()
    try:
        return msgspec.toml.decode(read_text(file), type=ContactSettings)
    except msgspec.MsgspecError as error:
        mend = "docs/scenarios.md has the fields"
        raise InputError(str(error), Place(str(file)), mend) from error
