"""Charts keep to their frame, and their axes have round numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.report.charts import (
    NARROW,
    WIDE,
    Bar,
    Segment,
    bars,
    columns,
    stacked_area,
    time_ticks,
    value_ticks,
)

DAY = 86_400_000
counts = st.integers(0, 10**9)


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_value_ticks_are_round_evenly_spaced_and_reach_the_top(most: int) -> None:
    ticks = value_ticks(most)
    step = ticks[1] - ticks[0]
    assert ticks[0] == 0
    assert ticks[-1] >= most
    assert len(ticks) <= 7
    assert re.fullmatch(r"(1|2|5)0*", f"{step:.0f}")


@settings(deadline=None)
@given(st.integers(0, 40_000 * DAY), st.integers(1, 20_000 * DAY), st.integers(2, 12))
def test_time_ticks_lie_within_and_are_not_too_many(begin: int, length: int, wanted: int) -> None:
    ticks = time_ticks(begin, begin + length, wanted)
    assert len(ticks) <= wanted + 2
    assert [ms for ms, _ in ticks] == sorted({ms for ms, _ in ticks})
    assert all(begin <= ms <= begin + length for ms, _ in ticks)


@settings(deadline=None)
@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=20))
def test_areas_stay_within_the_frame(values: list[tuple[int, int]]) -> None:
    times = [number * DAY for number in range(len(values))]
    series = {"delivered": [a for a, _ in values], "in_doubt": [b for _, b in values]}
    for width in (NARROW, WIDE):
        drawing = ET.fromstring(stacked_area("t", times, series, width=width))
        for polygon in drawing.iter("polygon"):
            for point in polygon.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= 280


@settings(deadline=None)
@given(st.lists(st.lists(counts, max_size=4), max_size=8))
def test_bars_stay_within_the_frame_and_their_lengths_are_in_proportion(
    rows: list[list[int]],
) -> None:
    data = [
        Bar(f"row {n}", [Segment(value, "queued", "x") for value in row], f"{sum(row)}")
        for n, row in enumerate(rows)
    ]
    for width in (NARROW, WIDE):
        drawing = ET.fromstring(bars("t", data, width=width))
        rects = [
            (float(rect.attrib["x"]), float(rect.attrib["width"])) for rect in drawing.iter("rect")
        ]
        assert len(rects) == sum(value > 0 for row in rows for value in row)
        assert all(x >= 0 and x + wide <= width + 1 for x, wide in rects)


@settings(deadline=None)
@given(st.lists(counts, min_size=1, max_size=30))
def test_columns_stand_on_the_axis(values: list[int]) -> None:
    labels = [f"≤ {number} ms" for number in range(len(values))]
    drawing = ET.fromstring(columns("t", labels, values, width=NARROW, style="plain", axis="time"))
    for rect in drawing.iter("rect"):
        bottom = float(rect.attrib["y"]) + float(rect.attrib["height"])
        assert 177 <= bottom <= 179.2


def test_labels_are_escaped() -> None:
    drawing = bars("<t>", [Bar("<b>&", [Segment(1, 'x" onload="y', "n")])], width=WIDE)
    label = ET.fromstring(drawing).find("text")
    assert label is not None
    assert label.text == "<b>&"
    assert "onload=" not in drawing


def test_a_state_with_a_reason_has_the_colour_of_its_kind() -> None:
    drawing = stacked_area("t", [0, 1], {"skipped:no_consent": [0, 3]}, width=600)
    assert 'class="s-skipped"' in drawing
