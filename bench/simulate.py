"""The bench of simulation: contacts through the library's abandoned cart for 30 days, on all cores.

`simulate_1m_30d` is the time for a million contacts (s). A quick run has 50,000 and says so in its name,
`simulate_50k_30d`; beside it stands `simulate_1m_30d_scaled`, the same figure times twenty, since the work is the same
for each contact. `simulate_twins_100k_30d` is the time for 100,000 contacts before twins of providers (quick:
`simulate_twins_5k_30d`). Small runs of both kinds are made twice, once with another number of processes, and must give
the same bytes.
"""

from __future__ import annotations

__all__ = ("run",)

import os
import resource
import time
from importlib import resources
from pathlib import Path

import msgspec

from actors.simulation.run import Options, read_setting, simulate
from actors.simulation.world import Setting
from bench.frame import Measured, Result, plain, say
from engine.errors import VeredusError

_MILLION = 1_000_000
_QUICK = 50_000
_CHECKED = 4_000
_TWINS = 100_000
_TWINS_QUICK = 5_000


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    file = Path(str(resources.files("scenarios") / "library" / "abandoned-cart" / "scenario.yaml"))
    setting = read_setting(file, seed=seed)
    _same_bytes(setting)
    contacts = _QUICK if quick else _MILLION
    wall, cpu = _timed(setting, Options(contacts=contacts))
    results: list[Result] = []
    if quick:
        results.append(plain("simulate_50k_30d", "s", [wall]))
        results.append(plain("simulate_1m_30d_scaled", "s", [wall * _MILLION / _QUICK]))
    else:
        results.append(plain("simulate_1m_30d", "s", [wall]))
    results.append(plain("simulate_cpu_per_contact", "us", [cpu / contacts * 1e6]))
    before_twins = _TWINS_QUICK if quick else _TWINS
    wall, cpu = _timed(setting, Options(contacts=before_twins, twins=True))
    results.append(plain(f"simulate_twins_{before_twins // 1000}k_30d", "s", [wall]))
    results.append(plain("simulate_twins_cpu_per_contact", "us", [cpu / before_twins * 1e6]))
    days = setting.behaviour.days
    return Measured(results, {"contacts": contacts, "days": days, "cores": _cores()})


def _timed(setting: Setting, options: Options) -> tuple[float, float]:
    before = " before twins" if options.twins else ""
    say(f"  {options.contacts:,} contacts{before} on {_cores()} cores")
    began, used = time.perf_counter(), _cpu()
    simulate(setting, options, lambda _done: None)
    return time.perf_counter() - began, _cpu() - used


def _same_bytes(setting: Setting) -> None:
    """Make sure that what is measured is the same whatever the number of processes."""
    for twins in (False, True):
        made = {
            msgspec.json.encode(
                simulate(
                    setting,
                    Options(contacts=_CHECKED, processes=number, twins=twins),
                    lambda _done: None,
                )
            )
            for number in (1, 2)
        }
        if len(made) != 1:
            raise VeredusError("the number of processes has changed the report")


def _cpu() -> float:
    """Give the CPU time of this process and of those that it has ended, s."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
