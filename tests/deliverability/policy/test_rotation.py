"""Rotation of a key: never switched before DNS shows it, the old record kept long enough, every step repeatable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.policy.rotation import (
    DAY_MS,
    KEEP_OLD_MS,
    Phase,
    advance,
    begin,
    next_selector,
)
from engine.errors import InputError

START = begin("shop.example", "s1", "s2", "keys/s2.pem", 1_000)


def test_it_waits_for_dns_however_long() -> None:
    """No time makes up for a record that isn't there."""
    step = advance(START, "s2._domainkey.shop.example: no such name", 1_000 + 1_000 * DAY_MS)
    assert (step.rotation, step.moved) == (START, False)
    assert "no such name" in step.todo


def test_the_whole_way() -> None:
    """Published, switched, and retired when the old key's mail is gone."""
    switched = advance(START, "", 5_000)
    assert (switched.moved, switched.rotation.phase) == (True, Phase.SWITCHED)
    assert "14 more days" in switched.todo
    early = advance(switched.rotation, "", 5_000 + KEEP_OLD_MS - 1)
    assert (early.moved, early.rotation) == (False, switched.rotation)
    assert "1 more days" in early.todo
    retired = advance(switched.rotation, "", 5_000 + KEEP_OLD_MS)
    assert (retired.moved, retired.rotation.phase) == (True, Phase.RETIRED)
    again = advance(retired.rotation, "", 10**15)
    assert (again.moved, again.rotation) == (False, retired.rotation)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30 * DAY_MS)), max_size=12))
def test_no_order_of_answers_switches_without_dns(steps: list[tuple[bool, int]]) -> None:
    """Until an answer shows the key, the old one signs."""
    rotation, now, shown_once = START, 1_000, False
    for shown, later in steps:
        now += later
        shown_once = shown_once or shown
        rotation = advance(rotation, "" if shown else "not there", now).rotation
        assert shown_once or rotation.phase is Phase.PUBLISHED
        assert rotation.phase is not Phase.RETIRED or now >= rotation.switched + KEEP_OLD_MS


@pytest.mark.parametrize(
    ("selector", "taken", "following"),
    [
        ("s1", set(), "s2"),
        ("s9", {"s10"}, "s11"),
        ("main", set(), "main-2"),
        ("2026", set(), "2027"),
        ("", set(), "-2"),
    ],
)
def test_the_next_selector(selector: str, taken: set[str], following: str) -> None:
    """The number one higher, and none that is taken."""
    assert next_selector(selector, taken) == following


def test_the_same_selector_is_refused() -> None:
    """A key can't be replaced under its own name."""
    with pytest.raises(InputError, match="in use already"):
        begin("shop.example", "s1", "s1", "x", 0)
