"""Case `wake`: what concerns very many contacts at once, while intake goes on.

- a recount of segments over five million contacts, in another process over a snapshot (`segment_recount`).
"""

from __future__ import annotations

__all__ = ("run",)

from bench.frame import Measured
from bench.segment_recount import recount_results


def run(*, quick: bool, seed: int) -> Measured:
    """Measure; takes some minutes, quick half a minute."""
    return Measured(recount_results(quick=quick, seed=seed))
