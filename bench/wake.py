"""Case `wake`: what concerns very many contacts at once, while intake goes on.

- a recount of segments over five million contacts, in another process over a snapshot (`segment_recount`);
- a million journeys due within the same second (`mass_wake`).
"""

from __future__ import annotations

__all__ = ("run",)

from bench.frame import Measured
from bench.mass_wake import mass_wake_results
from bench.segment_recount import recount_results


def run(*, quick: bool, seed: int) -> Measured:
    """Measure; takes some minutes, quick one."""
    woken = mass_wake_results(quick=quick, seed=seed)
    return Measured([*recount_results(quick=quick, seed=seed), *woken])
