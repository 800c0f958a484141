"""The library over real and invented purchases, recomputed apart; and a simulation's trace through the real thing.

`library/recompute.py` computes who gets which mail, and when, without a line of the product; agreement is to
the millisecond.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
LIBRARY = Path(str(resources.files("scenarios"))) / "library"
RECOMPUTE = HERE / "library" / "recompute.py"
INVENTED = 400
CARTS = 150


def veredus(*arguments: str | Path) -> str:
    """Run this environment's `veredus`; give what it printed."""
    program = Path(sys.executable).with_name("veredus")
    if not program.exists():
        pytest.skip("veredus is not installed in this environment")
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def agreement(recompute: dict[str, Any], events: Path, tmp_path: Path) -> int:
    """Run the library over a log; what it would send must be what was computed apart. Returns how many mails."""
    sent = tmp_path / "sent.ndjson"
    veredus(
        *("scenario", "backtest", "win-back", "--with", "onboarding", "--with", "cross-sell"),
        *("--settings", HERE / "library" / "contact.toml", "--history", events, "--sent", sent),
    )
    lines = [json.loads(line) for line in sent.read_text("utf-8").splitlines()]
    got = Counter((one["contact"], one["scenario"], one["step"], one["at"]) for one in lines)
    wanted = recompute["expected"](recompute["read"](events))
    assert got - wanted == Counter()
    assert wanted - got == Counter()
    assert len({one["message_id"] for one in lines}) == len(lines)
    return len(lines)


def test_invented_purchases_agree_exactly(tmp_path: Path) -> None:
    """Onboarding, win-back and cross-sell under caps and quiet hours, in four zones, over two years."""
    recompute = runpy.run_path(str(RECOMPUTE))
    events = tmp_path / "events.ndjson"
    recompute["write"](recompute["events_of"](recompute["invented"](INVENTED)), events)
    assert agreement(recompute, events, tmp_path) > 2_000


@pytest.mark.shared
@pytest.mark.timeout(600)
def test_the_purchase_log_agrees_exactly(shared: Path, tmp_path: Path) -> None:
    """The CDNOW log: 73,917 mails to 11,799 customers, none missing, none extra, none at another time."""
    recompute = runpy.run_path(str(RECOMPUTE))
    events = tmp_path / "events.ndjson"
    log = shared / "corpora/engagement/cdnow_transactions.csv.gz"
    recompute["write"](recompute["events_of"](recompute["orders_of"](log)), events)
    assert agreement(recompute, events, tmp_path) == 73_917


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_trace_sends_the_same_in_simulation_and_through_the_real_thing(tmp_path: Path) -> None:
    """What simulated contacts do, replayed with workers and twins that defer: the same messages on the same days.

    Complaints are left out: a log can't say that a contact is suppressed.
    """
    folder = LIBRARY / "abandoned-cart"
    behaviour = tmp_path / "behaviour.yaml"
    stated = (folder / "behaviour.yaml").read_text("utf-8")
    behaviour.write_text(stated.replace("complained: 0.0004", "complained: 0"), "utf-8")
    log, simulated = tmp_path / "log.ndjson", tmp_path / "simulated.ndjson"
    veredus(
        *("scenario", "simulate", "abandoned-cart", "--contacts", str(CARTS), "--seed", "3"),
        *("--behaviour", behaviour, "--log", log, "--sent", simulated),
    )
    sent, received = tmp_path / "sent.ndjson", tmp_path / "received.ndjson"
    veredus(
        *("replay", log, "--scenario", folder / "scenario.yaml", "--data", tmp_path / "data"),
        *("--twin", "mixed", "--every-mail", "--workers", "2"),
        *("--sent", sent, "--received", received),
    )
    ours = [json.loads(line) for line in simulated.read_text("utf-8").splitlines()]
    theirs = [json.loads(line) for line in sent.read_text("utf-8").splitlines()]
    assert len(ours) > CARTS / 3
    assert Counter(
        (one["contact"], one["step"], one["day"], one["message_id"]) for one in ours
    ) == (
        Counter(
            (one["contact"], one["step"], one["day"], one["message_id"].partition("@")[0])
            for one in theirs
        )
    )
    arrived = Counter(
        json.loads(line)["message_id"] for line in received.read_text("utf-8").splitlines()
    )
    assert arrived == Counter(one["message_id"] for one in theirs)
