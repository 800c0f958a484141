"""`veredus experiment plan`: how many contacts a test takes, before it starts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.actors.cli.conftest import Veredus
from tests.scenarios.test_experiments import FIXED, THOMPSON


def test_a_plan_tells_contacts_and_days(veredus: Veredus, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(FIXED)
    [told] = json.loads(veredus("experiment", "plan", file, "--per-day", "100", "--json").out)
    assert (told["step"], told["method"], told["each"]) == ("which", "fixed", 686)
    assert told["contacts"] == 1525  # 686 are 45 % of them
    assert told["days"] == 1525 / 100 + 7
    assert "686" in veredus("experiment", "plan", file).out


def test_without_an_end_or_an_experiment_it_says_so(veredus: Veredus, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(THOMPSON)
    [told] = json.loads(veredus("experiment", "plan", file, "--json").out)
    assert (told["method"], told["contacts"]) == ("thompson", 0)
    file.write_text("scenario: s\nentry: e\nsteps:\n  - {id: a, tag: b}\n")
    said = veredus("experiment", "plan", file)
    assert said.status == 2
    assert "has no experiment" in said.err
    assert "isn't SCENARIO/STEP" in veredus("experiment", "show", "which").err
