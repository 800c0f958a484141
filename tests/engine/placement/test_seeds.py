"""Placement, fencing and hand-over over ten thousand seeds; and each planted bug is found by them."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from tests.engine.placement.variants import VARIANTS
from tests.engine.placement.world import FAULTS, Breach, Plan, simulate

SEEDS = int(os.environ.get("VEREDUS_PLACEMENT_SEEDS", "10000"))
PLANTED_SEEDS = 2_000

REACHED = (
    *(f"fault: {fault}" for fault in FAULTS),
    "network: doubled",
    "network: late",
    "network: lost",
    "steward: older report",
    "store: cut",
    "store: stale",
    "store: written for a connection that is gone",
    "worker: claimed by somebody else",
    "worker: fenced",
    "worker: let go",
    "worker: seen before",
    "worker: unknown commit",
)


@pytest.mark.timeout(900)
def test_never_two_writers_and_nothing_acknowledged_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever is lost, late, doubled, paused, cut or restarted; afterwards every partition is served."""
    began = time.perf_counter()
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = simulate(seed)
        reached.update(world.reached)
        reached["inputs acknowledged"] += len(world.acknowledged)
    took = time.perf_counter() - began
    with capsys.disabled():
        print(f"\nplacement: {SEEDS:,} seeds in {took:.0f} s ({1000 * took / SEEDS:.1f} ms each)")
        print("\n".join(f"  {number:>9,}  {what}" for what, number in sorted(reached.items())))
    assert SEEDS < 1000 or not [what for what in REACHED if not reached[what]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_planted_bug_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken promise is named, with the seed that shows it, well within those of every day."""
    found = _first_breach(VARIANTS[name])
    with capsys.disabled():
        print(f"\nplanted {name}: {found.partition(chr(10))[0]}")
    assert found


def _first_breach(plan: Plan) -> str:
    for seed in range(PLANTED_SEEDS):
        try:
            simulate(seed, plan)
        except Breach as breach:
            return str(breach)
    return ""


def test_a_seed_reproduces_everything() -> None:
    """The same seed gives the same story."""
    assert simulate(3).story == simulate(3).story
    assert len(simulate(3).story) >= 4
