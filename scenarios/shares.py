"""Statistics of shares, by closed forms and by draws: how many contacts a test needs, what a difference is worth.

All functions are pure; chance comes in. `tests/scenarios/test_shares.py` holds them against exact results.
"""

from __future__ import annotations

__all__ = ("Arm", "chances_of_best", "contacts_needed", "p_value", "tail")

from math import ceil, exp, lgamma, log, log1p, sqrt
from random import Random
from statistics import NormalDist
from typing import Final

import msgspec

_NORMAL: Final = NormalDist()


class Arm(msgspec.Struct, frozen=True):
    """Contacts of one variant, and how many of them did what is measured."""

    contacts: int = 0
    successes: int = 0

    @property
    def share(self) -> float:
        """The share that did it; 0 of nobody."""
        return self.successes / self.contacts if self.contacts else 0.0


def contacts_needed(base: float, effect: float, alpha: float, power: float) -> int:
    """Tell how many contacts each of two variants needs, for a two-sided test of two shares.

    Args:
        base: the share expected of the one, between 0 and 1.
        effect: the smallest difference worth finding; may be negative.
        alpha: how often a difference may be found where there is none.
        power: how often one of this size is to be found.

    Raises: ValueError: a share isn't within 0 and 1, or there is no difference.

    Source: Fleiss, Levin, Paik, Statistical Methods for Rates and Proportions (2003), §4.2.
    """
    other = base + effect
    if not (0.0 < base < 1.0 and 0.0 < other < 1.0) or not effect:
        told = f"no test can tell a share of {base:g} from one of {other:g}"
        raise ValueError(told)
    middle = (base + other) / 2
    usual = _NORMAL.inv_cdf(1 - alpha / 2) * sqrt(2 * middle * (1 - middle))
    own = _NORMAL.inv_cdf(power) * sqrt(base * (1 - base) + other * (1 - other))
    return ceil(((usual + own) / effect) ** 2)


def p_value(one: Arm, other: Arm) -> float:
    """Tell how often a difference as large as this would come about without one: the pooled two-sided z test."""
    if not one.contacts or not other.contacts:
        return 1.0
    pooled = (one.successes + other.successes) / (one.contacts + other.contacts)
    spread = sqrt(pooled * (1 - pooled) * (1 / one.contacts + 1 / other.contacts))
    if not spread:
        return 1.0
    return 2 * _NORMAL.cdf(-abs(one.share - other.share) / spread)


def tail(arm: Arm, share: float) -> float:
    """Tell how often so many successes or more come about where the true share is `share`: the exact binomial tail."""
    if not arm.successes:
        return 1.0
    log_of, log_else = log(share), log1p(-share)
    below = 0.0
    for k in range(arm.successes):
        ways = lgamma(arm.contacts + 1) - lgamma(k + 1) - lgamma(arm.contacts - k + 1)
        below += exp(ways + k * log_of + (arm.contacts - k) * log_else)
    return max(0.0, 1.0 - below)


def chances_of_best(arms: list[Arm], chance: Random, draws: int) -> list[float]:
    """Tell how likely each variant is the best one: the share of draws of the posteriors in which it is.

    The prior is uniform, so that of an arm is Beta(1 + successes, 1 + others).
    """
    wins = [0] * len(arms)
    for _ in range(draws):
        drawn = [
            chance.betavariate(1 + arm.successes, 1 + max(arm.contacts - arm.successes, 0))
            for arm in arms
        ]
        wins[drawn.index(max(drawn))] += 1
    return [won / draws for won in wins]
