"""The loop against hidden rules: a few of the bench's twins, for some virtual hours, with a seed of their own."""

import pytest

from bench.pacing import TwinReport, measure_twin, summarise
from bench.pacing_twins import make_twins

HOURS = 8
NAMES = {twin.name: number for number, twin in enumerate(make_twins(3, HOURS))}


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("google-stop", 0.8),
        ("microsoft-connections", 0.95),
        ("per-connection", 0.95),
        ("tarpit", 0.65),
        ("drawn-3", 0.65),  # eight hours of which much is learning
    ],
)
def test_the_loop_comes_near_the_oracle_with_few_deferrals(name: str, share: float) -> None:
    report = measure_twin(NAMES[name], 3, HOURS)
    assert report.twin == name
    assert report.share >= share
    assert report.deferral_ratio <= 0.2
    assert sum(report.loop.curve) == report.loop.delivered


def test_a_seed_gives_the_same_figures_again() -> None:
    reports: list[TwinReport] = [measure_twin(NAMES["google-stop"], 5, 3) for _ in range(2)]
    assert reports[0] == reports[1]
    names = [result.name for result in summarise(reports)]
    assert names == ["pacing_share_of_oracle", "pacing_deferral_ratio", "pacing_eta_coverage"]


def test_twelve_twins_at_least_and_four_of_them_drawn() -> None:
    twins = make_twins(1, 24)
    assert len(twins) >= 12
    assert sum(twin.is_drawn for twin in twins) >= 4
    assert len({twin.name for twin in twins}) == len(twins)
