"""Intervals and power, against figures of the literature."""

from __future__ import annotations

import pytest

from actors.simulation.intervals import difference, power_of, share_of, visible_difference


def test_shares_have_wilsons_interval() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for count, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        share = share_of(count, of)
        assert share.low == pytest.approx(low, abs=5e-5)
        assert share.high == pytest.approx(high, abs=5e-5)
    assert (share_of(0, 0).low, share_of(0, 0).high) == (0.0, 1.0)


def test_differences_have_newcombes_interval() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10: 56/70 against 48/80."""
    value, low, high = difference(share_of(56, 70), share_of(48, 80))
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(0.0524, abs=5e-5)
    assert high == pytest.approx(0.3339, abs=5e-5)


def test_power_is_that_of_the_usual_test() -> None:
    """A half against 0.6 with 388 each is seen in 8 of 10; no difference in 1 of 20 at most."""
    assert power_of(share_of(194, 388), share_of(233, 388)) == pytest.approx(0.8, abs=0.01)
    assert power_of(share_of(50, 100), share_of(50, 100)) <= 0.05
    assert visible_difference(0.5, 388, 388) == pytest.approx(0.1, abs=0.002)
    assert visible_difference(0.0, 10, 10) == 1.0
