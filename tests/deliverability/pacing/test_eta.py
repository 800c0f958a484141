"""Estimates: the stated interval holds the truth in four cases of five, whatever the provider does."""

import random

import pytest

from deliverability.pacing.eta import EtaModel, what_if_rate_changes

HOUR = 3_600_000


@pytest.mark.parametrize("bias", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_the_interval_is_calibrated_though_the_estimate_is_biased(
    bias: float, spread: float
) -> None:
    model, chance, held, asked = EtaModel(), random.Random(1), 0, 0
    for number in range(3_000):
        eta = model.estimate(ahead=99, per_hour=100, blocked_ms=0, now_ms=0)
        at_ms = int(HOUR * bias * chance.lognormvariate(0, spread))
        if number >= 200:
            asked += 1
            held += eta.holds(at_ms)
        model.came_true(eta, at_ms)
    assert 0.75 <= held / asked <= 0.85


def test_an_interval_is_called_calibrated_only_after_some_answers() -> None:
    model = EtaModel()
    for _ in range(10):
        eta = model.estimate(ahead=9, per_hour=100, blocked_ms=0, now_ms=0)
        assert not eta.calibrated
        model.came_true(eta, eta.likely_ms)
    assert model.estimate(ahead=9, per_hour=100, blocked_ms=0, now_ms=0).calibrated


def test_what_a_doubled_limit_would_change() -> None:
    what_if = what_if_rate_changes(ahead=199, per_hour=100, blocked_ms=HOUR, now_ms=0, factor=2.0)
    assert (what_if.likely_ms, what_if.changed_ms) == (3 * HOUR, 2 * HOUR)
