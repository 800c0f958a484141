"""The report as a page: one HTML file with everything inside, for screens of any width, light and dark, and for paper.

It loads nothing: a content security policy in the page forbids it, so the sample mails, shown in
sandboxed frames, can't either.
"""

from __future__ import annotations

__all__ = ("render", "write_report")

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import minijinja
import msgspec

from actors.report.charts import Bar, Segment, bars, columns, responsive, stacked_area
from actors.report.run import Histogram, ProviderResult, RunReport, ScenarioFunnel, TimelinePoint

SAMPLES_SHOWN = 12
SLOWEST_SHOWN = 15
POINTS_DRAWN = 400

_USUAL = (
    "delivered",
    "attempting",
    "ready",
    "scheduled",
    "queued",
    "in_doubt",
    "bounced",
    "expired",
)


def render(run: RunReport) -> str:
    """Make the page."""
    folder = files(__package__)
    environment = minijinja.Environment(
        templates={"report.html": folder.joinpath("report.html").read_text("utf-8")},
        filters={"count": _count, "day": _day, "moment": _moment, "span": _span},
    )
    page = environment.render_template(
        "report.html",
        css=folder.joinpath("report.css").read_text("utf-8"),
        run=msgspec.to_builtins(run),
        balance=_balance(run),
        contradictions=run.contradictions(),
        tiles=_tiles(run),
        states=_states(run.timeline),
        charts=_charts(run),
        funnels=[_funnel(funnel) for funnel in run.funnels],
        unanswered=sum(one.unanswered for one in run.providers),
        providers=[_provider_row(provider) for provider in run.providers],
        slowest=[
            msgspec.to_builtins(slow) | {"delay": _span((slow.delivered_ms - slow.due_ms) / 1000)}
            for slow in run.slowest[:SLOWEST_SHOWN]
        ],
        samples=msgspec.to_builtins(run.samples[:SAMPLES_SHOWN]),
    )
    assert isinstance(page, str)
    return page


def write_report(run: RunReport, path: Path) -> Path:
    """Write the page to `path` and the data beside it, with the suffix .json; gives the data's path."""
    data = path.with_suffix(".json")
    data.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    path.write_text(render(run), encoding="utf-8")
    return data


def _balance(run: RunReport) -> dict[str, Any]:
    """The equation of the conservation law, without terms that are zero, and its verdict."""
    law = run.balance
    always = ("delivered", "queued")
    if law.missing > 0:
        verdict = f"does not add up: {law.missing:,} accepted messages are in no state"
    elif law.missing < 0:
        verdict = f"does not add up: {-law.missing:,} messages are in more than one state"
    else:
        verdict = "adds up: nothing lost, nothing counted twice"
    return {
        "accepted": law.accepted,
        "parts": [
            {"name": name, "number": number}
            for name, number in law.parts()
            if number or name in always
        ],
        "holds": law.missing == 0,
        "verdict": verdict,
        "skipped": [
            {"reason": reason.replace("_", " "), "number": number}
            for reason, number in sorted(law.skipped.items(), key=lambda item: -item[1])
        ],
    }


