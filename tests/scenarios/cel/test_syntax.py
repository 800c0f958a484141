"""Parsing expressions: places, messages, bounds."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.cel.syntax import LENGTH_MAX, ExpressionMistake, parse


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("", 1, 1, "empty"),
        ("a = 1", 1, 3, "`=` compares nothing"),
        ("a == 1 and b", 1, 8, "`and` isn't an operator"),
        ("a == 'x", 1, 6, "no closing quote"),
        ("a ==\n  1 +", 2, 5, "ends too early"),
        ("a == 12u", 1, 6, "isn't supported"),
        ("while == 1", 1, 1, "reserved"),
        ("has(a)", 1, 1, "one field"),
        ("a.all(1, true)", 1, 1, "a variable and an expression"),
        ("99999999999999999999", 1, 1, "64 bits"),
        ("'\\q'", 1, 1, "isn't an escape"),
        ("Money{value: 1}", 1, 1, "aren't part"),
        ("(" * 70 + "a" + " + 1)" * 70, 1, 63, "nested deeper"),
        ("a" * (LENGTH_MAX + 1), 1, 1, "at most"),
    ],
)
def test_a_mistake_has_its_place_and_says_what_is_wrong(
    text: str, line: int, column: int, part: str
) -> None:
    with pytest.raises(ExpressionMistake) as caught:
        parse(text)
    assert part in caught.value.message
    assert (line, column) == (caught.value.line, caught.value.column)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab.()[]{}'\"\\+-!&|=<>?: 10in,\n", max_size=60))
def test_any_text_gives_a_tree_or_a_mistake(text: str) -> None:
    with suppress(ExpressionMistake):
        parse(text)


@pytest.mark.parametrize("text", ["!" * 1_900 + "a", "a" + "+a" * 990, "[" * 1_999, "-" * 1_999])
def test_hostile_nesting_is_a_mistake_and_not_a_crash(text: str) -> None:
    with pytest.raises(ExpressionMistake):
        parse(text)
