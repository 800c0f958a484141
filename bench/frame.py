"""What a case gives: results with their spread and ceiling, and the rounds in which both are measured.

`ratio` says how much of its ceiling a figure reaches, 1 at best: value over ceiling for rates, ceiling over value for
costs. It is the median of the ratios within each round, so that what slows the machine for a while slows both.
"""

from __future__ import annotations

__all__ = ("Measured", "Report", "Result", "Sample", "costs", "plain", "rates", "rounds", "say")

import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import msgspec

from bench.timeline import Timeline

Sample = dict[str, float]
"""The figures of one round by name."""


class Result(msgspec.Struct, frozen=True):
    """One figure: median, minimum and maximum of its rounds; `ceiling` and `ratio` None where it has none."""

    name: str
    value: float
    unit: str
    min: float
    max: float
    ceiling: float | None = None
    ratio: float | None = None


class Measured(msgspec.Struct, frozen=True):
    """What a case gives: its figures, and the settings that they hold for."""

    results: list[Result]
    settings: dict[str, Any] = {}
    timeline: Timeline | msgspec.UnsetType = msgspec.UNSET


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints; others build on it."""

    case: str
    results: list[Result]
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    calibration: dict[str, float]
    timeline: Timeline | msgspec.UnsetType = msgspec.UNSET


def plain(name: str, unit: str, values: Sequence[float]) -> Result:
    """Make a figure without a ceiling."""
    return Result(name, _round(median(values)), unit, _round(min(values)), _round(max(values)))


def rates(name: str, unit: str, values: Sequence[float], ceilings: Sequence[float]) -> Result:
    """Make a figure of which more is better; the n-th ceiling was measured beside the n-th value."""
    ratio = median(value / top for value, top in zip(values, ceilings, strict=True))
    return _held(plain(name, unit, values), ceilings, ratio)


def costs(name: str, unit: str, values: Sequence[float], ceilings: Sequence[float]) -> Result:
    """Make a figure of which less is better."""
    ratio = median(top / value for value, top in zip(values, ceilings, strict=True))
    return _held(plain(name, unit, values), ceilings, ratio)


def rounds(number: int, *measures: Callable[[], Sample]) -> dict[str, list[float]]:
    """Take all measures in turns, `number` times. Returns the figures by name, one for each round."""
    found: dict[str, list[float]] = {}
    for turn in range(number):
        for measure in measures:
            sample = measure()
            for name, value in sample.items():
                found.setdefault(name, []).append(value)
            told = ", ".join(f"{name} {_round(value):g}" for name, value in sample.items())
            say(f"  round {turn + 1} of {number}: {told}")
    return found


def say(text: str) -> None:
    """Tell how far it has come."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _held(result: Result, ceilings: Sequence[float], ratio: float) -> Result:
    return msgspec.structs.replace(result, ceiling=_round(median(ceilings)), ratio=round(ratio, 3))


def _round(value: float) -> float:
    """Four digits: nothing here is known better."""
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))
