"""The report as one page of HTML with charts: everything inside, for any width, light and dark; it loads nothing."""

from __future__ import annotations

__all__ = ("count", "moment", "render", "short")

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import minijinja
import msgspec

from actors.report.charts import Bar, Segment, bars, columns, responsive
from actors.simulation.forecast import wait_told
from actors.simulation.intervals import Share
from actors.simulation.loads import Load
from actors.simulation.report import MailStep, Report

_CONTACT_BARS = 10


def render(report: Report) -> str:
    """Make the page."""
    css = files("actors.report").joinpath("report.css").read_text("utf-8")
    text = files(__package__).joinpath("simulation.html").read_text("utf-8")
    environment = minijinja.Environment(
        templates={"simulation.html": text},
        filters={
            "count": count,
            "moment": moment,
            "wait": wait_told,
            "percent": _percent,
            "share": _share,
            "interval": _range,
        },
    )
    page = environment.render_template(
        "simulation.html",
        css=css,
        report=msgspec.to_builtins(report, str_keys=True),
        tiles=_tiles(report),
        charts=_charts(report),
        loads=[_load(load) for load in report.providers],
    )
    assert isinstance(page, str)
    return page


def _tiles(report: Report) -> list[dict[str, str]]:
    volume = report.volume
    tiles = [
        ("contacts", count(report.contacts), f"{report.days} days from {report.begins}"),
        ("have a journey", short(report.entered), _interval(report.entered)),
        ("get a mail", short(report.mailed), _interval(report.mailed)),
        ("journeys", count(report.journeys), f"{count(sum(report.events.values()))} events"),
        ("mails", count(volume.mails), f"{count(report.cap_hits)} held by caps"),
        (
            "busiest day",
            count(volume.busiest_day_mails),
            volume.busiest_day or "no mail",
        ),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _charts(report: Report) -> dict[str, str]:
    charts: dict[str, Callable[[int], str]] = {
        "funnel": lambda width: _funnel(report, width),
        "ended": lambda width: _ended(report, width),
    }
    if any(mail.decided for mail in report.mail):
        charts["mail"] = lambda width: _mail(report.mail, width)
    if report.volume.days:
        charts["days"] = lambda width: _days(report, width)
    charts["contacts"] = lambda width: _contacts(report, width)
    return {name: responsive(draw) for name, draw in charts.items()}


def _funnel(report: Report, width: int) -> str:
    rows = [Bar("opened", [Segment(report.journeys, "plain", "journeys")], count(report.journeys))]
    for step in report.funnel:
        often = f"{step.per_journey:.3g} times" if step.per_journey > 1 else short(step.reached)
        note = f"{count(step.reached.count)} ({often})"
        style = "delivered" if step.kind == "send" else "plain"
        rows.append(
            Bar(f"{step.step} · {step.kind}", [Segment(step.reached.count, style, "taken")], note)
        )
    return bars("Journeys by step", rows, width=width)


def _ended(report: Report, width: int) -> str:
    rows = [
        Bar(
            reason,
            [Segment(share.count, _style(reason), "journeys")],
            f"{count(share.count)} ({short(share)})",
        )
        for reason, share in report.ended.items()
    ]
    rows += [
        Bar(f"still at {step}", [Segment(number, "queued", "journeys")], count(number))
        for step, number in report.standing.items()
    ]
    return bars("How journeys ended", rows, width=width)


def _style(reason: str) -> str:
    if reason.startswith("goal:"):
        return "delivered"
    return "deferred" if reason.startswith(("exit:", "refused:")) else "plain"


def _mail(mail: tuple[MailStep, ...], width: int) -> str:
    rows = []
    for one in mail:
        delivered, bounced = one.became.get("delivered", 0), one.became.get("bounced", 0)
        expired = one.became.get("expired", 0)
        rest = max(one.decided - delivered - bounced - expired, 0)
        parts = [
            Segment(delivered, "delivered", "delivered"),
            Segment(bounced, "bounced", "bounced"),
            Segment(expired, "expired", "expired"),
            Segment(rest, "skipped", "skipped, suppressed or cancelled"),
        ]
        rows.append(Bar(one.step, parts, f"{count(one.decided)} decided"))
    return bars("Mail by step and what became of it", rows, width=width)


def _days(report: Report, width: int) -> str:
    days = report.volume.days
    return columns(
        "Mails by day",
        [day[5:] for day in days],
        list(days.values()),
        width=width,
        style="plain",
        axis="day (UTC)",
    )


def _contacts(report: Report, width: int) -> str:
    counts = report.volume.per_contact
    labels = [str(number) for number in counts if number < _CONTACT_BARS]
    values = [contacts for number, contacts in counts.items() if number < _CONTACT_BARS]
    more = sum(contacts for number, contacts in counts.items() if number >= _CONTACT_BARS)
    if more:
        labels.append(f"{_CONTACT_BARS}+")
        values.append(more)
    return columns(
        "Contacts by number of mails", labels, values, width=width, style="plain", axis="mails"
    )


def _load(load: Load) -> dict[str, Any]:
    seen = load.measured or load.forecast
    limit = min((one.limit * 60 // one.minutes for one in load.quotas), default=0)
    hours = load.hours
    chart = responsive(
        lambda width: columns(
            f"Attempts at {load.provider} by hour",
            [hour[11:] for hour in hours],
            list(hours.values()),
            width=width,
            style="attempting",
            axis=f"hour (UTC) around the busiest, {load.busiest_hour}",
        )
    )
    facts: dict[str, Any] = msgspec.to_builtins(load, str_keys=True)
    return facts | {
        "chart": chart,
        "limits": ", ".join(f"{count(q.limit)} in {wait_told(q.minutes)}" for q in load.quotas),
        "limit_hour": count(limit) if limit else "",
        "late": seen.late,
        "worst": wait_told(seen.minutes_max),
        "mean": f"{seen.minutes_mean:g} min",
        "planned": _planned(load),
    }


def _planned(load: Load) -> list[dict[str, Any]]:
    """Give the days of the warm-up plan, until it never binds again."""
    rows: list[dict[str, Any]] = [
        {"day": day, "wanted": wanted, "plan": load.plan[min(at, len(load.plan) - 1)]}
        for at, (day, wanted) in enumerate(load.days.items() if load.plan else ())
    ]
    binding = [at for at, row in enumerate(rows) if row["wanted"] > row["plan"]]
    return rows[: max(binding) + 2] if binding else rows[:3]


def count(number: int) -> str:
    """Write a number."""
    return f"{number:,}"


def short(share: Share) -> str:
    """Write a share without its interval."""
    return f"{100 * share.value:.3g} %"


def _interval(share: Share) -> str:
    return f"{100 * share.low:.3g} to {100 * share.high:.3g} %"


def _percent(share: dict[str, float]) -> str:
    value, low, high = (100 * share[name] for name in ("value", "low", "high"))
    return f"{value:.3g} % ({low:.3g} to {high:.3g})"


def _share(share: dict[str, float]) -> str:
    return f"{100 * share['value']:.3g} %"


def _range(share: dict[str, float]) -> str:
    return f"{100 * share['low']:.2g} to {100 * share['high']:.2g}"


def moment(ms: int) -> str:
    """Write a moment to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
