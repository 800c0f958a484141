"""The main job on a purchase log: each mail on its day, none missing, none extra, each arriving once.

`tests/acceptance/cdnow` is the program under test; what must come out, ../shared/checks/cdnow.py computes from the log
alone. Where ../shared isn't beside the checkout, a small log with a hand-made expectation stands in for it.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

ORDERS = (
    ("00001", "19970101", 1, "11.77"),
    ("00002", "19970101", 2, "12.00"),
    ("00002", "19970102", 5, "77.00"),  # second order of 30.00 or more
    ("00003", "19970102", 1, "20.76"),
    ("00003", "19970402", 1, "20.76"),  # 90 days later to the minute: the timer goes first
    ("00003", "19970402", 1, "20.76"),  # an equal row is another order
    ("00004", "19970105", 1, "9.00"),
    ("00004", "19970105", 1, "30.00"),
)

MAILS = Counter(
    {
        ("00001", "onboarding", "welcome-1", "1997-01-01"): 1,
        ("00001", "onboarding", "welcome-2", "1997-01-08"): 1,
        ("00001", "win-back", "miss-you", "1997-04-01"): 1,
        ("00002", "onboarding", "welcome-1", "1997-01-01"): 1,
        ("00002", "onboarding", "welcome-2", "1997-01-08"): 1,
        ("00002", "win-back", "miss-you", "1997-04-02"): 1,
        ("00002", "cross-sell", "more-like-this", "1997-01-05"): 1,
        ("00003", "onboarding", "welcome-1", "1997-01-02"): 1,
        ("00003", "onboarding", "welcome-2", "1997-01-09"): 1,
        ("00003", "win-back", "miss-you", "1997-04-02"): 1,
        ("00003", "win-back", "miss-you", "1997-07-01"): 1,
        ("00004", "onboarding", "welcome-1", "1997-01-05"): 1,
        ("00004", "onboarding", "welcome-2", "1997-01-12"): 1,
        ("00004", "win-back", "miss-you", "1997-04-05"): 1,
        ("00004", "cross-sell", "more-like-this", "1997-01-08"): 1,
    }
)


def run_cdnow(log: Path, sent: Path, received: Path, *more: str) -> str:
    """Run the acceptance program with this environment's `veredus`; give what it printed."""
    veredus = Path(sys.executable).with_name("veredus")
    environment = {**os.environ, "VEREDUS": str(veredus)}
    command = [str(HERE / "cdnow"), str(log), str(sent), str(received), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check(shared: Path, log: Path, sent: Path, received: Path, *more: str) -> str:
    """Let the shared script compare; give its last line."""
    command = [
        sys.executable,
        str(shared / "checks/cdnow.py"),
        str(log),
        str(sent),
        str(received),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip().splitlines()[-1]


def test_each_mail_goes_on_its_day_and_arrives_once(tmp_path: Path) -> None:
    """A small log with cases at the edges: equal rows, a timer at an event's time, a second order of just 30.00."""
    if not Path(sys.executable).with_name("veredus").exists():
        pytest.skip("veredus is not installed in this environment")
    log = tmp_path / "log.csv"
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("customer_id", "date", "number_of_cds", "dollar_value"))
        writer.writerows(ORDERS)
    sent, received = tmp_path / "sent.ndjson", tmp_path / "received.ndjson"
    run_cdnow(log, sent, received)
    lines = [json.loads(line) for line in sent.read_text().splitlines()]
    got = Counter((one["contact"], one["scenario"], one["step"], one["day"]) for one in lines)
    assert got == MAILS
    arrived = Counter(json.loads(line)["message_id"] for line in received.read_text().splitlines())
    assert {one["message_id"] for one in lines} == set(arrived)
    assert {1} == set(arrived.values())


@pytest.mark.shared
def test_the_purchase_log_agrees_exactly(shared: Path, tmp_path: Path) -> None:
    """43,509 mails, each on its day, none missing, none extra, each arriving once."""
    log = shared / "corpora/engagement/cdnow_transactions.csv.gz"
    sent, received = tmp_path / "sent.ndjson", tmp_path / "received.ndjson"
    run_cdnow(log, sent, received)
    assert check(shared, log, sent, received) == "exact agreement"


@pytest.mark.shared
def test_kills_lose_nothing_and_double_only_what_was_in_the_air(
    shared: Path, tmp_path: Path
) -> None:
    """Workers are killed while 50 messages or more are attempting; what arrives twice was in the air."""
    whole = shared / "corpora/engagement/cdnow_transactions.csv.gz"
    log = tmp_path / "log.csv"
    with gzip.open(whole, "rt") as file, log.open("w") as part:
        part.writelines(line for n, line in enumerate(file) if n <= 9000)
    sent, received = tmp_path / "sent.ndjson", tmp_path / "received.ndjson"
    printed = run_cdnow(log, sent, received, "--kills", "3")
    found = re.fullmatch(r"in_the_air=(\d+)", printed.strip().splitlines()[-1])
    assert found is not None
    assert "agreement" in check(shared, log, sent, received, "--duplicates", found[1])


def test_split_roles_send_what_fused_ones_send_though_the_egress_is_killed(tmp_path: Path) -> None:
    """Two workers own partitions, one sends and dies by SIGKILL with many messages in hand."""
    if not Path(sys.executable).with_name("veredus").exists():
        pytest.skip("veredus is not installed in this environment")
    log = tmp_path / "log.csv"
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("customer_id", "date", "number_of_cds", "dollar_value"))
        writer.writerows((f"{n:05}", "19970101", 1, "31.00") for n in range(400))
        writer.writerows((f"{n:05}", "19970109", 1, "35.00") for n in range(100))
    runs = {}
    for name, more in (("fused", ()), ("split", ("--split", "--kills", "1"))):
        sent, received = tmp_path / f"{name}.sent", tmp_path / f"{name}.received"
        printed = run_cdnow(log, sent, received, *more)
        lines = [json.loads(line) for line in sent.read_text().splitlines()]
        arrived = Counter(
            json.loads(line)["message_id"] for line in received.read_text().splitlines()
        )
        assert {one["message_id"] for one in lines} == set(arrived)
        runs[name] = Counter((o["contact"], o["scenario"], o["step"], o["day"]) for o in lines)
    assert runs["split"] == runs["fused"]
    assert "1 kills met" in printed
    found = re.fullmatch(r"in_the_air=(\d+)", printed.strip().splitlines()[-1])
    assert found is not None
    assert arrived.total() - len(arrived) <= int(found[1])
