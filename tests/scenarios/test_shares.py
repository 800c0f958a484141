"""Statistics of shares against exact results and published figures."""

from __future__ import annotations

from math import comb, exp, lgamma
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.shares import Arm, chances_of_best, contacts_needed, p_value, tail


@pytest.mark.parametrize(
    ("base", "effect", "alpha", "power", "wanted"),
    [
        (0.05, 0.05, 0.05, 0.8, 435),  # Fleiss, Levin, Paik, table A.4, without the correction
        (0.5, 0.1, 0.05, 0.8, 388),
        (0.1, 0.02, 0.05, 0.9, 5141),
        (0.5, -0.1, 0.05, 0.8, 388),
    ],
)
def test_the_contacts_a_test_needs(
    base: float, effect: float, alpha: float, power: float, wanted: int
) -> None:
    assert contacts_needed(base, effect, alpha, power) == pytest.approx(wanted, abs=1)


@pytest.mark.parametrize(("base", "effect"), [(0.05, 0.0), (0.0, 0.1), (0.95, 0.05), (0.1, -0.1)])
def test_what_no_test_can_tell_is_refused(base: float, effect: float) -> None:
    with pytest.raises(ValueError, match="no test"):
        contacts_needed(base, effect, 0.05, 0.8)


def test_a_test_of_that_size_finds_the_effect_as_often_as_planned() -> None:
    """Simulated: of 2,000 tests at the planned size 80 % find the effect, and 5 % find one that isn't there."""
    number = contacts_needed(0.3, 0.1, 0.05, 0.8)
    chance = Random(7)

    def arm(share: float) -> Arm:
        return Arm(number, _drawn(chance, number, share))

    found = sum(p_value(arm(0.4), arm(0.3)) < 0.05 for _ in range(2000)) / 2000
    false = sum(p_value(arm(0.3), arm(0.3)) < 0.05 for _ in range(2000)) / 2000
    assert found == pytest.approx(0.8, abs=0.03)
    assert false == pytest.approx(0.05, abs=0.015)


def _drawn(chance: Random, number: int, share: float) -> int:
    return sum(chance.random() < share for _ in range(number))


def test_the_p_value_is_that_of_the_z_test() -> None:
    # (120/1000, 150/1000): z = 1.9629
    assert p_value(Arm(1000, 120), Arm(1000, 150)) == pytest.approx(0.0497, abs=0.0002)
    assert p_value(Arm(), Arm(10, 5)) == 1.0
    assert p_value(Arm(10, 0), Arm(10, 0)) == 1.0


@given(st.integers(1, 200), st.integers(0, 200), st.floats(0.001, 0.999))
def test_the_tail_is_that_of_the_binomial(of: int, count: int, share: float) -> None:
    arm = Arm(of, min(of, count))
    wanted = sum(
        comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(arm.successes, of + 1)
    )
    assert tail(arm, share) == pytest.approx(wanted, abs=1e-9)


def exact(one: Arm, other: Arm) -> float:
    """The chance that the second arm is better than the first, by Evan Miller's closed form."""

    def beta(a: int, b: int) -> float:
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    a1, b1 = 1 + one.successes, 1 + one.contacts - one.successes
    a2, b2 = 1 + other.successes, 1 + other.contacts - other.successes
    total = 0.0
    for i in range(a2):
        total += exp(beta(a1 + i, b1 + b2) - beta(1 + i, b2) - beta(a1, b1)) / (b2 + i)
    return total


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Arm(100, 10), Arm(100, 15)),
        (Arm(1000, 50), Arm(800, 48)),
        (Arm(20, 20), Arm(5, 1)),
        (Arm(), Arm()),
    ],
)
def test_chances_of_being_best_agree_with_the_closed_form(one: Arm, other: Arm) -> None:
    found = chances_of_best([one, other], Random(3), 20_000)
    assert sum(found) == pytest.approx(1.0)
    assert found[1] == pytest.approx(exact(one, other), abs=0.012)
