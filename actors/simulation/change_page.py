"""A change's report as text and as one page of HTML, for any width, light and dark; it loads nothing."""

from __future__ import annotations

__all__ = ("change_shown", "render_change")

from collections.abc import Iterator
from importlib.resources import files

import minijinja
import msgspec

from actors.report.charts import Bar, Segment, bars, responsive
from actors.simulation.change_report import ChangeReport, Place
from actors.simulation.page import count, moment, short
from actors.simulation.post import Told
from actors.simulation.showing import percent
from scenarios.difference import told

_POLICIES = {
    "stay": "stay on their version",
    "next": "move when they reach their next waiting step",
    "now": "move at once",
}
_HOURS_SHOWN = 12
_PLACES_SHOWN = 20
_LINES = 8


def change_shown(report: ChangeReport) -> str:
    """Write the report for a terminal."""
    return "\n".join(_lines(report))


def _lines(report: ChangeReport) -> Iterator[str]:
    yield (
        f"{report.scenario} {report.before} -> {report.after}, published {report.at} UTC: journeys under way "
        f"{_POLICIES[report.policy]}"
    )
    yield f"  contacts             {report.contacts:,}, seed {report.seed}"
    yield f"  of them under way    {percent(report.under_way)}, {report.journeys:,} journeys"
    yield f"  go another way       {percent(report.otherwise)} of the journeys"
    yield f"  more mail, less      {report.more_mail:,}, {report.less_mail:,}"
    yield ""
    yield "What changed"
    yield from (f"  {told(one)}" for one in report.differences)
    yield from () if report.differences else ("  nothing in meaning",)
    yield ""
    yield f"{'Stood at':<26}{'go to':<26}{'journeys':>10}{'due by it':>11}"
    for place in report.places[:_PLACES_SHOWN]:
        yield f"  {place.step:<24}{where_to(place):<26}{place.journeys:>10,}{place.at_once:>11,}"
    yield ""
    yield f"{'Ends':<26}{'with the change':<26}{'journeys':>10}"
    for ending in report.endings[:_PLACES_SHOWN]:
        yield f"  {ending.without:<24}{ending.with_it:<26}{ending.journeys:>10,}"
    yield ""
    yield f"{'Mails from then on':<26}{'without':>10}{'with':>10}"
    for mail in report.mails:
        yield f"  {mail.step:<24}{mail.without:>10,}{mail.with_it:>10,}"
    first = report.hours[0]
    yield f"  {'in the first hour':<24}{first.without:>10,}{first.with_it:>10,}"
    for tale in report.tales[:2]:
        yield ""
        yield f"{tale.contact}, who stood at {tale.stood_at}"
        for name, lines in (("without the change", tale.without), ("with it", tale.with_it)):
            yield f"  {name}"
            yield from (f"    {_line(line)}" for line in lines[:_LINES])
    yield ""
    yield from report.findings or ("Nothing that somebody should know before publishing.",)


def where_to(place: Place) -> str:
    """Say where journeys go."""
    if not place.to:
        return "(stay on their version)"
    return "(end)" if place.to.startswith("(") else place.to


def _line(line: Told) -> str:
    return f"{moment(line.at)}  {line.what}: {line.detail}"


def render_change(report: ChangeReport) -> str:
    """Make the page."""
    css = files("actors.report").joinpath("report.css").read_text("utf-8")
    text = files(__package__).joinpath("change.html").read_text("utf-8")
    environment = minijinja.Environment(
        templates={"change.html": text}, filters={"count": count, "moment": moment}
    )
    page = environment.render_template(
        "change.html",
        css=css,
        report=msgspec.to_builtins(report, str_keys=True),
        tiles=_tiles(report),
        policy=_POLICIES[report.policy],
        differences=[told(one) for one in report.differences],
        places=[
            {"step": one.step, "to": where_to(one), "journeys": one.journeys, "due": one.at_once}
            for one in report.places
        ],
        mails=responsive(lambda width: _mails(report, width)),
        hours=responsive(lambda width: _hours(report, width)) if _differ(report) else "",
    )
    assert isinstance(page, str)
    return page


def _tiles(report: ChangeReport) -> list[dict[str, str]]:
    first = report.hours[0]
    without = sum(one.without for one in report.mails)
    with_it = sum(one.with_it for one in report.mails)
    tiles = [
        ("under way", count(report.under_way.count), f"of {report.contacts:,} contacts"),
        ("journeys", count(report.journeys), "are open at the change"),
        ("go another way", short(report.otherwise), f"{report.otherwise.count:,} journeys"),
        ("mails from then on", count(with_it), f"{without:,} without the change"),
        ("more mail, less", f"{report.more_mail:,}, {report.less_mail:,}", "journeys"),
        ("in the first hour", count(first.with_it), f"mails; {first.without:,} without"),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _mails(report: ChangeReport, width: int) -> str:
    rows = []
    for one in report.mails:
        rows += _pair(one.step, one.without, one.with_it)
    return bars("Mails of those under way, without the change and with it", rows, width=width)


def _hours(report: ChangeReport, width: int) -> str:
    shown = [one for one in report.hours if one.without != one.with_it][:_HOURS_SHOWN]
    rows = []
    for one in shown:
        rows += _pair(f"hour {one.hour + 1}", one.without, one.with_it)
    return bars("Mails by hour after the change", rows, width=width)


def _differ(report: ChangeReport) -> bool:
    return any(one.without != one.with_it for one in report.hours)


def _pair(label: str, without: int, with_it: int) -> list[Bar]:
    return [
        Bar(label, [Segment(without, "queued", "without the change")], count(without)),
        Bar("", [Segment(with_it, "plain", "with the change")], count(with_it)),
    ]
