"""Health as a page: each source at each provider with its score, reasons, and the curves of a day and a month.

One HTML file with everything inside, in the manner of the report (`actors.report`), whose charts and style it uses.
"""

from __future__ import annotations

__all__ = ("render", "write_page")

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import minijinja

from actors.health_views import HealthLine, HealthView
from actors.report.charts import columns, responsive, stacked_area
from deliverability.feedback.rates import RatePoint
from deliverability.pacing.health import ALERT_BELOW, SLOW_BELOW
from engine.errors import InputError, Place

LINES_MAX = 200
"""More lanes make no page that anybody reads; the worst come first."""
_IN = 10_000


def render(view: HealthView) -> str:
    """Make the page of what was told with curves."""
    folder = files(__package__)
    environment = minijinja.Environment(
        templates={"page.html": folder.joinpath("page.html").read_text("utf-8")}
    )
    shown = view.lines[:LINES_MAX]
    page = environment.render_template(
        "page.html",
        css=files("actors.report").joinpath("report.css").read_text("utf-8"),
        made=_moment(view.at_ms),
        is_paced=view.is_paced,
        limited=view.limited,
        lines=[_line(one) for one in shown],
        hidden=len(view.lines) - len(shown),
        counts=[
            ("good", sum(one.score >= ALERT_BELOW for one in view.lines)),
            ("poor", sum(SLOW_BELOW <= one.score < ALERT_BELOW for one in view.lines)),
            ("bad", sum(one.score < SLOW_BELOW for one in view.lines)),
        ],
    )
    assert isinstance(page, str)
    return page


def write_page(view: HealthView, path: Path) -> None:
    """Write the page. Raises: InputError: it can't be written."""
    try:
        path.write_text(render(view), encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(path))) from None


def _line(one: HealthLine) -> dict[str, Any]:
    name = f"{one.source or 'default'} to {one.provider}"
    lane = one.lane
    facts = []
    if lane is not None:
        facts.append(f"{lane.phase}: {lane.reason}; {lane.per_hour:,.0f} an hour")
        if lane.pressed_until:
            facts.append(f"half the pace: {lane.pressed_why}")
        if lane.warmup is not None:
            warm = lane.warmup
            used = f"{warm.used:,} of {warm.volume:,} used"
            facts.append(f"warm-up: {warm.phase}, day {warm.day}, {used}: {warm.reason}")
    return {
        "name": name,
        "score": one.score,
        "word": "bad" if one.score < SLOW_BELOW else "poor" if one.score < ALERT_BELOW else "good",
        "reasons": [{"takes": reason.takes, "says": reason.says} for reason in one.reasons],
        "facts": facts,
        "day": _area(f"{name}: the last day, by ten minutes", one.day),
        "month": _area(f"{name}: the last month, by day", one.month),
        "complaints": _complaints(name, one.month),
        "streams": [
            f"{line.tenant} {line.stream}: {line.delivered:,} delivered, {line.deferred:,} deferred, "
            f"{line.bounced:,} bounced, {line.complained:,} complained"
            for line in one.streams
        ],
    }


def _area(title: str, points: Sequence[RatePoint]) -> str:
    """Draw what was accepted, put off and refused over time; "" where there is no time to draw over."""
    if len(points) < 2:
        return ""
    times = [one.at for one in points]
    series = {
        "delivered": [one.delivered for one in points],
        "deferred": [one.deferred for one in points],
        "bounced": [one.bounced for one in points],
    }
    return responsive(lambda width: stacked_area(title, times, series, width=width))


def _complaints(name: str, points: Sequence[RatePoint]) -> str:
    """Draw complaints in ten thousand, by day; "" where there were none."""
    if not any(one.complained for one in points):
        return ""
    labels = [datetime.fromtimestamp(one.at / 1000, UTC).strftime("%d %b") for one in points]
    values = [round(one.complained * _IN / one.delivered) if one.delivered else 0 for one in points]
    axis = f"complaints in {_IN:,} delivered, by day (Google's ceiling: 30)"
    return responsive(
        lambda width: columns(
            f"{name}: {axis}", labels, values, width=width, style="bounced", axis=axis
        )
    )


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
