"""`veredus quarantine`, and the law in `veredus audit`, against an engine in memory."""

from __future__ import annotations

import json

import pytest

from tests.actors.cli.conftest import Instance, Veredus


@pytest.fixture
def poisoned(instance: Instance) -> Instance:
    for entry in ("1-1", "1-2", "3-1"):
        instance.backend.put_aside(entry)
    return instance


def test_list_shows_what_where_and_why(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "list", "--data", poisoned.data)
    assert said.status == 0
    for word in ("1-1", "3-1", "contact", "default", "ann", "arrive", "ValueError: bad"):
        assert word in said.out
    page = veredus("quarantine", "list", "--limit", "2", "--data", poisoned.data)
    assert "\n3-1 " in said.out
    assert "\n3-1 " not in page.out
    assert "More: --after 1-2" in page.out


def test_list_as_json(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "list", "--json", "--after", "1-1", "--data", poisoned.data)
    found = json.loads(said.out)
    assert [item["id"] for item in found["items"]] == ["1-2", "3-1"]
    assert found["more"] is False


def test_show_decodes_the_input(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "show", "1-2", "--data", poisoned.data)
    assert "contact default/ann" in said.out
    assert '"name": "signup"' in said.out
    detail = json.loads(veredus("quarantine", "show", "1-2", "--json", "--data", poisoned.data).out)
    assert detail["input"] == {"type": "event", "name": "signup"}


def test_what_is_not_there_is_one_line(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "show", "9-9", "--data", poisoned.data)
    assert said.status == 2
    assert said.err.count("\n") == 1
    assert "no such input in quarantine" in said.err
    assert veredus("quarantine", "show", "nonsense", "--data", poisoned.data).status == 2


def test_replay_removes_what_succeeds(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "replay", "1-1", "3-1", "--data", poisoned.data)
    assert (said.status, said.out) == (0, "1-1: done\n3-1: done\n")
    assert set(poisoned.backend.poison) == {"1-2"}


def test_a_failed_replay_tells_its_reason_and_stays(poisoned: Instance, veredus: Veredus) -> None:
    poisoned.backend.stubborn = True
    said = veredus("quarantine", "replay", "--all", "--data", poisoned.data)
    assert said.status == 1
    assert said.out.splitlines() == [f"{n}: ValueError: still bad" for n in ("1-1", "1-2", "3-1")]
    assert len(poisoned.backend.poison) == 3


def test_drop_is_on_record(poisoned: Instance, veredus: Veredus) -> None:
    said = veredus("quarantine", "drop", "1-1", "--reason", "spam run", "--data", poisoned.data)
    assert (said.status, said.out) == (0, "1-1: done\n")
    change = poisoned.backend.log[-1].change
    assert (change.action, change.subject) == ("quarantine_drop", "1-1")
    assert (change.reason, change.actor) == ("spam run", "operator on this machine")
    again = veredus("quarantine", "drop", "1-1", "--json", "--data", poisoned.data)
    assert again.status == 1
    assert json.loads(again.out)["done"] is False


def test_which_ones_must_be_said(poisoned: Instance, veredus: Veredus) -> None:
    for words in ((), ("1-1", "--all")):
        said = veredus("quarantine", "drop", *words, "--data", poisoned.data)
        assert said.status == 2
        assert "give ids, or --all" in said.err


def test_audit_shows_the_law_and_a_recount(instance: Instance, veredus: Veredus) -> None:
    said = veredus("audit", "--data", instance.data)
    assert said.status == 0
    assert "The law holds." in said.out
    assert "default/marketing" in said.out
    assert "recount" not in said.out
    counted = veredus("audit", "--recount", "--data", instance.data)
    assert counted.status == 0
    assert "A recount of 2 entities (0.0 s) agrees with the counters." in counted.out


def test_audit_fails_when_a_recount_differs(instance: Instance, veredus: Veredus) -> None:
    instance.backend.wrong = "partition 3, default/marketing: counters say nothing, counted all"
    said = veredus("audit", "--recount", "--data", instance.data)
    assert said.status == 1
    assert "DIFFERS FROM" in said.out
    assert "partition 3, default/marketing" in said.out
    assert said.err == "veredus: a recount differs from the counters\n"
    told = json.loads(veredus("audit", "--recount", "--json", "--data", instance.data).out)
    assert told["intact"] is True
    assert told["conservation"]["recount"]["agrees"] is False