def _tiles(run: RunReport) -> list[dict[str, str]]:
    days = (run.log_end_ms - run.input.first_ms) / 86_400_000
    tiles = [
        ("events in", _count(run.input.rows), f"from {_count(run.input.contacts)} contacts"),
        ("mails delivered", _count(run.balance.delivered), _per_second(run)),
        ("log time", f"{days:,.0f} days", f"until {_day(run.log_end_ms)}"),
        ("wall time", _span(run.wall_s), _faster(days, run.wall_s)),
        ("attempts", _count(sum(n * times for n, times in run.attempts.items())), _retried(run)),
        ("arrived twice", _count(run.duplicates), _kills(run)),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _per_second(run: RunReport) -> str:
    return f"{run.balance.delivered / run.wall_s:,.0f} a second" if run.wall_s else ""


def _faster(days: float, wall_s: float) -> str:
    return f"{days / wall_s:,.1f} days a second" if wall_s else ""


def _retried(run: RunReport) -> str:
    again = sum(number for times, number in run.attempts.items() if times > 1)
    return f"{_count(again)} messages needed more than one"


def _kills(run: RunReport) -> str:
    if not run.kills:
        return "no worker was killed"
    workers = "a worker was killed" if run.kills == 1 else f"workers were killed {run.kills} times"
    return f"{workers}; at most {_count(run.in_the_air_max)} in the air"


def _charts(run: RunReport) -> dict[str, str]:
    charts: dict[str, Callable[[int], str]] = {}
    if len(run.timeline) > 1:
        charts["timeline"] = lambda width: _timeline(run.timeline, width)
    if run.providers:
        charts["providers"] = lambda width: _provider_bars(run.providers, width)
    if run.attempts:
        charts["attempts"] = lambda width: _attempts(run.attempts, width)
    for name, histogram, axis in (
        (
            "accept_latency",
            run.accept_latency,
            "from hand-over to the provider's answer, wall time",
        ),
        ("due_delay", run.due_delay, "from due to accepted, log time"),
    ):
        if histogram is not None:
            charts[name] = _histogram(histogram, axis)
    return {name: responsive(draw) for name, draw in charts.items()}


def _timeline(points: list[TimelinePoint], width: int) -> str:
    drawn = points[:: max(1, len(points) // POINTS_DRAWN)]
    if drawn[-1] is not points[-1]:
        drawn.append(points[-1])
    series = {name: [p.states.get(name, 0) for p in drawn] for name in _states(points)}
    return stacked_area(
        "Messages by state over log time", [p.log_ms for p in drawn], series, width=width
    )


def _states(points: list[TimelinePoint]) -> list[str]:
    """States that somebody was ever in, those of the usual way first."""
    seen = {name for point in points for name, number in point.states.items() if number}
    return [name for name in _USUAL if name in seen] + sorted(seen - set(_USUAL))


def _provider_bars(providers: list[ProviderResult], width: int) -> str:
    rows = [
        Bar(
            one.name,
            [
                Segment(one.delivered, "delivered", "delivered"),
                Segment(one.deferred, "deferred", "attempts deferred"),
                Segment(one.disconnects, "disconnected", "connections lost"),
                Segment(one.bounced, "bounced", "bounced"),
                Segment(one.unanswered, "in-doubt", "without an answer"),
            ],
            f"{_count(one.attempts)} attempts",
        )
        for one in providers
    ]
    return bars("Attempts by provider and outcome", rows, width=width)


def _attempts(attempts: dict[int, int], width: int) -> str:
    total = sum(attempts.values())
    rows = [
        Bar(
            f"{times} attempt" + ("s" if times > 1 else ""),
            [Segment(number, "delivered" if times == 1 else "deferred", "messages")],
            f"{_count(number)} ({_percent(number, total)})",
        )
        for times, number in sorted(attempts.items())
    ]
    return bars("Messages by number of attempts", rows, width=width)


def _histogram(histogram: Histogram, axis: str) -> Callable[[int], str]:
    unit, counts = histogram.unit, histogram.counts
    labels = [f"≤ {_quantity(bound, unit)}" for bound in histogram.bounds]
    if counts[len(labels) :] == [0]:
        counts = counts[:-1]
    else:
        labels.append(f"> {_quantity(histogram.bounds[-1], unit)}")
    title = f"Messages by time {axis}"
    return lambda width: columns(title, labels, counts, width=width, style="plain", axis=axis)


def _funnel(funnel: ScenarioFunnel) -> dict[str, Any]:
    rows = [Bar("opened", [Segment(funnel.opened, "plain", "journeys")], _count(funnel.opened))]
    for step in funnel.steps:
        note = f"{_count(step.reached)} ({_percent(step.reached, funnel.opened)})"
        if step.kind == "send":
            note += f", {_count(step.delivered)} delivered"
        segments = [Segment(step.reached, "plain", f"journeys reached this {step.kind}")]
        if step.kind == "send":
            rest = max(step.reached - step.delivered, 0)
            segments = [
                Segment(step.delivered, "delivered", "delivered"),
                Segment(rest, "queued", "reached, not delivered"),
            ]
        rows.append(Bar(f"{step.step} · {step.kind}", segments, note))
    title = f"Journeys of {funnel.scenario} by step"
    facts: dict[str, Any] = msgspec.to_builtins(funnel)
    return facts | {"chart": responsive(lambda width: bars(title, rows, width=width))}


def _provider_row(provider: ProviderResult) -> dict[str, Any]:
    causes = sorted(provider.deferrals.items(), key=lambda item: -item[1])
    median, p99 = provider.accept_ms_median, provider.accept_ms_p99
    facts: dict[str, Any] = msgspec.to_builtins(provider)
    return facts | {
        "deferral_rate": _percent(provider.deferred, provider.attempts),
        "causes": ", ".join(
            f"{cause.replace('_', ' ')} {_count(number)}" for cause, number in causes
        ),
        "median": "" if median is None else _quantity(median, "ms"),
        "p99": "" if p99 is None else _quantity(p99, "ms"),
    }


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(part: float, whole: float) -> str:
    if not whole:
        return ""
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _quantity(value: float, unit: str) -> str:
    return (
        f"{value:g} ms"
        if unit == "ms" and value < 1000
        else _span(value / 1000 if unit == "ms" else value)
    )


def _span(seconds: float) -> str:
    """Render a length of time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(at for at, (number, _) in enumerate(units) if number)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number)
