"""Measure the figures of a behaviour on an event log, in one walk through it."""

from __future__ import annotations

__all__ = ("fit_history", "open_history")

from pathlib import Path

import msgspec

from actors.replay.mapping import load_mapping
from actors.replay.reading import EventLog, open_log
from actors.simulation.world import Setting
from scenarios.behaviour.fitting import Fitting


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
