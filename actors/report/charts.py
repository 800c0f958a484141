"""Charts as SVG text, out of plain numbers: stacked areas over time, stacked horizontal bars, and columns.

Colours are CSS classes (`s-delivered`, `s-queued`, …) which the page defines for light and dark, so
a chart holds no colour. Each function draws for one width in CSS pixels; `responsive` draws a wide
and a narrow one, of which the page shows one, so that lettering has the same size on a phone.
Values show as tooltips, and each chart has a title for screen readers.
"""

from __future__ import annotations

__all__ = (
    "NARROW",
    "WIDE",
    "Bar",
    "Segment",
    "bars",
    "columns",
    "responsive",
    "stacked_area",
    "time_ticks",
    "value_ticks",
)

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from math import ceil, floor, log10

import msgspec

WIDE = 1000
NARROW = 360

_LETTER = 6.6  # average width of a letter at 12 px, in px
_DAY_MS = 86_400_000
_TIME_STEPS_DAYS = (1, 2, 7, 14)
_TIME_STEPS_MONTHS = (1, 2, 3, 6, 12)


class Segment(msgspec.Struct, frozen=True):
    """A part of a bar: its value, the class of its colour, and what it is called."""

    value: float
    style: str
    name: str


class Bar(msgspec.Struct, frozen=True):
    """A horizontal bar: its label, its parts from the left, and a text behind it."""

    label: str
    segments: list[Segment]
    note: str = ""


def responsive(draw: Callable[[int], str]) -> str:
    """Draw wide and narrow; the page shows the one that fits."""
    return f'<div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>'


