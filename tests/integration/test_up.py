"""A live instance from the first request to the restart: `veredus up`, spoken to over HTTP, killed, drained."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

MESSAGES = 120
PATIENCE = 12  # empty pages of five seconds each before a test gives up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("up")
    prepare(made)
    return made


@pytest.fixture(scope="module")
def lives(folder: Path) -> Iterator[list[Running]]:
    """All lives of the instance; the last is the present one."""
    made = [Running(folder)]
    yield made
    for life in made:
        life.finish()


@pytest.fixture
def up(lives: list[Running]) -> Running:
    return lives[-1]


def subscriber(up: Running, contact: str) -> None:
    body = {
        "contact": contact,
        "attributes": {"email": f"{contact}@inbox.example", "first_name": contact.title()},
        "consents": [{"topic": "marketing", "granted": True, "source": "test"}],
    }
    response = up.give("PUT", "/v1/contacts", body)
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["status"] == "accepted"


def ends(up: Running, after: str, contacts: set[str]) -> dict[str, dict[str, Any]]:
    """Read outcomes until each of the contacts has had a final one."""
    found: dict[str, dict[str, Any]] = {}
    patience = PATIENCE
    for item, _ in up.outcomes(after):
        if item.get("final") and item["contact"] in contacts:
            found[item["contact"]] = item
        patience -= not item
        if contacts <= set(found) or not patience:
            break
    assert set(found) == contacts, up.log()[-3000:]
    return found


def direct(contact: str) -> dict[str, Any]:
    return {
        "contact": contact,
        "address": f"{contact}@inbox.example",
        "template": "hello",
        "variables": {"contact": {"first_name": contact.title()}},
    }


def latest(up: Running) -> str:
    cursor: str = up.get("/v1/outcomes", after="latest")["next"]
    return cursor


def test_an_event_becomes_a_mail(up: Running) -> None:
    cursor = latest(up)
    subscriber(up, "ann")
    event = {"id": "e1", "name": "signup", "contact": "ann"}
    assert up.give("POST", "/v1/events", event).json()["results"][0]["status"] == "accepted"
    assert up.give("POST", "/v1/events", event).json()["results"][0]["status"] == "duplicate"
    end = ends(up, cursor, {"ann"})["ann"]
    assert (end["kind"], end["scenario"], end["step"]) == ("delivered", "welcome", "hello")
    assert up.get("/v1/contacts/ann")["counts"] == {"signup": 1}
    told = up.get(f"/v1/messages/{end['message_id']}/explain")
    assert told["message"]["state"] == "delivered"
    assert told["message"]["attempts"] == 1


def test_a_message_is_sent_once_for_each_key(up: Running) -> None:
    cursor = latest(up)
    body = direct("bob")
    key = {"Idempotency-Key": "order-1"}
    first = up.give("POST", "/v1/messages", body, **key)
    assert first.status_code == 202, first.text
    again = up.give("POST", "/v1/messages", body, **key)
    assert (again.status_code, again.json()["message_id"]) == (200, first.json()["message_id"])
    other = up.give("POST", "/v1/messages", body | {"contact": "eve"}, **key)
    assert other.status_code == 409
    assert ends(up, cursor, {"bob"})["bob"]["kind"] == "delivered"


def test_an_erased_contact_gets_no_mail(up: Running) -> None:
    subscriber(up, "carl")
    assert up.give("DELETE", "/v1/contacts/carl", {"reason": "asked to"}).status_code == 200
    view = up.get("/v1/contacts/carl")
    assert view["erased"]
    assert view.get("attributes", {}) == {}
    up.give("POST", "/v1/events", {"id": "e2", "name": "signup", "contact": "carl"})
    assert up.get("/v1/contacts/carl").get("journeys", []) == []


def test_nothing_is_skipped_or_told_twice_when_a_worker_is_killed(up: Running) -> None:
    cursor = latest(up)
    contacts = {f"k{n}" for n in range(MESSAGES)}
    pid = up.worker_pid()
    killed = False
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(_order, up, contact) for contact in sorted(contacts)]
        told: list[dict[str, Any]] = []
        finals: Counter[str] = Counter()
        patience = PATIENCE
        for item, _ in up.outcomes(cursor):
            if item:
                told.append(item)
                if item["final"]:
                    finals[item["contact"]] += 1
            patience -= not item
            if not killed and len(finals) >= MESSAGES // 10:
                os.kill(pid, signal.SIGKILL)
                killed = True
            if contacts <= set(finals) or not patience:
                break
        statuses = Counter(future.result() for future in asked)
    assert killed
    assert set(statuses) <= {200, 202}
    assert finals == Counter(dict.fromkeys(contacts, 1)), up.log()[-3000:]
    assert {item["kind"] for item in told if item["final"]} == {"delivered"}
    lines = Counter((item["message_id"], item["attempt"], item["kind"]) for item in told)
    assert max(lines.values()) == 1
    again = [item for (item, _), _ in zip(up.outcomes(cursor, 0), told, strict=False)]
    assert again == told
    worker = up.get("/v1/status")["workers"][0]
    assert worker["pid"] != pid
    assert worker["restarts"] >= 1


def _order(up: Running, contact: str) -> int:
    """Ask for a message as a careful client does: under one key, again while the answer isn't known."""
    for _ in range(100):
        try:
            response = up.give(
                "POST", "/v1/messages", direct(contact), **{"Idempotency-Key": contact}
            )
        except httpx.TransportError:
            continue
        if response.status_code != 503:
            return response.status_code
    return 503


