"""Seeded chance."""

from __future__ import annotations

from statistics import mean

from scenarios.behaviour.draws import Draws, seed_of


def test_a_draw_more_of_one_name_shifts_no_other() -> None:
    """The n-th draw of a name is always the same."""
    one, other = Draws(seed_of(7, "c1")), Draws(seed_of(7, "c1"))
    for _ in range(5):
        other.uniform("beside")
    assert [one.uniform("a") for _ in range(3)] == [other.uniform("a") for _ in range(3)]


def test_contacts_and_seeds_draw_apart() -> None:
    """Another contact, or another seed, is another chance."""
    draws = {
        Draws(seed_of(seed, name)).uniform("a") for seed in range(3) for name in ("c1", "c2", "c3")
    }
    assert len(draws) == 9


def test_distributions_have_their_means() -> None:
    """Uniform, exponential, geometric, and picks by weight, within four standard errors of 20,000 draws."""
    draws = Draws(seed_of(1, "c"))
    number = 20_000
    assert abs(mean(draws.uniform("u") for _ in range(number)) - 0.5) < 4 * 0.289 / number**0.5
    assert abs(mean(draws.exponential("e", 10) for _ in range(number)) - 10) < 40 / number**0.5
    assert abs(mean(draws.more("m", 0.5) for _ in range(number)) - 1) < 4 * 1.42 / number**0.5
    picks = [draws.pick("p", (1.0, 4.0)) for _ in range(number)]
    assert abs(mean(picks) - 0.75) < 4 * 0.433 / number**0.5
