"""The estimate of how the reader generalises runs, and says what the documentation says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deliverability.feedback.holdout import SHARED

ROOT = Path(__file__).resolve().parents[3]
NAMES = {
    "Sisimai reason": "sisimai reason",
    "Sisimai permanent": "sisimai permanent",
    "cause of a reply": "reply cause (sisimai)",
}


def left_out(by: str) -> dict[str, float]:
    """The shares with each group's own phrases taken away, in a process of its own: it changes the reader's rules."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.deliverability.feedback.leave_out", "--by", by],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=True,
    )  # fmt: skip
    lines = (line.split(None, 1) for line in done.stdout.splitlines())
    return {rest.rsplit(")  ", 1)[1]: float(share) for share, rest in lines}


@pytest.mark.shared
@pytest.mark.timeout(320)
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared beside the checkout")
def test_the_documented_estimate_is_that_of_today() -> None:
    """docs/benchmarks.md has the shares with nothing left out, left out by like texts, and by vendor."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    found = [left_out(by) for by in ("none", "text", "vendor")]
    for row, name in NAMES.items():
        line = re.search(rf"^\| {row} \(\d+\) \|(.*)\|$", page, re.MULTILINE)
        assert line is not None, row
        told = [float(cell.split()[0]) for cell in line[1].split("|")]
        assert told == pytest.approx([shares[name] for shares in found], abs=0.0006), row
