import pytest

from bench.frame import Sample, costs, plain, rates, rounds


def test_a_figure_is_the_median_of_its_rounds_with_minimum_and_maximum() -> None:
    figure = plain("x", "µs", [3.0, 1.0, 2.0])
    assert (figure.value, figure.min, figure.max) == (2.0, 1.0, 3.0)
    assert (figure.ceiling, figure.ratio) == (None, None)


def test_a_rate_reaches_value_over_ceiling() -> None:
    assert rates("x", "1/s", [50.0], [100.0]).ratio == 0.5


def test_a_cost_reaches_ceiling_over_value() -> None:
    assert costs("x", "µs", [50.0], [25.0]).ratio == 0.5


def test_the_ratio_is_the_median_within_rounds_so_that_a_slow_hour_slows_both() -> None:
    figure = rates("x", "1/s", [50.0, 5.0, 40.0], [100.0, 10.0, 100.0])
    assert figure.ratio == 0.5
    assert figure.ceiling == 100.0


def test_each_value_needs_the_ceiling_of_its_own_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        rates("x", "1/s", [50.0, 40.0], [100.0])


def test_figures_have_four_digits_and_no_decimals_from_a_thousand() -> None:
    assert plain("x", "µs", [1.23456]).value == 1.235
    assert plain("x", "1/s", [12345.6]).value == 12346.0


def test_rounds_measure_in_turns(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def measure(name: str) -> Sample:
        order.append(name)
        return {name: float(len(order))}

    found = rounds(2, lambda: measure("ceiling"), lambda: measure("ours"))
    assert order == ["ceiling", "ours", "ceiling", "ours"]
    assert found == {"ceiling": [1.0, 3.0], "ours": [2.0, 4.0]}
    assert capsys.readouterr().out == "", "progress goes to standard error"
