"""What a change of a live scenario does to those under way: each figure follows from files that are read here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.simulation.change import Change, change_of
from actors.simulation.change_page import change_shown, render_change
from actors.simulation.change_report import ChangeReport, Place
from actors.simulation.run import Options, read_setting, simulate_change
from actors.simulation.world import Setting
from engine.errors import InputError
from scenarios.checking import load
from scenarios.difference import places_for_removed
from scenarios.migration import Migration

CONTACTS = 60
OLD = """
scenario: s
entry: began
goal: bought
steps:
  - {id: first, wait: 4d}
  - {id: one, send: {template: hello, topic: t}}
  - {id: second, wait: 4d}
  - {id: two, send: {template: again, topic: t}}
  - {id: third, wait: 1d}
"""
BEHAVIOUR = """
begins: 2026-03-02
days: 20
contacts: {consents: {t: 1}}
happens: [{event: began, at: 2026-03-02 12:00}]
mail: {bounced: 0, complained: 0, unsubscribed: 0}
"""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Give the old scenario with everybody entering it at one moment."""
    (tmp_path / "s.yaml").write_text(OLD, "utf-8")
    (tmp_path / "s.behaviour.yaml").write_text(BEHAVIOUR, "utf-8")
    return read_setting(tmp_path / "s.yaml", seed=5)


def changed(
    setting: Setting,
    new: str,
    on: str,
    policy: str,
    *,
    places: dict[str, str] | None = None,
    spread_ms: int = 3_600_000,
    processes: int = 1,
    contacts: int = CONTACTS,
) -> ChangeReport:
    """Publish a new version at a moment."""
    after = load(new)
    found = {**places_for_removed(setting.scenario, after), **(places or {})}
    migration = msgspec.convert({"policy": policy, "places": found}, Migration)
    change = change_of(setting, setting.scenario, on, migration, spread_ms)
    both = msgspec.structs.replace(setting, scenario=after)
    return simulate_change(both, change, Options(contacts=contacts, processes=processes), quiet)


def quiet(_done: int) -> None:
    """Hear of progress."""


def mails(report: ChangeReport) -> dict[str, tuple[int, int]]:
    """Give mails by step, without the change and with it."""
    return {one.step: (one.without, one.with_it) for one in report.mails}


SHORTER = OLD.replace("4d", "1d")


def test_who_stays_is_not_touched(setting: Setting) -> None:
    report = changed(setting, SHORTER, "2026-03-05 12:00", "stay")
    assert report.journeys == report.under_way.count == CONTACTS
    assert report.otherwise.count == 0
    assert report.places == (Place("first", "", CONTACTS, 0),)
    assert mails(report) == {"one": (CONTACTS, CONTACTS), "two": (CONTACTS, CONTACTS)}
    assert report.tales == ()
    assert report.findings == ()


def test_a_move_now_makes_due_at_once_what_has_waited_long_enough(setting: Setting) -> None:
    """Three days waited of what is one day now: all is due within the spread, and the report says it's a wave."""
    report = changed(setting, SHORTER, "2026-03-05 12:00", "now")
    assert report.places == (Place("first", "first", CONTACTS, CONTACTS),)
    assert report.otherwise.count == CONTACTS
    first = report.hours[0]
    assert (first.without, first.with_it) == (0, CONTACTS)
    assert sum(hour.with_it for hour in report.hours) == CONTACTS * 2  # the second a day later
    assert any("60 mails go in the first hour" in one for one in report.findings)
    wider = changed(setting, SHORTER, "2026-03-05 12:00", "now", spread_ms=36_000_000)
    assert sum(hour.with_it for hour in wider.hours[:10]) == CONTACTS
    assert wider.hours[0].with_it < CONTACTS / 3


def test_at_the_next_step_the_new_version_counts_from_there(setting: Setting) -> None:
    report = changed(setting, SHORTER, "2026-03-05 12:00", "next")
    assert report.places == (Place("first", "second", CONTACTS, 0),)
    first_hours = [(hour.without, hour.with_it) for hour in report.hours]
    assert first_hours[24] == (CONTACTS, CONTACTS)  # the fourth day ends for all as before
    assert sum(with_it for _, with_it in first_hours) == CONTACTS
    assert report.endings[0].journeys == CONTACTS


def test_a_removed_step_sends_journeys_to_a_place_or_ends_them(setting: Setting) -> None:
    without = OLD.replace("  - {id: second, wait: 4d}\n", "")
    ended = changed(setting, without, "2026-03-08 12:00", "now", places={"second": ""})
    assert ended.places == (Place("second", "(step_removed)", CONTACTS, 0),)
    assert [(one.without, one.with_it) for one in ended.endings] == [("done", "step_removed")]
    assert mails(ended) == {"two": (CONTACTS, 0)}
    assert (ended.more_mail, ended.less_mail) == (0, CONTACTS)
    assert any("--place second=STEP" in one for one in ended.findings)
    moved = changed(setting, without, "2026-03-08 12:00", "now", places={"second": "third"})
    assert [one.to for one in moved.places] == ["third"]
    assert [(one.without, one.with_it) for one in moved.endings] == [("done", "done")]


def test_a_template_that_comes_again_is_found(setting: Setting) -> None:
    report = changed(
        setting, OLD.replace("template: again", "template: hello"), "2026-03-08 12:00", "now"
    )
    assert report.twice == {"hello": CONTACTS}
    assert f"{CONTACTS} journeys send hello a second time" in report.findings
    tale = report.tales[0]
    assert tale.stood_at == "second"
    assert "mail delivered" in [line.what for line in tale.with_it]


def test_the_number_of_processes_changes_no_byte(setting: Setting) -> None:
    """Two chunks in one process and in two."""
    one, two = (
        changed(setting, SHORTER, "2026-03-05 12:00", "now", processes=number, contacts=2_050)
        for number in (1, 2)
    )
    assert msgspec.json.encode(one) == msgspec.json.encode(two)
    assert one.journeys == 2_050


def test_before_anybody_is_under_way_the_report_says_so(setting: Setting) -> None:
    report = changed(setting, SHORTER, "2026-03-02 01:00", "now")
    assert report.journeys == 0
    assert "Nobody is under way" in report.findings[0]
    assert "Nobody is under way" in render_change(report)


def test_it_is_shown_as_text_and_as_a_page(setting: Setting) -> None:
    report = changed(setting, SHORTER, "2026-03-05 12:00", "now")
    for shown in (change_shown(report), render_change(report)):
        assert "first.duration: 4d" in shown
        assert "60 mails go in the first hour" in shown
        assert report.tales[0].contact in shown
    page = render_change(report)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("on", "said"), [("soon", "isn't a moment"), ("2026-05-01", "isn't within the simulated days")]
)
def test_a_moment_that_cannot_be_is_refused(setting: Setting, on: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        changed(setting, SHORTER, on, "now")


def test_another_scenario_takes_no_place(setting: Setting) -> None:
    other = load(OLD.replace("scenario: s", "scenario: other"))
    change = Change(before=other, at=1, migration=Migration("now"))
    with pytest.raises(InputError, match="can't replace"):
        simulate_change(setting, change, Options(contacts=1, processes=1), quiet)