def test_queue_commands(up: Running, folder: Path) -> None:
    """By the command line: suspended mail waits, is listed, and goes out once resumed."""
    cursor = latest(up)
    said = run(folder, "queue", "suspend", "--domain", "inbox.example", "--json")
    assert said.returncode == 0, said.stderr
    mark = json.loads(said.stdout)["number"]
    up.give("POST", "/v1/messages", direct("quincy"), **{"Idempotency-Key": "q1"})
    shown = json.loads(run(folder, "queue", "show", "--domain", "inbox.example", "--json").stdout)
    assert shown["states"] == {"suspended": 1}
    listed = json.loads(run(folder, "queue", "list", "--json").stdout)
    assert [(one["state"], one["messages"]) for one in listed["queues"]] == [("suspended", 1)]
    assert run(folder, "queue", "list").stdout.count("inbox.example") >= 2
    refused = run(folder, "queue", "cancel")
    assert (refused.returncode, "which messages" in refused.stderr) == (2, True)
    lifted = run(folder, "queue", "resume", "--mark", str(mark), "--wait", "20")
    assert lifted.returncode == 0, lifted.stderr
    assert ends(up, cursor, {"quincy"})["quincy"]["kind"] == "delivered"
    assert json.loads(run(folder, "queue", "doubt", "list", "--json").stdout)["items"] == []


def test_everything_adds_up(up: Running, folder: Path) -> None:
    cursor = latest(up)
    subscriber(up, "gina")
    up.give("POST", "/v1/events", {"id": "e5", "name": "signup", "contact": "gina"})
    ends(up, cursor, {"gina"})
    said = run(folder, "audit", "--recount", "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    law = told["conservation"]["law"]
    assert told["conservation"]["holds"]
    assert told["conservation"]["recount"]["agrees"]
    assert told["conservation"]["recount"]["law"] == law
    ready = up.get("/readyz")
    assert ready["checks"] == {"conservation": "ok", "recount": "ok", "w0": "ok"}
    holds = 'veredus_conservation_holds{stream="marketing",tenant="default"} 1.0'
    for _ in range(50):  # metrics show what was seen last, a second ago at most
        if holds in up.client.get("/metrics").text:
            break
        next(up.outcomes(latest(up), 200))
    metrics = up.client.get("/metrics").text
    assert holds in metrics
    assert 'veredus_worker_takes_inputs{worker="w0"} 1.0' in metrics


def test_a_second_one_on_the_same_directory_names_the_holder(up: Running, folder: Path) -> None:
    second = run(folder, "up", "--config", "veredus.toml")
    assert second.returncode == 2
    assert f"process {up.process.pid}" in second.stderr
    reading = run(folder, "store", "check")
    assert reading.returncode == 2
    assert "it is in use, by process" in reading.stderr


def test_it_drains_and_a_restart_finds_everything(lives: list[Running], folder: Path) -> None:
    up = lives[-1]
    cursor = latest(up)
    for contact in ("dora", "emil", "fred"):
        subscriber(up, contact)
    up.give("DELETE", "/v1/contacts/emil")
    up.give("POST", "/v1/events", {"id": "e3", "name": "signup", "contact": "emil"})
    up.give("POST", "/v1/events", {"id": "e4", "name": "signup", "contact": "dora"})
    key = {"Idempotency-Key": "order-3"}
    assert up.give("POST", "/v1/messages", direct("fred"), **key).status_code == 202
    ends(up, cursor, {"dora", "fred"})
    before = up.get("/v1/status")["law"]

    assert up.end() == 0, up.log()[-3000:]
    _look_at_rest(folder)

    lives.append(Running(folder))
    again = lives[-1]
    assert again.get("/v1/status")["law"] == before
    assert again.get("/v1/contacts/dora")["counts"] == {"signup": 1}
    assert again.get("/v1/contacts/emil")["erased"]
    assert again.give("POST", "/v1/messages", direct("fred"), **key).status_code == 200
    found = ends(again, cursor, {"dora", "fred"})
    assert {end["kind"] for end in found.values()} == {"delivered"}


def _look_at_rest(folder: Path) -> None:
    """What the twin took, and what the commands for a directory at rest say."""
    lines = (folder / "data" / "twin" / "received.ndjson").read_text().splitlines()
    received = Counter(json.loads(line)["forward_path"] for line in lines)
    assert received["dora@inbox.example"] == received["fred@inbox.example"] == 1
    assert received["emil@inbox.example"] == 0
    checked = run(folder, "store", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    got = run(folder, "store", "get", "--contact", "dora")
    assert json.loads(got.stdout)["state"]["attributes"]["first_name"] == "Dora"
    other = run(folder, "up", "--config", "veredus.toml", "--workers", "2")
    assert other.returncode == 2
    assert "made for 1 workers, and 2 are asked for" in other.stderr
