"""Counts of durations in grains of one per cent: small, mergeable, and right to one per cent at any quantile. Pure."""

from __future__ import annotations

__all__ = ("GRAIN", "grain_of", "value_of")

from math import ceil, exp, log

GRAIN = log(1.01)


def grain_of(value: float) -> int:
    """Give the grain of a value, at least 0; values of one grain differ by less than one per cent."""
    return ceil(log(max(value, 1e-6)) / GRAIN)


def value_of(grain: int) -> float:
    """Give the highest value of a grain."""
    return exp(grain * GRAIN)
