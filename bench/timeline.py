"""Figures over time: panels of lines on one axis of seconds, under marks for what was done to what is measured."""

from __future__ import annotations

__all__ = ("Line", "Panel", "Timeline", "draw")

from collections.abc import Callable, Sequence
from html import escape

import msgspec

from actors.report.charts import value_ticks

_LETTER = 6.6  # average width of a letter at 12 px, in px
_PANEL = 132
_GAP = 40
_TOP = 22
_LEFT, _RIGHT = 48, 14
Axis = Callable[[float], float]
"""Tells where on the drawing a value lies."""

_STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class Line(msgspec.Struct, frozen=True):
    """A series: its name, the colour of the page that it has, a value at each moment; None: there is none."""

    name: str
    colour: str
    values: list[float | None]
    steps: bool = False  # it stays as it is until it changes


class Panel(msgspec.Struct, frozen=True):
    """Series on one scale."""

    title: str
    lines: list[Line]


class Timeline(msgspec.Struct, frozen=True):
    """What was seen at which moments (s); `marks`: what began when."""

    seconds: list[float]
    panels: list[Panel]
    marks: list[tuple[float, str]] = []


def draw(timeline: Timeline, width: int) -> str:
    """Draw the panels, one below the other, as one SVG."""
    begin, end = timeline.seconds[0], max(timeline.seconds[-1], timeline.seconds[0] + 1)
    scale = (width - _LEFT - _RIGHT) / (end - begin)

    def x(seconds: float) -> float:
        return _LEFT + (seconds - begin) * scale

    bottom = _TOP + len(timeline.panels) * (_PANEL + _GAP) - _GAP
    parts = _marks(timeline, x, bottom, width)
    for number, panel in enumerate(timeline.panels):
        parts += _panel(timeline, panel, x, _TOP + number * (_PANEL + _GAP), width)
    parts += _seconds(begin, end, x, bottom, width)
    title = ", ".join(panel.title for panel in timeline.panels)
    return (
        f'<svg viewBox="0 0 {width} {bottom + 24}" role="img" aria-label="{escape(title)} over time">'
        f"{''.join(parts)}</svg>"
    )


def _marks(timeline: Timeline, x: Axis, bottom: int, width: int) -> list[str]:
    parts, free = [], 0.0
    for at, name in timeline.marks:
        place = x(at)
        parts.append(f'<path class="tick" d="M{place:.1f} {_TOP - 4}V{bottom}"/>')
        if place >= free:  # a label that would lie on another is left out; the line stays
            end = place + len(name) * _LETTER > width - _RIGHT
            parts.append(
                _label(place + (-4 if end else 4), _TOP - 8, name, "end" if end else "start")
            )
            free = place + len(name) * _LETTER + 12
    return parts


def _panel(timeline: Timeline, panel: Panel, x: Axis, top: int, width: int) -> list[str]:
    known = [value for line in panel.lines for value in line.values if value is not None]
    ticks = value_ticks(max(known, default=0), 3)

    def y(value: float) -> float:
        return top + 16 + (_PANEL - 16) * (1 - value / ticks[-1])

    parts = []
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{width - _RIGHT}"/>')
        parts.append(_label(_LEFT - 6, y(tick) + 4, f"{tick:,.0f}", "end"))
    parts.append(_label(_LEFT, top + 6, panel.title, "start", "strong"))
    at = _LEFT + len(panel.title) * _LETTER + 16
    for line in panel.lines:
        colour = f"stroke: var(--{line.colour}); stroke-width: 2; fill: none"
        parts.append(f'<path style="{colour}" d="M{at:.1f} {top + 2}h14"/>')
        parts.append(_label(at + 18, top + 6, line.name, "start"))
        at += 18 + len(line.name) * _LETTER + 16
        d = _path(timeline.seconds, line, x, y)
        if d:
            parts.append(
                f'<path style="{colour}" d="{d}"><title>{escape(line.name)}</title></path>'
            )
    return parts


def _path(seconds: Sequence[float], line: Line, x: Axis, y: Axis) -> str:
    found: list[str] = []
    down = False
    for at, value in zip(seconds, line.values, strict=True):
        if value is None:
            down = False
            continue
        if down and line.steps:
            found.append(f"H{x(at):.1f}")
        found.append(f"{'L' if down else 'M'}{x(at):.1f} {y(value):.1f}")
        down = True
    return "".join(found)


def _seconds(begin: float, end: float, x: Axis, bottom: int, width: int) -> list[str]:
    wanted = max(2, int((width - _LEFT - _RIGHT) // 70))
    step = next((one for one in _STEPS_S if (end - begin) / one <= wanted), _STEPS_S[-1])
    parts = []
    at = -(-begin // step) * step
    while at <= end:
        parts.append(f'<path class="tick" d="M{x(at):.1f} {bottom}v4"/>')
        parts.append(_label(x(at), bottom + 18, f"{at:.0f} s", "middle"))
        at += step
    return parts


def _label(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