def stacked_area(
    title: str, times_ms: Sequence[int], series: Mapping[str, Sequence[int]], *, width: int
) -> str:
    """Draw series stacked in the order given, over rising times; a series' name is its colour's class."""
    height, left, right, top, bottom = 280, 8 + 7 * _LETTER, 12, 12, 26
    totals = [sum(values) for values in zip(*series.values(), strict=True)]
    ticks = value_ticks(max(totals, default=0))
    begin, end = times_ms[0], max(times_ms[-1], times_ms[0] + 1)
    plot_w, plot_h = width - left - right, height - top - bottom

    def x(ms: float) -> float:
        return left + plot_w * (ms - begin) / (end - begin)

    def y(value: float) -> float:
        return top + plot_h * (1 - value / ticks[-1])

    parts = _value_axis(ticks, y, left, width - right)
    base = [0.0] * len(times_ms)
    for name, values in series.items():
        upper = [low + value for low, value in zip(base, values, strict=True)]
        outline = [(x(t), y(v)) for t, v in zip(times_ms, upper, strict=True)]
        outline += [(x(t), y(v)) for t, v in zip(reversed(times_ms), reversed(base), strict=True)]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in outline)
        parts.append(
            f'<polygon class="s-{_class(name)}" points="{points}">'
            f"<title>{_text(name)}: {values[-1]:,} at the end</title></polygon>"
        )
        base = upper
    for ms, label in time_ticks(begin, end, max(2, int(plot_w // 90))):
        parts.append(_label(x(ms), height - 8, label, _anchor(x(ms), left, width - right)))
        parts.append(f'<path class="tick" d="M{x(ms):.1f} {height - bottom}v4"/>')
    return _svg(title, width, height, parts)


def bars(title: str, rows: Sequence[Bar], *, width: int) -> str:
    """Draw horizontal bars on one scale. On a narrow width the label goes above its bar.

    A row without a label belongs to the one before it, and stands close to it.
    """
    narrow = width < 600
    note_w = max((len(row.note) for row in rows), default=0) * _LETTER + 8
    label_w = (
        0
        if narrow
        else min(max((len(row.label) for row in rows), default=0) * _LETTER + 16, width * 0.3)
    )
    thick = 16 if narrow else 18
    above = 20 if narrow else 6  # room for the label, or between bars
    below = 8 if narrow else 6
    most = max((sum(part.value for part in row.segments) for row in rows), default=0) or 1
    scale = (width - label_w - note_w - 4) / most
    parts: list[str] = []
    end = 0
    for row in rows:
        top = end + above if row.label or not end else end - below + 3
        end = top + thick + below
        middle = top + thick / 2 + 4
        if row.label:
            parts.append(_label(0, top - 6 if narrow else middle, row.label, "start", "strong"))
        at = label_w
        for part in row.segments:
            wide = part.value * scale
            if part.value > 0:
                parts.append(
                    f'<rect class="s-{_class(part.style)}" x="{at:.1f}" y="{top}" '
                    f'width="{max(wide, 1):.1f}" height="{thick}"><title>{_text(row.label)}, '
                    f"{_text(part.name)}: {part.value:,.0f}</title></rect>"
                )
            at += wide
        parts.append(_label(at + 8, middle, row.note, "start"))
    return _svg(title, width, end + 4, parts)


def columns(
    title: str, labels: Sequence[str], values: Sequence[int], *, width: int, style: str, axis: str
) -> str:
    """Draw columns side by side, each with its label below; labels are thinned out where they don't fit."""
    height, left, right, top, bottom = 220, 8 + 7 * _LETTER, 4, 20, 42
    ticks = value_ticks(max(values, default=0))
    plot_h = height - top - bottom
    pitch = (width - left - right) / max(len(values), 1)
    longest = max((len(label) for label in labels), default=1) * _LETTER + 6
    every = max(1, ceil(longest / pitch))

    def y(value: float) -> float:
        return top + plot_h * (1 - value / ticks[-1])

    parts = _value_axis(ticks, y, left, width - right)
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        at = left + number * pitch
        if value:
            parts.append(
                f'<rect class="s-{_class(style)}" x="{at + pitch * 0.1:.1f}" y="{y(value):.1f}" '
                f'width="{pitch * 0.8:.1f}" height="{max(y(0) - y(value), 1):.1f}">'
                f"<title>{_text(label)}: {value:,}</title></rect>"
            )
        if number % every == 0:
            parts.append(_label(at + pitch / 2, height - bottom + 16, label, "middle"))
    parts.append(_label((left + width) / 2, height - 6, axis, "middle"))
    return _svg(title, width, height, parts)


def value_ticks(most: float, wanted: int = 4) -> list[float]:
    """Choose round values from 0 to at least `most`: steps of 1, 2 or 5 times a power of ten, never below 1."""
    rough = max(most, 1) / wanted
    power = 10 ** floor(log10(rough))
    step = max(next(power * times for times in (1, 2, 5, 10) if power * times >= rough), 1)
    return [step * number for number in range(ceil(max(most, 1) / step) + 1)]


def time_ticks(begin_ms: int, end_ms: int, wanted: int) -> list[tuple[int, str]]:
    """Choose days or months within a stretch of time, at most about `wanted`, with their labels."""
    days = (end_ms - begin_ms) / _DAY_MS
    if days < 1.5:
        return [(begin_ms, _moment(begin_ms)), (end_ms, _moment(end_ms))]
    for step in _TIME_STEPS_DAYS:
        if days / step <= wanted:
            return _day_ticks(begin_ms, end_ms, step)
    for step in _TIME_STEPS_MONTHS:
        if days / (30.4 * step) <= wanted:
            return _month_ticks(begin_ms, end_ms, step)
    return _month_ticks(begin_ms, end_ms, 12 * ceil(days / 365 / wanted))


def _day_ticks(begin_ms: int, end_ms: int, step: int) -> list[tuple[int, str]]:
    first = ceil(begin_ms / _DAY_MS)
    return [
        (day * _DAY_MS, _date(day * _DAY_MS).strftime("%d %b"))
        for day in range(first, end_ms // _DAY_MS + 1, step)
    ]


def _month_ticks(begin_ms: int, end_ms: int, step: int) -> list[tuple[int, str]]:
    ticks: list[tuple[int, str]] = []
    month = _date(begin_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (ms := int(month.timestamp() * 1000)) <= end_ms:
        if ms >= begin_ms and (month.month - 1) % min(step, 12) == 0:
            ticks.append((ms, month.strftime("%b %Y")))
        month = (month + timedelta(days=32)).replace(day=1)
    return ticks[:: max(1, step // 12)]


def _value_axis(
    ticks: Sequence[float], y: Callable[[float], float], left: float, right: float
) -> list[str]:
    parts: list[str] = []
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{left:.1f} {y(tick):.1f}H{right:.1f}"/>')
        parts.append(_label(left - 6, y(tick) + 4, f"{tick:,.0f}", "end"))
    return parts


def _svg(title: str, width: int, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{_text(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _label(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    if not text:
        return ""
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{_text(text)}</text>'


def _anchor(x: float, left: float, right: float) -> str:
    """Keep a label inside the drawing."""
    if x - left < 24:
        return "start"
    return "end" if right - x < 24 else "middle"


def _class(name: str) -> str:
    kind = name.partition(":")[
        0
    ]  # a state may carry its reason, `skipped:no_consent`: it is drawn as its kind
    return "".join(sign if sign.isalnum() else "-" for sign in kind.lower())


def _text(text: str) -> str:
    return escape(text, quote=True)


def _date(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _moment(ms: int) -> str:
    return _date(ms).strftime("%d %b %H:%M")
