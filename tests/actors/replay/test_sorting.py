"""Rows come grouped by rising time, stably, whether sorted in memory, by runs on disk, or already."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.replay.rows import LogRow
from actors.replay.sorting import Survey, instants, survey
from engine.errors import InputError
from engine.vocabulary import Event


def rows_at(times: list[int]) -> list[LogRow]:
    return [
        LogRow(number.to_bytes(4), f"c{number}", Event("e", at, {"n": number}))
        for number, at in enumerate(times)
    ]


def expected(rows: list[LogRow]) -> list[tuple[int, list[LogRow]]]:
    in_order = sorted(rows, key=lambda row: row.event.at)  # sorted() is stable
    return [(at, list(group)) for at, group in groupby(in_order, key=lambda row: row.event.at)]


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(0, 30), max_size=80),
    st.sampled_from([1, 60, 200, 10**6]),
    st.integers(2, 5),
)
def test_the_same_as_a_stable_sort_in_memory(
    tmp_path: Path, times: list[int], run_bytes: int, merge_ways: int
) -> None:
    rows = rows_at(times)
    got = instants(
        rows, survey(rows), directory=tmp_path, run_bytes=run_bytes, merge_ways=merge_ways
    )
    assert list(got) == expected(rows)
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**12)))
def test_a_survey_tells_rows_range_and_whether_it_is_sorted(times: list[int]) -> None:
    first, last = (min(times), max(times)) if times else (0, 0)
    assert survey(rows_at(times)) == Survey(len(times), first, last, times == sorted(times))


def test_a_sorted_log_is_streamed_and_nothing_is_written(tmp_path: Path) -> None:
    taken = 0

    def source() -> Iterator[LogRow]:
        nonlocal taken
        for row in rows_at(list(range(1000))):
            taken += 1
            yield row

    stream = instants(
        source(), Survey(1000, 0, 999, sorted=True), directory=tmp_path / "none", run_bytes=1
    )
    assert next(stream)[0] == 0
    assert taken == 2


def test_runs_are_removed_when_the_consumer_stops_early(tmp_path: Path) -> None:
    rows = rows_at([3, 1, 2] * 20)
    stream = instants(rows, survey(rows), directory=tmp_path, run_bytes=50)
    next(stream)
    assert list(tmp_path.iterdir()) != []
    stream.close()  # type: ignore[attr-defined]  # a generator behind the name Iterator
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_not_the_one_surveyed_is_refused() -> None:
    stream = instants(rows_at([2, 1]), Survey(2, 1, 2, sorted=True))
    with pytest.raises(InputError, match="isn't what it was"):
        list(stream)


def test_memory_stays_bounded_by_the_runs_however_long_the_log_is() -> None:
    count = 30_000

    def source() -> Iterator[LogRow]:
        for number in range(count):
            yield LogRow(b"i", "c", Event("e", number * 7919 % count, {"filler": "x" * 200}))

    tracemalloc.start()
    try:
        stream = instants(source(), Survey(count, 0, count - 1, sorted=False), run_bytes=100_000)
        seen = sum(len(rows) for _, rows in stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == count
    assert peak < 6_000_000  # the log itself has about 8 MB; 64 buffers of 64 KiB are most of it
