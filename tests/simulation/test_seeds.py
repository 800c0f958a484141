"""The simulation holds over many seeds, reaches every fault, and runs nearly every branch of what it proves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.cluster import FAULTS
from tests.simulation.disk import COMMIT_FAULTS
from tests.simulation.run import Seed, report, run_many, run_seed

SEEDS = int(os.environ.get("VEREDUS_SIMULATION_SEEDS", "2000"))
LONG_SEEDS = 100_000
COVERAGE_SEEDS = 120
ROOT = Path(__file__).parents[2]

REACHED = (
    *(f"fault: {fault}" for fault in FAULTS),
    *(f"commit: {fault}" for fault in COMMIT_FAULTS),
    "commit: unknown, and there",
    "crash: in the middle of the release",
    "crash: while it syncs",
    "crash: with messages in the air",
    "egress: asked and fenced",
    "hand-over: late",
    "hand-over: repeated",
    "egress: withdrawn at the last check",
    "ledger: adopted later",
    "ledger: its writer lives",
    "ledger: torn tail",
    "life: former owner found out",
    "life: goes on while it syncs",
    "life: mends a failed commit",
    "life: moves a partition",
    "network: late",
    "operator: drops",
    "operator: replays",
    "operator: settles a doubt",
    "network: lost",
    "network: repeated",
    "recovery: delivered",
    "recovery: egress is lost",
    "recovery: in_doubt",
    "recovery: unattempted",
    "partition: comes back",
    "partition: leaves",
    "smtp: reply lost",
    "smtp: silent",
    "sync: fails",
    "sync: what wasn't synced is lost",
    "sync: what wasn't synced is there",
    "tells: repeated from the outbox",
    "verdict: duplicate",
    "verdict: quarantined",
    "verdict: too_old",
    *(
        f"message: {status}"
        for status in ("delivered", "bounced", "cancelled", "erased", "expired", "in_doubt")
    ),
)


@pytest.mark.timeout(1800)
def test_every_seed_holds_and_every_fault_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of seeds keep every promise; together they meet every fault and state that is listed."""
    began = time.perf_counter()
    totals, reached = run_many(range(SEEDS))
    with capsys.disabled():
        print("\n" + report(totals, reached, time.perf_counter() - began))
    missing = [what for what in REACHED if not reached[what]]
    assert SEEDS < 1000 or not missing


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_a_hundred_thousand_seeds_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """The nightly run: other seeds than those of every day."""
    began = time.perf_counter()
    totals, reached = run_many(range(1_000_000, 1_000_000 + LONG_SEEDS))
    with capsys.disabled():
        print("\n" + report(totals, reached, time.perf_counter() - began))
    assert not [what for what in REACHED if not reached[what]]


def test_a_seed_reproduces_everything() -> None:
    """The same seed gives the same story, line by line."""
    first: list[str] = []
    second: list[str] = []
    one: Seed = run_seed(3, story=first)
    other: Seed = run_seed(3, story=second)
    assert first == second
    assert one == other
    assert len(first) > 100


def test_a_failure_names_the_command_that_replays_it() -> None:
    """One line: the seed, what broke, the command."""
    from tests.simulation.run import Failed

    text = str(Failed(7, "no_ledger", AssertionError("why")))
    assert text == (
        "seed 7: AssertionError: why; "
        "replay: python -m tests.simulation.run --seed 7 --variant no_ledger"
    )


@pytest.mark.timeout(900)
def test_branch_coverage_of_the_kernel_by_the_simulation_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Partition, host and egress: at least 90 % of their branches and lines are run by simulated seeds."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.coverage", str(COVERAGE_SEEDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print("\n" + done.stdout)
    shares = Counter({line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()})
    assert set(shares) == {"engine/partition.py", "engine/host.py", "deliverability/egress.py"}
    assert min(shares.values()) >= 90
