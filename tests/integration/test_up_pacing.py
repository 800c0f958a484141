"""A live instance whose mail is paced: it keeps to a quota that nobody told it, acts on replies, and tells of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

PACING = """
[pacing]
mode = "on"
first_per_hour = 3600.0
rule_files = ["rules.toml"]
"""
RULES = """
[provider."small"]
match = [{ Domain = "small.test" }]
max_message_rate = "40/min"

[[provider."small".automation]]
regex = '5[.]1[.]1'
trigger = { Threshold = "2/hr" }
action = "SuspendCampaign"
duration = "1 hour"
"""
TWIN = """
[[provider]]
name = "small"
domains = ["small.test"]
quotas = [{ limit = 50, window_s = 60 }]
mailboxes = { unknown = ["unknown*"] }
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("paced")
    prepare(folder)
    config = folder / "veredus.toml"
    config.write_text(config.read_text() + PACING)
    (folder / "rules.toml").write_text(RULES)
    (folder / "twin.toml").write_text(TWIN)
    made = Running(folder, "--twin", "twin.toml", "--workers", "2")
    yield made
    made.finish()


def send(up: Running, contact: str, number: int) -> None:
    items = [
        {
            "contact": f"{contact}{n}",
            "idempotency_key": f"{contact}-{n}",
            "address": f"{contact}{n}@small.test",
            "template": "hello",
            "variables": {"contact": {"first_name": "Ann"}},
        }
        for n in range(number)
    ]
    for item in items:
        response = up.give("POST", "/v1/messages", item)
        assert response.status_code in (200, 202), response.text


def told(up: Running, *command: str) -> Any:
    done = run(up.folder, *command, "--json", "--data", "data")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.5)  # the instance is another process


def law(up: Running) -> dict[str, int]:
    counts: dict[str, int] = {}
    for stream in up.get("/v1/status")["law"].values():
        for name, number in stream.items():
            counts[name] = counts.get(name, 0) + number
    return counts


def test_a_backlog_goes_at_the_pace_of_the_rule_and_says_when_it_will_go(up: Running) -> None:
    """40 a minute by the rule, below the 50 that the provider takes: nothing is deferred, and the rest waits."""
    send(up, "ann", 60)
    began = time.monotonic()
    until(lambda: law(up).get("delivered", 0) >= 10)
    queues = told(up, "queue", "list")["queues"]
    waits = [line["wait"] for line in queues if line["domain"] == "small.test"]
    assert waits, up.log()[-3000:]
    assert waits[0]["earliest_ms"] <= waits[0]["likely_ms"] <= waits[0]["latest_ms"]
    assert waits[0]["likely_ms"] - time.time() * 1000 > 20_000
    health = told(up, "health")
    assert health["is_paced"]
    line = next(one for one in health["lines"] if one["provider"] == "small")
    assert line["lane"]["hour"]["delivered"] >= 10
    assert line["lane"]["hour"]["deferred"] == 0
    assert line["score"] == 100
    limits = line["lane"]["paths"][0]["limits"]
    assert any(one["name"] == "max_message_rate" and "rules.toml" in one["place"] for one in limits)
    assert law(up)["delivered"] <= 40 * (time.monotonic() - began) / 60 + 40 / 60 * 10 + 5
    for command in (("health",), ("health", "--provider", "small"), ("queue", "list")):
        done = run(up.folder, *command, "--data", "data")
        assert done.returncode == 0, done.stderr
        assert "small" in done.stdout


def test_replies_that_match_a_rule_suspend_a_campaign_on_record(up: Running) -> None:
    send(up, "unknown", 3)
    until(lambda: law(up).get("bounced", 0) >= 2, 200)
    until(lambda: bool(told(up, "queue", "list")["marks"]))
    marks = told(up, "queue", "list")["marks"]
    assert [mark["actor"] for mark in marks] == ["automation"]
    assert "replies match" in marks[0]["reason"]
    records = (up.folder / "data" / "control.log").read_bytes()
    assert b"automation_SuspendCampaign" in records


def test_what_was_learned_is_on_disk(up: Running) -> None:
    path: Path = up.folder / "data" / "pacing.json"
    until(path.exists, 40)
    kept = json.loads(path.read_text())
    assert " small" in "".join(kept["pacing"]["lanes"])
    guards = json.loads((up.folder / "data" / "guards.json").read_text())
    assert guards["guards"][0]["marks"]
