"""Simulation: the same seed gives the same bytes, and the funnel is what the behaviour's own figures make it."""

from __future__ import annotations

from importlib import resources
from math import exp, sqrt
from pathlib import Path

import msgspec
import pytest

from actors.simulation.crowd import live_together
from actors.simulation.crowds import live_in_crowds
from actors.simulation.page import render
from actors.simulation.providers import Providers
from actors.simulation.report import Report
from actors.simulation.run import Options, read_setting, simulate
from actors.simulation.showing import shown
from actors.simulation.solo import live_chunk
from actors.simulation.world import Setting, World
from deliverability.twin.presets import twin_of
from engine.errors import InputError

LIBRARY = Path(str(resources.files("scenarios"))) / "library"
CART = LIBRARY / "abandoned-cart" / "scenario.yaml"
CONTACTS = 6_000


def quiet(_done: int) -> None:
    """Hear of progress."""


@pytest.fixture(scope="module")
def setting() -> Setting:
    """Give the library's abandoned cart with its behaviour."""
    return read_setting(CART, seed=7)


@pytest.fixture(scope="module")
def report(setting: Setting) -> Report:
    """Give a simulation in this process."""
    return simulate(setting, Options(contacts=CONTACTS, processes=1), quiet)


def test_the_number_of_processes_changes_no_byte(setting: Setting, report: Report) -> None:
    """Three processes give what one gave; another seed doesn't."""
    three = simulate(setting, Options(contacts=CONTACTS, processes=3), quiet)
    assert msgspec.json.encode(report) == msgspec.json.encode(three)
    other = msgspec.structs.replace(setting, seed=8)
    assert report != simulate(other, Options(contacts=2_000, processes=1), quiet)


def test_the_funnel_is_what_the_figures_of_the_behaviour_make_it(report: Report) -> None:
    """Closed form: each figure lies within four standard errors of what behaviour.yaml says.

    A cart opens a journey where its value is 20.00 or more. Its four hours end before by an order (three in ten, an
    hour on average) or when it is emptied (one in twenty, six hours); a product opens one with the third view of a
    burst that goes on with a half, and each further view begins it anew. The shop answers 99 in 100; 95 are in stock,
    15 cheaper.
    """
    reached = {step.step: step.reached.count for step in report.funnel}
    carts = report.events["cart.updated"]
    _holds(carts, CONTACTS * 1.25, sqrt(CONTACTS * 1.25 * 0.25))
    worth = 1 - (0.25 + 0.25 * (2000 - 1449) / (2613 - 1449))
    browsing = CONTACTS * 0.2
    opened = carts * worth + browsing * 0.5
    _holds(report.journeys, opened, sqrt(carts * worth * (1 - worth) + browsing * 1.3))
    _holds(report.ended["restarted"].count, browsing * 0.25, sqrt(browsing * 0.8))
    waited = (1 - 0.3 * (1 - exp(-4))) * (1 - 0.05 * (1 - exp(-4 / 6)))
    asked = carts * worth * waited + browsing * 0.25
    _holds(reached["answer"], asked, sqrt(asked))
    answered = reached["what-to-say"]
    _share(answered, reached["answer"], 0.99)
    branches = next(one for one in report.funnel if one.step == "what-to-say").branches
    _share(branches["!journey.check.in_stock"], answered, 0.05)
    browse, cheaper = reached["browse-reminder"], reached["cart-cheaper"]
    _holds(browse, browsing * 0.25 * 0.99 * 0.95, sqrt(browsing * 0.25))
    _share(cheaper, cheaper + reached["cart-reminder"], 0.15)
    tail = 0.95 + 0.05 * (10_000 - 9592) / (30_000 - 9592)
    _share(reached["next-morning"], cheaper + reached["cart-reminder"], (1 - tail) / worth, loose=2)


def test_mail_is_answered_as_stated(report: Report) -> None:
    """Consent, bounces, opens and clicks within four standard errors."""
    mail = next(one for one in report.mail if one.step == "cart-reminder")
    _share(mail.handed_over, mail.decided, 0.94)
    _share(mail.became["bounced"], mail.handed_over, 0.004)
    _share(mail.opened.count, mail.opened.of, 0.42)
    _share(mail.clicked.count, mail.clicked.of, 0.15)
    assert sum(mail.became.values()) == mail.decided


def test_all_adds_up(report: Report) -> None:
    """Journeys that opened have ended or stand somewhere; mails by contact are those of all steps."""
    ended = sum(share.count for share in report.ended.values())
    assert report.journeys == ended + sum(report.standing.values())
    volume = report.volume
    assert report.contacts == sum(volume.per_contact.values()) == CONTACTS
    total = sum(number * contacts for number, contacts in volume.per_contact.items())
    assert total == volume.mails == sum(one.handed_over for one in report.mail)
    assert total == sum(load.mails for load in report.providers)
    assert volume.worst_journey == 2
    assert max(volume.most_a_day) <= max(volume.per_contact)


def test_a_sample_lives_through_its_way(report: Report) -> None:
    """The most frequent ways, each with one contact's story in the order of time."""
    assert len(report.tales) == 8
    assert [one.contacts.count for one in report.tales] == sorted(
        (one.contacts.count for one in report.tales), reverse=True
    )
    for tale in report.tales:
        times = [line.at for line in tale.lines]
        assert times == sorted(times)


