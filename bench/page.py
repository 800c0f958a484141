"""The reports of a run as one page with charts: everything inside, nothing is loaded."""

from __future__ import annotations

__all__ = ("page",)

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from typing import Any

from actors.report.charts import Bar, Segment, bars, responsive
from bench.frame import Report, Result
from bench.timeline import Timeline, draw


def page(reports: Sequence[Report], at: datetime) -> str:
    """Make the page."""
    css = files("actors.report").joinpath("report.css").read_text("utf-8")
    body = "".join(_case(report) for report in reports)
    first = reports[0]
    facts = _table(first.machine) + _table(first.versions)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Veredus bench</title>\n<style>{css}\ntable {{ border-collapse: collapse; }}\n"
        "td, th { padding: 3px 14px 3px 0; text-align: right; font-variant-numeric: tabular-nums; }\n"
        "td:first-child, th:first-child { text-align: left; }\n</style>\n</head>\n<body>\n"
        f'<header><div class="brand">Veredus</div><h1>Bench</h1>'
        f'<p class="muted">{at:%Y-%m-%d %H:%M} UTC. Ratios are what binds: how much of its ceiling, '
        "measured beside it, a figure reaches.</p></header>\n"
        f"<main>{body}<section><h2>Machine and versions</h2>{facts}</section></main>\n</body>\n</html>\n"
    )


def _case(report: Report) -> str:
    held = [one for one in report.results if one.ratio is not None]
    chart = responsive(lambda width: _ratios(report.case, held, width)) if held else ""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("figure", "ratio", "median", "unit", "min", "max", "ceiling")
    )
    rows = "".join(_row(one) for one in report.results)
    if isinstance(report.timeline, Timeline):
        seen = report.timeline
        chart += responsive(lambda width: draw(seen, width))
    return (
        f"<section><h2>{escape(report.case)}</h2>{chart}<table><tr>{head}</tr>{rows}</table>"
        f"<h3>Settings</h3>{_table(report.settings)}"
        f"<h3>Calibration</h3>{_table(report.calibration)}</section>\n"
    )


def _ratios(case: str, held: Sequence[Result], width: int) -> str:
    """Draw each ratio as a bar that the ceiling fills up."""
    rows = [
        Bar(
            one.name,
            [
                Segment(min(one.ratio or 0.0, 1.0) * 100, "plain", "reached, %"),
                Segment(max(1.0 - (one.ratio or 0.0), 0.0) * 100, "skipped", "to its ceiling, %"),
            ],
            f"{one.ratio:.2f} · {one.value:,g} {one.unit}",
        )
        for one in held
    ]
    return bars(f"{case}: share of the ceiling", rows, width=width)


def _row(one: Result) -> str:
    cells = (one.name, one.ratio, one.value, one.unit, one.min, one.max, one.ceiling)
    return "<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in cells) + "</tr>"


def _table(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{_shown(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,g}"
    return escape(str(value))
