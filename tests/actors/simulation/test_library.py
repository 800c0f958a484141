"""The library under simulation: each scenario has a behaviour, and a report of what it makes of it."""

from __future__ import annotations

import pytest

from actors.cli.proving import library
from actors.simulation.page import render
from actors.simulation.run import Options, read_setting, simulate
from actors.simulation.showing import shown
from scenarios.behaviour.reading import read_behaviour

SHELF = library()
CONTACTS = 700
UNREACHED = {"cyclic-education": {"paused"}}
"""Steps that nothing a contact does leads to: the pause is a tag that the shop sets."""


@pytest.mark.parametrize("name", SHELF)
def test_a_scenario_is_simulated_and_every_mail_comes_about(name: str) -> None:
    """Journeys open, all end or stand, each send step is taken, and nothing contradicts itself."""
    setting = read_setting(SHELF[name] / "scenario.yaml", seed=11)
    report = simulate(setting, Options(contacts=CONTACTS, processes=1), lambda _done: None)
    assert report.journeys >= CONTACTS * 0.5
    ended = sum(share.count for share in report.ended.values())
    assert report.journeys == ended + sum(report.standing.values())
    silent = {mail.step for mail in report.mail if not mail.decided}
    assert silent == UNREACHED.get(name, set())
    for mail in report.mail:
        assert sum(mail.became.values()) == mail.decided
    assert name in shown(report)
    assert name in render(report)


@pytest.mark.parametrize("name", SHELF)
def test_a_behaviour_says_whose_it_is_and_that_it_is_assumed(name: str) -> None:
    """Figures without a source are called assumptions."""
    text = (SHELF[name] / "behaviour.yaml").read_text("utf-8")
    assert "assumptions" in text
    assert read_behaviour(text).behaviour


def test_an_experiment_says_what_so_many_contacts_can_show() -> None:
    """Win-back against its holdout: assigned by weight, with interval, power and the smallest difference to be seen."""
    setting = read_setting(SHELF["win-back"] / "scenario.yaml", seed=2)
    report = simulate(setting, Options(contacts=3_000, processes=1), lambda _done: None)
    (experiment,) = report.experiments
    mails, holdout = experiment.variants
    assert (mails.name, holdout.name) == ("mails", "holdout")
    assert 0.06 < holdout.converted.of / (mails.converted.of + holdout.converted.of) < 0.14
    (pair,) = experiment.differences
    assert (pair.variant, pair.against) == ("mails", "holdout")
    assert pair.low <= pair.value <= pair.high
    assert 0.0 <= pair.power <= 1.0
    assert 0.0 < pair.visible < 0.2
