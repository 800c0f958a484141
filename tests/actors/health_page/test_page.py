"""The page of health shows each lane with its curves, loads nothing, and lets no name out of its place."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path

import pytest

from actors.health_page.page import LINES_MAX, render, write_page
from actors.health_views import HealthLine, HealthView
from deliverability.feedback.rates import Lane, RatePoint, Rates
from deliverability.pacing.health import Reason
from engine.errors import InputError
from tests.actors.test_health_desk import World

NOW = 1_800_000_000_000
DAY = 86_400_000
MINUTES = 600_000


def line(score: int, provider: str = "google", month: list[RatePoint] | None = None) -> HealthLine:
    return HealthLine(
        "b", provider, score, [Reason(100 - score, "0.40% complained")], month=month or []
    )


def test_curves_add_up_tenants_and_streams_and_leave_no_gap() -> None:
    """Ten minutes each up to a day, a day each up to a month; what came back later counts as bounced."""
    rates = Rates()
    for tenant in ("a", "b"):
        lane = Lane(tenant, "marketing", "192.0.2.1", "google")
        rates.note(lane, "delivered", "", NOW, 10)
        rates.note(lane, "returned", "mailbox-full", NOW - 3 * MINUTES, 2)
        rates.note(lane, "complained", "complaint", NOW - 5 * DAY, 1)
    (day,) = rates.curves("day", NOW).values()
    (month,) = rates.curves("month", NOW).values()
    assert (len(day), len(month)) == (144, 30)
    assert {two.at - one.at for one, two in itertools.pairwise(day)} == {MINUTES}
    assert (day[-1].delivered, day[-4].bounced) == (20, 4)
    assert sum(one.complained for one in day) == 0
    assert month[-6] == RatePoint(NOW // DAY * DAY - 5 * DAY, complained=2)


def test_the_desk_gives_curves_to_the_source_by_its_name(tmp_path: Path) -> None:
    """Only where they are asked for."""
    world = World(tmp_path)
    world.counted.rates.note(
        Lane("default", "marketing", "192.0.2.1", "google"), "deferred", "x", NOW, 3
    )
    (bare,) = asyncio.run(world.desk.told()).lines
    (told,) = asyncio.run(world.desk.told(curves=True)).lines
    assert (bare.day, bare.month) == ([], [])
    assert (told.source, told.day[-1].deferred, told.month[-1].deferred) == ("b", 3, 3)


def test_each_lane_stands_with_its_verdict_reasons_and_curves() -> None:
    """The words beside the colours; complaints in ten thousand, by day."""
    month = [RatePoint(NOW - n * DAY, 10_000, 5, 3, 40 if n == 2 else 0) for n in (3, 2, 1, 0)]
    lines = [line(30, month=month), line(60, "yahoo"), line(100, "wp")]
    page = render(HealthView(True, NOW, lines, ["b to google: suspended: <rule>"]))
    assert "1 good, 1 poor, 1 bad" in page
    assert "30 bad" in page
    assert "0.40% complained" in page
    assert "suspended: &lt;rule&gt;" in page
    assert page.count("<svg") == 4  # wide and narrow, of one lane: the month and complaints
    assert re.search(r"<title>\d\d \w+: 40</title>", page)
    assert not re.search(r"(src|href)=", page)


def test_a_name_from_outside_stays_text() -> None:
    """A provider's name is a site's, and that is what DNS says."""
    month = [RatePoint(NOW - DAY, 1), RatePoint(NOW, 2, complained=1)]
    page = render(HealthView(False, NOW, [line(30, '"><script>', month)], []))
    assert "<script>" not in page
    assert "isn't paced" in page


def test_only_the_worst_are_drawn_and_nothing_is_hidden_silently() -> None:
    """The page says how many it leaves out; without mail it says so."""
    lines = [line(100, f"p{n}.example") for n in range(LINES_MAX + 7)]
    page = render(HealthView(True, NOW, lines, []))
    assert page.count('class="law good"') == LINES_MAX
    assert "7 more aren" in page
    assert "Nothing was sent yet." in render(HealthView(True, NOW, [], []))


def test_a_page_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    """And not a traceback."""
    with pytest.raises(InputError, match="can't be written"):
        write_page(HealthView(True, NOW, [], []), tmp_path)
    write_page(HealthView(True, NOW, [], []), tmp_path / "health.html")
    assert (tmp_path / "health.html").read_text().startswith("<!doctype html>")
