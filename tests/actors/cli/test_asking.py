"""Commands that ask a running instance: status, explain, outcomes, send, audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors.backend import MessageView, OutcomeEntry
from engine import control_log
from tests.actors.cli.conftest import Instance, Veredus
from tests.actors.cli.test_main import MAIN, ROOT


def outcome(number: int) -> OutcomeEntry:
    return OutcomeEntry(
        f"{number:032x}",
        f"c{number}",
        "deferred",
        1,
        1_700_000_000_000,
        final=False,
        reply="451 \x1b[31m",
    )


def test_status(instance: Instance, veredus: Veredus) -> None:
    """Tables for people, one object for programs."""
    said = veredus("status", "--data", instance.data)
    assert (said.status, said.err) == (0, "")
    assert "mode twin, up 1 min" in said.out
    assert "worker-0  fused  alive" in said.out
    assert "delivered" in said.out
    assert "\x1b" not in said.out
    found = json.loads(veredus("status", "--data", instance.data, "--json").out)
    assert found["workers"][0]["name"] == "worker-0"


def test_send_and_explain(instance: Instance, veredus: Veredus) -> None:
    """A message is sent once per key, its fate is told, and its story can be asked for."""
    send = ["send", "--template", "hello", "--to", "Ann@shop.example", "--var", "a=b", "--key", "k"]
    said = veredus(*send, "--wait", "0", "--data", instance.data, "--json")
    assert said.status == 1, "it isn't delivered within no time"
    view = msgspec.json.decode(said.out, type=MessageView)
    assert view.state == "scheduled"
    assert "shop" not in view.contact
    again = veredus(*send, "--wait", "0", "--data", instance.data)
    assert view.message_id in again.out
    other = veredus(*send, "--var", "c=d", "--wait", "0", "--data", instance.data)
    assert (other.status, other.out) == (2, "")
    assert "stands for another request" in other.err
    story = veredus("explain", view.message_id, "--data", instance.data)
    assert story.status == 0
    assert "asked for by API" in story.out
    assert json.loads(veredus("explain", view.message_id, "--json", "--data", instance.data).out)[
        "lines"
    ]
    missing = veredus("explain", "0" * 32, "--data", instance.data)
    assert (missing.status, missing.err) == (2, "veredus: There is no such message\n")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ([], "whom to write to is missing"),
        (["--to", "a@b.c", "--var", "x"], "--var: expected NAME=VALUE"),
        (["--to", "a@b.c", "--variables", "[1]"], "--variables: isn't a JSON object"),
        (["--to", "nobody"], "address: expected an address"),
    ],
)
def test_send_with_a_mistake(
    instance: Instance, veredus: Veredus, more: list[str], line: str
) -> None:
    """Mistakes are one line, whether this side or the instance finds them."""
    said = veredus("send", "--template", "t", *more, "--data", instance.data)
    assert said.status == 2
    assert line in said.err
    assert said.err.count("\n") == 1


def test_outcomes_page_by_page(instance: Instance, veredus: Veredus) -> None:
    """A page ends with the cursor of the next; control characters of a reply are shown, not sent."""
    for number in range(3):
        instance.backend.add_outcome("default", outcome(number))
    said = veredus("outcomes", "--limit", "2", "--data", instance.data)
    assert "2 outcomes (more); next: --after 2" in said.out
    assert "\\x1b[31m" in said.out
    assert "\x1b" not in said.out
    rest = json.loads(veredus("outcomes", "--after", "2", "--json", "--data", instance.data).out)
    assert [item["contact"] for item in rest["items"]] == ["c2"]
    wrong = veredus("outcomes", "--after", "zz", "--data", instance.data)
    assert (wrong.status, wrong.out) == (2, "")
    assert veredus("outcomes", "--tenant", "other", "--data", instance.data).out.startswith(
        "0 outcomes"
    )
    assert veredus("outcomes", "--tenant", "nobody", "--data", instance.data).status == 2


def test_outcomes_are_followed_until_interrupted(instance: Instance) -> None:
    """--follow prints what comes, a line each, and ends quietly at an interrupt."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            MAIN,
            "outcomes",
            "--follow",
            "--json",
            "--data",
            str(instance.data),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores interrupts, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stdout is not None
        while not instance.backend.waiting:
            os.sched_yield()
        instance.call(lambda: instance.backend.add_outcome("default", outcome(7)))
        assert json.loads(process.stdout.readline())["contact"] == "c7"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_following_ends_with_the_instance(tmp_path: Path) -> None:
    """When the instance ends, so does the command, with one line and exit status 1 or 2."""
    instance = Instance(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "outcomes", "-f", "--data", str(instance.data)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while not instance.backend.waiting:
            os.sched_yield()
        instance.call(lambda: instance.backend.add_outcome("other", outcome(1)))
        instance.end()
        _, err = process.communicate(timeout=20)
    assert process.returncode in (1, 2)
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_audit(instance: Instance, veredus: Veredus) -> None:
    """The log is shown; a chain that doesn't hold is a failure."""
    change = control_log.Change(actor="alice", action="publish", subject="scenario x", reason="new")
    records = instance.backend.log
    records.append(control_log.append(None, 1_700_000_000_000, change))
    said = veredus("audit", "--data", instance.data)
    assert said.status == 0
    assert "alice  publish  scenario x" in said.out
    assert "Chain intact" in said.out
    forged = msgspec.structs.replace(change, actor="mallory")
    records[0] = msgspec.structs.replace(records[0], change=forged)
    broken = veredus("audit", "--data", instance.data)
    assert broken.status == 1
    assert "Chain broken at record 1" in broken.out
    assert json.loads(veredus("audit", "--json", "--data", instance.data).out)["broken_at"] == 1


def test_an_overloaded_instance_is_exit_status_1(instance: Instance, veredus: Veredus) -> None:
    """Overload isn't the user's mistake."""
    instance.backend.overloaded = True
    said = veredus("send", "--template", "t", "--to", "a@b.c", "--data", instance.data)
    assert said.status == 1
    assert "limit reached" in said.err
