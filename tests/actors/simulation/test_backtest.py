"""Backtest: what a scenario would have sent over a log, at the log's times, compared with what the log says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from actors.simulation.history import backtest_history
from engine.errors import InputError

DAY = 86_400_000
BEGIN = 1_772_452_800_000  # 2026-03-02 12:00 UTC

SCENARIO = """\
scenario: second-order
entry: order.placed
reentry: restart
goal:
  event: review.written
  name: reviewed
steps:
  - id: three-days
    wait: 3d
  - id: ask
    send: {template: ask, topic: offers}
  - id: week
    wait: 7d
  - id: again
    send: {template: again, topic: offers}
"""
OTHER = """\
scenario: thanks
entry: order.placed
reentry: always
steps:
  - id: thank
    send: {template: thank, topic: offers}
"""


def row(contact: str, day: float, event: str, **more: object) -> dict[str, object]:
    """Make a row of a log."""
    return {"event": event, "contact": contact, "at": BEGIN + int(day * DAY), **more}


def person(contact: str, *topics: str) -> dict[str, object]:
    """Say who a contact is, and what it agreed to."""
    consents = [{"topic": topic, "source": "test"} for topic in topics]
    return {"attributes": {"email": f"{contact}@wp.test"}, "consents": consents}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Write two scenarios and a log."""
    scenario, other, log = (
        tmp_path / "second.yaml",
        tmp_path / "thanks.yaml",
        tmp_path / "log.ndjson",
    )
    scenario.write_text(SCENARIO, "utf-8")
    other.write_text(OTHER, "utf-8")
    rows = [
        row("a", 0, "order.placed", **person("a", "offers")),
        row("a", 3, "order.placed"),  # at the time of the first wait: the timer goes first
        row("a", 4, "mail.delivered", data={"step": "ask"}),
        row("a", 12, "review.written"),
        row("b", 0.5, "order.placed", **person("b")),  # agreed to nothing
        row("c", 1, "order.placed", **person("c", "offers")),
        row("c", 2, "review.written"),
        row("d", 1, "page.viewed", **person("d", "offers")),
        row("a", 3, "mail.delivered", data={"step": "ask"}),
    ]
    log.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return scenario, other, log


def test_it_says_what_would_have_gone_to_whom_and_when(files: tuple[Path, Path, Path]) -> None:
    """A timer goes before an event of its time; consent and goals hold; time goes on after the log's end."""
    scenario, _, log = files
    found, sent = backtest_history(scenario, log, None)
    got = [(one.contact, one.step, (one.at - BEGIN) / DAY) for one in sent]
    assert got == [("a", "ask", 3.0), ("a", "ask", 6.0)]
    assert found.mails == {"ask": 2}
    assert found.not_sent == {"ask": {"no_consent": 1}, "again": {"no_consent": 1}}
    assert found.ended == {"done": 1, "goal:reviewed": 2, "restarted": 1}
    assert (found.journeys, found.contacts, found.entered.count) == (4, 4, 3)


def test_it_compares_with_what_happened(files: tuple[Path, Path, Path]) -> None:
    """Mail of the log by contact and day; and who did what the scenario wants, without its mail."""
    scenario, _, log = files
    found, _ = backtest_history(scenario, log, None)
    assert found.compared is not None
    assert (found.compared.both, found.compared.only_scenario, found.compared.only_log) == (1, 1, 1)
    (after,) = found.after
    assert (after.event, after.did.count, after.just_before.count) == ("review.written", 2, 0)


def test_scenarios_beside_share_the_caps(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """With a cap of one in a week, a mail of another scenario takes the place."""
    scenario, other, log = files
    settings = tmp_path / "contact.toml"
    settings.write_text('[[caps]]\nname = "one"\nlimit = 1\nwindow_ms = 604800000\n', "utf-8")
    found, sent = backtest_history(scenario, log, None, beside=[other], settings=settings)
    by_step = Counter((one.contact, one.scenario, one.step) for one in sent)
    assert by_step == {("a", "thanks", "thank"): 1, ("c", "thanks", "thank"): 1}
    assert found.mails == {}
    assert found.journeys == 4
    assert found.not_sent["ask"] == {"cap": 2, "no_consent": 1}


def test_an_empty_log_and_settings_that_say_nothing_known_are_told(tmp_path: Path) -> None:
    """Mistakes have a place."""
    scenario, log = tmp_path / "s.yaml", tmp_path / "log.ndjson"
    scenario.write_text(SCENARIO, "utf-8")
    log.write_text("", "utf-8")
    with pytest.raises(InputError, match="no event"):
        backtest_history(scenario, log, None)
    log.write_text(json.dumps(row("a", 0, "order.placed")) + "\n", "utf-8")
    bad = tmp_path / "contact.toml"
    bad.write_text("caps = 3\n", "utf-8")
    with pytest.raises(InputError, match="caps"):
        backtest_history(scenario, log, None, settings=bad)
