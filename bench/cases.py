"""The cases of the bench by name, each imported only when it is run."""

from __future__ import annotations

__all__ = ("CASES", "measure")

from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from bench.calibration import calibrate
from bench.frame import Measured, Report, Result

CASES = {
    "events": "durable events a second through one worker",
    "contacts": "what ten million waiting contacts cost",
    "pipeline": "from event to delivered, under Ray",
    "latency": "from an event to its mail on the wire, beside bulk and alone",
    "rtt": "one connection to a far server",
    "peers": "from SMTP in to SMTP out, beside mail servers that are installed",
    "dkim": "signing",
    "smtp": "sending over warm connections",
    "render": "composing",
    "replay": "running a log's time",
    "chaos": "kills, stops and moves under load: what is lost, and how long until all is served again",
    "handover": "how long intake of a partition pauses while it moves",
    "autoscale": "nodes that come and go by themselves with the load",
    "pacing": "finding a provider's limits",
    "scenarios": "transitions of journeys, alone and durable; how late timers are",
    "journeys": "ten million waiting journeys: memory, disk, start",
    "wake": "many contacts at once, while intake goes on",
    "feedback": "reading what comes back",
    "tracking": "opens and clicks over HTTP",
    "suppression": "asking who is suppressed, among ten million",
    "simulate": "a scenario over a whole audience in virtual time",
}
"""What each case measures, in the order in which `all` runs them."""


WITH_STORES = ("events",)
"""Cases that can be measured over another store too."""


def measure(
    case: str, *, quick: bool, seed: int, store: str = "rocksdb", flame: Path | None = None
) -> Report:
    """Run one case in this process, with its surroundings and the calibration loop before and after."""
    from actors.report.surroundings import machine_facts, version_facts

    before = calibrate()
    measured = _run(case, quick=quick, seed=seed, store=store, flame=flame)
    after = calibrate()
    calibration = before | {f"{name}_after": value for name, value in after.items()}
    return Report(
        case=case,
        results=measured.results,
        machine=machine_facts(),
        versions=version_facts(),
        settings={"quick": quick, "seed": seed, "store": store} | measured.settings,
        calibration=calibration,
        timeline=measured.timeline,
    )


def _run(case: str, *, quick: bool, seed: int, store: str, flame: Path | None) -> Measured:
    assert case in CASES, "the command line checks names"
    chosen: dict[str, Any] = {"store": store} if case in WITH_STORES else {}
    if flame is not None:
        chosen["flame"] = flame
    found = import_module(f"bench.{case}").run(quick=quick, seed=seed, **chosen)
    if isinstance(found, Measured):
        return found
    return Measured([msgspec.convert(one, Result, from_attributes=True) for one in found])
