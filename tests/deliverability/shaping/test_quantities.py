"""Quantities: what KumoMTA's users write is read exactly, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.quantities import (
    ConnectionLimit,
    Threshold,
    Throttle,
    parse_connection_limit,
    parse_duration_ms,
    parse_threshold,
    parse_throttle,
    show_duration,
)
from engine.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/min", Throttle(100, 60_000)),
        ("10/s", Throttle(10, 1_000)),
        ("50,000/day", Throttle(50_000, 86_400_000)),
        ("1_000/h,max_burst=5", Throttle(1_000, 3_600_000, burst=5)),
        ("local:20/30 minutes", Throttle(20, 1_800_000, local=True)),
    ],
)
def test_throttles_as_kumomta_writes_them(text: str, expected: Throttle) -> None:
    assert parse_throttle(text) == expected


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("90m", 5_400_000),
        ("2 hours", 7_200_000),
        ("3 days", 259_200_000),
        ("1 hour 30 min", 5_400_000),
        (60, 60_000),
    ],
)
def test_durations_with_their_units(text: object, expected_ms: int) -> None:
    assert parse_duration_ms(text) == expected_ms


@pytest.mark.parametrize(
    "text", ["", "5", "/min", "5/", "5/fortnight", "0/s", "-1/s", "1/0 s", 5, None]
)
def test_what_is_no_throttle_is_refused_with_a_mend(text: object) -> None:
    with pytest.raises(InputError) as caught:
        parse_throttle(text)
    assert caught.value.mend


@pytest.mark.parametrize("text", ["", "soon", "5", True, None, -1, "9999999999 days"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InputError):
        parse_duration_ms(text)


def test_connections_and_thresholds() -> None:
    assert parse_connection_limit("local:5") == ConnectionLimit(5, local=True)
    assert parse_connection_limit(7) == ConnectionLimit(7)
    assert parse_threshold("5/hr") == Threshold(5, 3_600_000)
    with pytest.raises(InputError):
        parse_connection_limit(0)
    with pytest.raises(InputError):
        parse_connection_limit(True)


@given(
    st.integers(1, 10**9),
    st.sampled_from([1_000, 60_000, 3_600_000, 86_400_000, 90_000]),
    st.none() | st.integers(1, 1_000),
    st.booleans(),
)
def test_what_is_shown_reads_back_as_the_same(
    quantity: int, period_ms: int, burst: int | None, local: bool
) -> None:
    throttle = Throttle(quantity, period_ms, burst, local)
    assert parse_throttle(str(throttle)) == throttle
    assert parse_duration_ms(show_duration(period_ms)) == period_ms