def test_providers_without_limits_change_nothing(setting: Setting) -> None:
    """A crowd before a twin that takes all gets the mails that each contact gets alone."""
    people = setting.behaviour.contacts
    mail = msgspec.structs.replace(setting.behaviour.mail, bounced=0.0)
    open_minded = msgspec.structs.replace(
        setting,
        twin=twin_of("sink"),
        behaviour=msgspec.structs.replace(setting.behaviour, mail=mail, contacts=people),
    )
    world = World(open_minded)
    alone = live_chunk(world, 0, 1_500)
    crowd = World(open_minded)
    together, told = live_together(
        crowd, range(1_500), Providers(crowd.setting.twin, (), crowd.cast.begins), quiet, [3]
    )
    assert alone.per_contact == together.per_contact
    assert alone.ended == together.ended
    assert {way: one.contacts for way, one in alone.stories.items()} == {
        way: one.contacts for way, one in together.stories.items()
    }
    assert told[3].story


def test_crowds_of_providers_are_what_one_crowd_of_all_is(setting: Setting) -> None:
    """Providers bear on their own contacts alone, and the number of processes changes no byte."""
    world = World(setting)
    together, _ = live_together(
        world, range(1_200), Providers(setting.twin, (), world.cast.begins), quiet
    )
    heard: list[int] = []
    apart, known = live_in_crowds(setting, 1_200, (), 1, heard.append, [3, 7])
    assert msgspec.to_builtins(apart) == msgspec.to_builtins(together)
    assert [one.number for one in sorted(known, key=lambda one: one.number)] == [3, 7]
    assert heard[-1] == 1_200
    one, three = (
        simulate(setting, Options(contacts=1_200, twins=True, processes=number), quiet)
        for number in (1, 3)
    )
    assert msgspec.json.encode(one) == msgspec.json.encode(three)


def test_a_quota_makes_mail_late_and_the_report_says_so(setting: Setting, tmp_path: Path) -> None:
    """A provider that takes ten mails an hour can't meet nine o'clock; forecast and twins both say it."""
    twin = tmp_path / "twins.toml"
    twin.write_text(
        '[[provider]]\nname = "narrow"\nquotas = [{limit = 10, window_s = 3600}]\n', "utf-8"
    )
    behaviour = tmp_path / "behaviour.yaml"
    behaviour.write_text(
        "begins: 2026-03-02\ndays: 3\ncontacts:\n  consents: {tips: 1}\n"
        "  attributes: {timezone: Europe/Warsaw}\n"
        "happens: [{event: account.created, at: 2026-03-02 12:00}]\nmail: {bounced: 0}\n",
        "utf-8",
    )
    file = LIBRARY / "onboarding" / "scenario.yaml"
    narrow = read_setting(file, behaviour=behaviour, twin=twin)
    expected = simulate(narrow, Options(contacts=60, processes=1), quiet)
    assert any(
        "09:00 Europe/Warsaw cannot be met at provider narrow" in one for one in expected.findings
    )
    seen = simulate(narrow, Options(contacts=60, twins=True), quiet)
    (load,) = seen.providers
    assert load.measured is not None
    assert load.measured.late > 100
    assert load.attempts >= load.mails
    assert any("cannot be met" in one for one in seen.findings)
    assert seen == simulate(narrow, Options(contacts=60, twins=True), quiet)


def test_a_provider_that_greylists_gets_its_retries_and_the_run_ends() -> None:
    """New mail is held while retries show how long a greylist wants: nothing waits for ever."""
    greylisted = msgspec.structs.replace(read_setting(CART, seed=3), twin=twin_of("onet-like"))
    report = simulate(greylisted, Options(contacts=400, twins=True), quiet)
    (load,) = report.providers
    assert load.attempts > load.mails
    assert sum(mail.became.get("delivered", 0) for mail in report.mail) > load.mails * 0.8
    assert all(sum(mail.became.values()) == mail.decided for mail in report.mail)


def test_a_warmup_plan_is_held_against_the_load(setting: Setting) -> None:
    """A new source's first days are too small for the mail that is due."""
    report = simulate(setting, Options(contacts=2_000, processes=1, warmup=5), quiet)
    gmail = next(load for load in report.providers if load.provider == "gmail-like")
    assert gmail.plan[:2] == (5, 7)
    assert gmail.forecast.late > 0
    assert report.findings


def test_the_report_is_shown_as_text_and_as_a_page(report: Report) -> None:
    """Both name each step; the page holds all it needs."""
    text, page = shown(report), render(report)
    for step in report.funnel:
        assert step.step in text
        assert step.step in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_scenario_without_behaviour_says_what_to_write(tmp_path: Path) -> None:
    """The file that is missing is named."""
    file = tmp_path / "cart.yaml"
    file.write_text(CART.read_text("utf-8"), "utf-8")
    with pytest.raises(InputError, match="how contacts behave isn't stated") as caught:
        read_setting(file)
    assert "cart.behaviour.yaml" in str(caught.value)


def _holds(count: int, expected: float, deviation: float) -> None:
    assert abs(count - expected) <= 4 * deviation, (count, expected, deviation)


def _share(count: int, of: int, share: float, loose: float = 1) -> None:
    _holds(count, of * share, loose * sqrt(of * share * (1 - share)))
