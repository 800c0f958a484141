"""The memory model isn't enough: a real process, a real store, real kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 60


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGKILL at random times: each input there once, the law holds, and what came twice was in the air."""
    command = [sys.executable, "-m", "tests.simulation.killed", "--kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with capsys.disabled():
        print(f"\n{done.stdout.strip()}")
    met = {what: int(n) for what, _, n in (one.rpartition(": ") for one in done.stdout.split(", "))}
    assert met["kills"] == KILLS
    assert met["inputs acknowledged"] > 1000
    assert met["messages accepted"] > 300
    assert met["found unattempted"] > 0
    assert met["found in_doubt"] > 0
    assert met["found delivered"] > 0
