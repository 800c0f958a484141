"""Planning from the command line, against an instance that runs: versions, segments, a campaign to its report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

NUMBER = 60
NEXT = """
scenario: welcome
description: Welcomes a contact, a day later.
entry: [signup, {by: list}]
reentry: always
steps:
  - {id: a-day, wait: 1d}
  - id: hello
    send: {template: hello, topic: marketing}
"""
SHORTER = NEXT.replace("id: a-day, wait: 1d", "id: a-while, wait: 1h")
SEGMENT = "segment: readers\nwhen: contact.reader == true\n"
CAMPAIGN = """
campaign: letter
segment: readers
send: {template: hello, topic: marketing}
pace: 1000
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("planning")
    prepare(made)
    for name, text in (
        ("next.yaml", NEXT),
        ("shorter.yaml", SHORTER),
        ("readers.yaml", SEGMENT),
        ("letter.yaml", CAMPAIGN),
        ("list.txt", "r1\nr2\n"),
    ):
        (made / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Running]:
    life = Running(folder)
    people = [
        {
            "contact": f"r{n}",
            "attributes": {"email": f"r{n}@inbox.example", "first_name": "R", "reader": n < NUMBER},
            "consents": [{"topic": "marketing", "granted": True, "source": "test"}],
        }
        for n in range(NUMBER + 5)
    ]
    assert life.give("PUT", "/v1/contacts", people).status_code == 200
    yield life
    life.finish()


def told(folder: Path, *arguments: str) -> Any:
    """Run a command that prints JSON."""
    done = run(folder, *arguments, "--data", "data", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_versions_are_published_moved_and_rolled_back(up: Running, folder: Path) -> None:
    [first] = told(folder, "scenario", "versions", "welcome")["versions"]
    preview = told(folder, "scenario", "publish", "next.yaml", "--preview")
    assert preview["before"] == first["version"]
    assert [change["step"] for change in preview["changes"] if change["what"] == "added"] == [
        "a-day"
    ]
    made = told(folder, "scenario", "publish", "next.yaml", "--reason", "a day later")
    assert (made["before"], made["policy"]) == (first["version"], "stay")

    entered = told(folder, "scenario", "enter", "welcome", "--file", "list.txt")
    assert [one["status"] for one in entered] == ["accepted", "accepted"]
    again = told(folder, "scenario", "enter", "welcome", "--file", "list.txt")
    assert [one["status"] for one in again] == ["duplicate", "duplicate"]
    [where] = told(folder, "scenario", "journeys", "welcome")["steps"]
    assert (where["version"], where["step"], where["journeys"]) == (made["version"], "a-day", 2)

    move = ("scenario", "publish", "shorter.yaml", "--policy", "now", "--place", "a-day=a-while")
    preview = told(folder, *move, "--preview")
    assert [(one["step"], one["to"], one["journeys"]) for one in preview["moves"]] == [
        ("a-day", "a-while", 2)
    ]
    moved = told(folder, *move)
    wait_for_run(folder, moved["runs"][0])
    [where] = told(folder, "scenario", "journeys", "welcome")["steps"]
    assert (where["version"], where["step"]) == (moved["version"], "a-while")
    back = told(folder, "scenario", "revert", moved["runs"][0])
    wait_for_run(folder, back["id"])
    [where] = told(folder, "scenario", "journeys", "welcome")["steps"]
    assert (where["version"], where["step"]) == (made["version"], "a-day")

    rolled = told(folder, "scenario", "rollback", "welcome", first["version"])
    assert rolled["version"] == first["version"]
    versions = told(folder, "scenario", "versions", "welcome")["versions"]
    assert [one["version"] for one in versions if one["current"]] == [first["version"]]
    actions = [one["action"] for one in up.get("/v1/audit", limit=1000)["items"]]
    assert actions.count("publish") >= 4
    assert "revert" in actions

    wrong = run(folder, "scenario", "publish", "next.yaml", "--place", "hello=x", "--data", "data")
    assert wrong.returncode == 2
    assert "isn't a removed step that waits" in wrong.stderr


def test_a_template_that_is_not_there_is_refused(up: Running, folder: Path) -> None:
    (folder / "misspelt.yaml").write_text(NEXT.replace("template: hello", "template: helo"))
    for more in ((), ("--preview",)):
        wrong = run(folder, "scenario", "publish", "misspelt.yaml", *more, "--data", "data")
        assert wrong.returncode == 2
        assert "there is no template `helo`" in wrong.stderr
        assert "did you mean `hello`?" in wrong.stderr


def wait_for_run(folder: Path, identity: str) -> None:
    for _ in range(60):
        found = {one["id"]: one["state"] for one in told(folder, "scenario", "runs")["runs"]}
        if found[identity] == "done":
            return
    raise AssertionError(found)


def test_a_campaign_from_the_command_line(up: Running, folder: Path) -> None:
    begun = told(folder, "segment", "publish", "readers.yaml")["runs"]
    wait_for_run(folder, begun[0]["id"])
    counted = told(folder, "segment", "count", "contact.reader == true")
    assert (counted["inside"], counted["contacts"]) == (NUMBER, NUMBER + 5)

    made = told(folder, "campaign", "create", "letter.yaml")
    assert (made["state"], made["given"]) == ("draft", 0)
    sent = told(folder, "campaign", "test", "letter", "--to", "seed@inbox.example")
    assert len(sent["messages"]) == 1
    assert told(folder, "campaign", "start", "letter")["state"] == "scheduled"
    report = told(folder, "campaign", "report", "letter", "--wait", "--timeout", "60")
    assert (report["state"], report["given"], report["ends"]) == (
        "done",
        NUMBER,
        {"delivered": NUMBER},
    )
    assert report["adds_up"]
    [segment] = told(folder, "segment", "list")["segments"]
    assert segment["contacts"] == NUMBER
    text = run(folder, "campaign", "report", "letter", "--data", "data")
    assert "given to all" in text.stdout
    again = run(folder, "campaign", "start", "letter", "--data", "data")
    assert again.returncode == 2
    assert "campaign letter is done" in again.stderr


def test_decisions_are_explained(up: Running, folder: Path) -> None:
    story = told(folder, "explain", "r1")
    facts = [fact for one in story["decisions"] for fact, _ in one["facts"]]
    assert {"journey_opened", "journey_moved", "send_decided", "segment_entered"} <= set(facts)
    journey = next(
        detail["journey"]
        for one in story["decisions"]
        for fact, detail in one["facts"]
        if fact == "journey_opened" and detail["scenario"] == "welcome"
    )
    mine = told(folder, "explain", "r1", "--journey", journey)
    assert 0 < len(mine["decisions"]) < len(story["decisions"])


def test_a_scenario_is_published_while_the_instance_is_down(up: Running, folder: Path) -> None:
    assert up.end() == 0
    made = told(folder, "scenario", "publish", "next.yaml", "--reason", "at night")
    assert made["changed"]
    versions = told(folder, "scenario", "versions", "welcome")["versions"]
    assert [one["reason"] for one in versions if one["current"]] == ["at night"]


def test_a_restart_keeps_what_a_command_published(up: Running, folder: Path) -> None:
    again = Running(folder)
    try:
        versions = told(folder, "scenario", "versions", "welcome")["versions"]
        assert [one["reason"] for one in versions if one["current"]] == ["at night"]
    finally:
        assert again.end() == 0
