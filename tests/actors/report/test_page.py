"""The page holds what the run says, adds it up, opens offline, and lets nothing of a mail run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from actors.report import RunReport, render, write_report
from actors.report.run import Balance, InputSummary
from tests.actors.report.sample_run import sample_run

EMPTY = RunReport(
    "Nothing", 0, 0.0, "twin", 0, InputSummary("empty.ndjson", "", 0, 0, 0, 0), Balance(0)
)


class Outline(HTMLParser):
    """Collects what a browser would load, and whether tags are balanced."""

    VOID = frozenset(("meta", "br", "img", "link"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    outline = Outline(render(sample_run()))
    assert outline.open == []
    assert outline.loads == []
    assert "script" not in outline.tags
    assert "link" not in outline.tags


def test_the_policy_forbids_to_load_and_to_run() -> None:
    assert "default-src 'none'" in render(sample_run())


def test_a_law_that_holds_is_shown_as_an_equation_with_its_verdict() -> None:
    text = text_of(render(sample_run()))
    assert "9,800 accepted = 9,642 delivered + 61 bounced + 3 expired + 12 cancelled" in text
    assert "The sum adds up: nothing lost" in text
    assert "differ" not in text


@pytest.mark.parametrize(
    ("delivered", "verdict"),
    [
        (9_641, "does not add up: 1 accepted messages are in no state"),
        (9_644, "does not add up: 2 messages are in more than one state"),
    ],
)
def test_a_law_that_does_not_hold_is_said_aloud(delivered: int, verdict: str) -> None:
    run = sample_run()
    balance = msgspec.structs.replace(run.balance, delivered=delivered)
    text = text_of(render(msgspec.structs.replace(run, balance=balance)))
    assert verdict in text
    assert "≠" in text


def test_counts_from_two_places_that_differ_are_shown() -> None:
    run = sample_run()
    wrong = msgspec.structs.replace(run, attempts={1: 5})
    assert wrong.contradictions() == ["attempts by provider 11,840, attempts by message 5"]
    assert "Two counts differ: attempts by provider 11,840" in text_of(render(wrong))
    assert run.contradictions() == []


def test_each_chart_is_drawn_wide_and_narrow_and_is_well_formed() -> None:
    drawings = re.findall(r"<svg.*?</svg>", render(sample_run()), re.DOTALL)
    assert len(drawings) == 2 * 7  # timeline, providers, attempts, two funnels, two histograms
    for drawing in drawings:
        assert ET.fromstring(drawing).get("role") == "img"


def test_every_colour_that_a_chart_names_is_defined() -> None:
    page = render(sample_run())
    defined = set(re.findall(r"\.(s-[a-z-]+)", page))
    assert set(re.findall(r'class="(s-[a-z-]+)"', page)) <= defined


def test_a_mail_is_framed_without_rights_and_its_text_is_escaped() -> None:
    page = render(sample_run())
    frames = re.findall(r"<iframe [^>]*>", page)
    assert len(frames) == 1
    assert " sandbox " in frames[0]
    assert "<script>" not in page
    assert "</pre><b>odd" not in page


def test_hostile_names_stay_text() -> None:
    run = msgspec.structs.replace(sample_run(), title="<script>alert(1)</script>", notes=["<b>x"])
    page = render(run)
    assert "<script>alert" not in page
    assert "<b>x" not in page


def test_a_run_without_anything_is_a_page_too() -> None:
    page = render(EMPTY)
    assert Outline(page).open == []
    assert "0 accepted = 0 delivered + 0 queued" in text_of(page)


def test_the_data_lie_beside_the_page(tmp_path: Path) -> None:
    run = sample_run()
    data = write_report(run, tmp_path / "report.html")
    assert data == tmp_path / "report.json"
    assert msgspec.json.decode(data.read_bytes(), type=RunReport) == run
    assert json.loads(data.read_text())["balance"]["accepted"] == 9_800
    assert (tmp_path / "report.html").read_text() == render(run)
