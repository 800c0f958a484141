"""Samples become stages and a flame graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from bench.flame import STAGES, Sampler, Stacks, speedscope, stages

ROOT = Path(__file__).resolve().parents[2]
STACKS: Stacks = Counter(
    {
        ("run (uvloop/__init__.py:69)", "compose (deliverability/compose/composer.py:1)"): 6,
        (
            "run (uvloop/__init__.py:69)",
            "render (actors/worker/rendering.py:9)",
            "sign_digest (deliverability/dkim/keys.py:70)",
            "sign (cryptography/x.py:1)",
        ): 3,
        ("run (uvloop/__init__.py:69)",): 1,
    }
)


def test_a_sample_belongs_to_its_innermost_stage() -> None:
    assert stages(STACKS) == {"compose": 0.6, "signature": 0.3, "loop": 0.1}


def test_speedscope_holds_all_samples() -> None:
    found = msgspec.json.decode(speedscope(STACKS, "x"))
    profile = found["profiles"][0]
    assert sum(profile["weights"]) == profile["endValue"] == 10
    assert max(max(sample) for sample in profile["samples"]) < len(found["shared"]["frames"])


def test_stages_name_files_that_exist() -> None:
    ours = [start for name, starts in STAGES if name != "ray" for start in starts]
    assert [start for start in ours if not (ROOT / start).exists()] == []


def test_without_samples_it_says_why(tmp_path: Path) -> None:
    sampler = Sampler([], tmp_path)
    assert not sampler.stacks()
    assert sampler.trouble
