"""Case `journeys`: ten million waiting journeys, each with its contact and its timer.

The same fill and the same worker as case `contacts` (`bench.contacts`), at one size: the most memory that was resident
under load (`journeys_10m_memory`), octets on disk for each journey, agenda included, and how long a start takes after a
SIGKILL under load.
"""

from __future__ import annotations

__all__ = ("run",)

import msgspec

from bench.contacts import Plan, measured, size_name
from bench.frame import Measured

SHOWN = ("memory", "disk", "start", "cpu", "events")


def run(*, quick: bool, seed: int) -> Measured:
    """Measure; takes about fifteen minutes, quick one.

    Raises: CapacityError: too little disk is free.
    """
    journeys = 300_000 if quick else 10_000_000
    seconds = 3.0 if quick else 20.0
    plan = Plan((journeys,), 1, 1.0, seconds, 2 * seconds, 1 if quick else 3)
    found = measured(plan, seed)
    size = size_name(journeys)
    results = [
        msgspec.structs.replace(one, name=f"journeys_{size}_{name}")
        for one in found.results
        for name in SHOWN
        if one.name == f"contacts_{size}_{name}"
    ]
    return Measured(results, found.settings)
