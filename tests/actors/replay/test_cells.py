"""What one cell may be, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.replay.cells import (
    CellError,
    address_cell,
    contact_cell,
    field_converter,
    pick_domain,
    time_converter,
)
from actors.replay.mapping import Field, Time

NOON = 853_070_400_000  # 1997-01-12 12:00 UTC


def money(cell: Any, decimals: int = 2) -> Any:
    return field_converter(Field("x", "money", decimals=decimals))(cell)


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15), st.integers(0, 4))
def test_money_is_exact(units: int, decimals: int) -> None:
    assert money(str(Decimal(units).scaleb(-decimals)), decimals) == units


@pytest.mark.parametrize(
    ("cell", "units"), [("29.33", 2933), ("-0.10", -10), ("7", 700), (" 1.500 ", 150), (12, 1200)]
)
def test_money_examples(cell: Any, units: int) -> None:
    assert money(cell) == units


@pytest.mark.parametrize(
    "cell", ["29.333", "1e3", "NaN", "Infinity", "", "1,5", "٣", "9" * 41, True, None, "1" * 30]
)
def test_what_is_no_exact_amount_is_refused(cell: Any) -> None:
    with pytest.raises(CellError):
        money(cell)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_number_or_refused(text: str) -> None:
    for kind in ("int", "float", "bool", "money"):
        try:
            value = field_converter(Field("x", kind))(text)
        except CellError:
            continue
        assert isinstance(value, int | float)


@pytest.mark.parametrize(("cell", "value"), [("12", 12), ("-3", -3), (Decimal("4.0"), 4)])
def test_whole_numbers(cell: Any, value: int) -> None:
    assert field_converter(Field("x", "int"))(cell) == value


@pytest.mark.parametrize("cell", ["1.5", "9223372036854775808", "1_000", False])
def test_what_is_no_whole_number_of_64_bits_is_refused(cell: Any) -> None:
    with pytest.raises(CellError):
        field_converter(Field("x", "int"))(cell)


@pytest.mark.parametrize(
    ("rule", "cell", "ms"),
    [
        (Time("x", "%Y%m%d", at="12:00"), "19970112", NOON),
        (Time("x", "%Y%m%d", at="13:00", zone="Europe/Warsaw"), "19970112", NOON),
        (Time("x"), "1997-01-12T12:00:00Z", NOON),
        (Time("x"), "1997-01-12T13:00:00+01:00", NOON),
        (Time("x", zone="Europe/Warsaw"), "1997-01-12 13:00", NOON),
        (Time("x", at="12:00"), "1997-01-12", NOON),
        (Time("x"), "1997-01-12T12:00:00.250Z", NOON + 250),
        (Time("x", "epoch_s"), str(NOON // 1000), NOON),
        (Time("x", "epoch_s"), Decimal("853070400.25"), NOON + 250),
        (Time("x", "epoch_ms"), NOON, NOON),
        (Time("x", "%d/%m/%Y %H:%M"), "12/01/1997 12:00", NOON),
    ],
)
def test_times(rule: Time, cell: Any, ms: int) -> None:
    assert time_converter(rule)(cell) == ms


@settings(deadline=None)
@given(st.integers(0, 253_370_764_800_000_000))
def test_every_moment_in_iso_8601_is_read_to_the_ms(microseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert time_converter(Time("x"))(moment.isoformat()) == microseconds // 1000


@pytest.mark.parametrize(
    ("rule", "cell"),
    [
        (Time("x"), "yesterday"),
        (Time("x", "%Y%m%d"), "19970231"),
        (Time("x", at="12:00"), "1997-01-12T09:00:00"),
        (Time("x"), "1969-12-31T23:59:59Z"),
        (Time("x", "epoch_ms"), "1e400"),
        (Time("x", "epoch_ms"), "9" * 30),
        (Time("x"), None),
    ],
)
def test_what_is_no_time_is_refused(rule: Time, cell: Any) -> None:
    with pytest.raises(CellError):
        time_converter(rule)(cell)


@pytest.mark.parametrize(
    "rule",
    [
        Time("x", "%Y-%Q"),
        Time("x", "%H:%M"),
        Time("x", "%Y%m%d %H:%M", at="12:00"),
        Time("x", "epoch_s", at="12:00"),
        Time("x", at="noon"),
        Time("x", zone="Europe/Nowhere"),
        Time("x", zone="../../etc/passwd"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused_before_the_first_row(rule: Time) -> None:
    with pytest.raises(CellError):
        time_converter(rule)


@pytest.mark.parametrize("cell", ["", "a\0b", "a\nb", "x" * 257, None, True, 1.5])
def test_what_is_no_contact_id_is_refused(cell: Any) -> None:
    with pytest.raises(CellError):
        contact_cell(cell)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@b.test",
        "a@",
        "a b@c.test",
        "a@b@c.test",
        "a\r\nRCPT@c.test",
        "a@-b.test",
        "a@b..c",
        "x" * 65 + "@b.test",
        "a@" + "b." * 130 + "c",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(CellError):
        address_cell(address)


def test_domains_are_picked_in_proportion_and_always_the_same() -> None:
    weights = {"a.test": 70, "b.test": 25, "c.test": 5}
    picked = Counter(pick_domain(f"c{number}", weights) for number in range(4_000))
    again = Counter(pick_domain(f"c{number}", weights) for number in range(4_000))
    assert picked == again
    for domain, weight in weights.items():
        assert abs(picked[domain] / 4_000 - weight / 100) < 0.03
