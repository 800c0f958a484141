"""What a count says about the share behind it, and what an experiment of a size can show."""

from __future__ import annotations

__all__ = ("Share", "difference", "power_of", "share_of", "visible_difference")

from math import sqrt
from statistics import NormalDist
from typing import Final

import msgspec

Z95: Final = 1.959963984540054
"""The quantile of a normal distribution that leaves 5 % outside, on both sides together."""

_NORMAL: Final = NormalDist()
_POWER: Final = 0.8


class Share(msgspec.Struct, frozen=True):
    """So many of so many, with the 95 % interval of the share behind it (Wilson 1927)."""

    count: int
    of: int
    value: float
    low: float
    high: float


def share_of(count: int, of: int) -> Share:
    """Give a share with its interval; of nothing it is anything from 0 to 1."""
    if of <= 0:
        return Share(count, of, 0.0, 0.0, 1.0)
    value = count / of
    square = Z95 * Z95
    middle = (value + square / (2 * of)) / (1 + square / of)
    half = Z95 * sqrt(value * (1 - value) / of + square / (4 * of * of)) / (1 + square / of)
    return Share(count, of, _r(value), _r(max(0.0, middle - half)), _r(min(1.0, middle + half)))


def difference(one: Share, other: Share) -> tuple[float, float, float]:
    """Give the difference of two shares with its 95 % interval (Newcombe 1998, method 10)."""
    value = one.value - other.value
    below = sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    above = sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    return _r(value), _r(value - below), _r(value + above)


def power_of(one: Share, other: Share) -> float:
    """Give the chance that an experiment of this size shows a difference as large as this one, at 5 %, two-sided."""
    if not one.of or not other.of:
        return 0.0
    pooled = (one.count + other.count) / (one.of + other.of)
    usual = sqrt(pooled * (1 - pooled) * (1 / one.of + 1 / other.of))
    own = sqrt(one.value * (1 - one.value) / one.of + other.value * (1 - other.value) / other.of)
    if not own:
        return 0.0
    reach = abs(one.value - other.value)
    return _r(_NORMAL.cdf((reach - Z95 * usual) / own))


def visible_difference(base: float, one: int, other: int) -> float:
    """Give the smallest difference that is shown with a chance of 80 %, from a base share and two sizes."""
    if not one or not other or not 0.0 < base < 1.0:
        return 1.0
    spread = sqrt(base * (1 - base) * (1 / one + 1 / other))
    return _r((Z95 + _NORMAL.inv_cdf(_POWER)) * spread)


def _r(value: float) -> float:
    return round(value, 6)
