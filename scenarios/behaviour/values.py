"""Where the value of a field comes from, when an attribute or an event is made.

"Cart of Anna"                        as it stands: any text, number, truth, list or mapping
= cause.cart                          a field of the cause, or of the contact (`= contact.plan`)
{one_of: {pl: 6, en: 4}}              one of several, by weight
{chance: 0.9}                         true with this chance, else false
{whole: [1, 5]}                       a whole number, all alike
{quantiles: [[0, 500], [0.5, 2613], [1, 20000]]}   a whole number between measured quantiles, in proportion
{lognormal: {median: 2613, sigma: 0.8}}            a whole number
{new: cart}                           an id that is used nowhere else; in a burst always the same
{mix: [[0.8, = cause.value], [0.2, {times: [= cause.value, 0.9]}]]}   one of several, each made as it says
{times: [VALUE, 0.9]}                 another value, made smaller or larger, as a whole number
{date: [10, 60]}                      a date, so many days after the beginning
{list: [VALUE, …]}                    a list of made values
"""

from __future__ import annotations

__all__ = ("Frame", "Maker", "compile_value")

import datetime as dt
from collections.abc import Callable, Mapping
from itertools import accumulate
from math import exp
from statistics import NormalDist
from typing import Any, Final

import msgspec

from engine.errors import InputError
from scenarios.behaviour.draws import Draws

_NORMAL: Final = NormalDist()
_DEPTH_MAX: Final = 6


class Frame(msgspec.Struct):
    """What a value may look at: the contact, what caused it, the ids of its burst, the first day."""

    draws: Draws
    contact_id: str
    contact: Mapping[str, Any]
    cause: Mapping[str, Any]
    ids: dict[str, str]
    begins: dt.date


Maker = Callable[[Frame], Any]


def compile_value(spec: Any, name: str, depth: int = 0) -> Maker:
    """Make the maker of a value; `name` names its stream of draws. Raises: InputError."""
    if depth > _DEPTH_MAX:
        raise InputError("nested too deeply")
    if isinstance(spec, str) and spec.startswith("="):
        return _reference(spec[1:].strip())
    if isinstance(spec, dict) and len(spec) == 1:
        key, of = next(iter(spec.items()))
        form = _FORMS.get(key)
        if form is not None:
            try:
                return form(of, name, depth)
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                message = f"`{key}` can't be made of {str(of)[:60]!r}"
                raise InputError(message, mend="docs/simulation.md has the forms") from error
    return lambda _frame: spec


def _reference(path: str) -> Maker:
    root, *keys = path.split(".")
    if root not in {"cause", "contact"} or not keys:
        mend = "write `= cause.NAME` or `= contact.NAME`"
        raise InputError(f"`{path[:40]}` leads nowhere", mend=mend)
    of_cause = root == "cause"

    def make(frame: Frame) -> Any:
        found: Any = frame.cause if of_cause else frame.contact
        for key in keys:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    return make


def _one_of(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001 -- the forms have one shape
    choices = dict.fromkeys(of, 1) if isinstance(of, list) else dict(of)
    bounds = list(accumulate(float(weight) for weight in choices.values()))
    values = list(choices)
    if not bounds or bounds[-1] <= 0.0:
        raise ValueError(of)
    return lambda frame: values[frame.draws.pick(name, bounds)]


def _chance(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001
    share = float(of)
    return lambda frame: frame.draws.chance(name, share)


def _whole(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001
    low, high = (int(bound) for bound in of)
    if high < low:
        raise ValueError(of)
    return lambda frame: low + int(frame.draws.uniform(name) * (high - low + 1))


def _quantiles(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001
    points = [(float(share), float(value)) for share, value in of]
    if len(points) < 2 or points != sorted(points) or (points[0][0], points[-1][0]) != (0.0, 1.0):
        raise ValueError(of)

    def make(frame: Frame) -> int:
        share = frame.draws.uniform(name)
        above = next(at for at, point in enumerate(points) if at and point[0] >= share)
        (low_share, low), (high_share, high) = points[above - 1], points[above]
        span = high_share - low_share
        return round(low + (high - low) * ((share - low_share) / span if span else 1.0))

    return make


def _lognormal(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001
    median, sigma = float(of["median"]), float(of["sigma"])
    if median <= 0.0 or not 0.0 < sigma <= 5.0:
        raise ValueError(of)

    def make(frame: Frame) -> int:
        share = min(max(frame.draws.uniform(name), 1e-12), 1 - 1e-12)
        return round(median * exp(sigma * _NORMAL.inv_cdf(share)))

    return make


def _new(of: Any, name: str, depth: int) -> Maker:  # noqa: ARG001
    prefix = str(of)

    def make(frame: Frame) -> str:
        if prefix not in frame.ids:
            number = int(frame.draws.uniform(f"new {prefix}") * 2**40)
            frame.ids[prefix] = f"{prefix}-{frame.contact_id}-{number:010x}"
        return frame.ids[prefix]

    return make


def _mix(of: Any, name: str, depth: int) -> Maker:
    bounds = list(accumulate(float(weight) for weight, _ in of))
    makers = [compile_value(value, f"{name} {at}", depth + 1) for at, (_, value) in enumerate(of)]
    if bounds[-1] <= 0.0:
        raise ValueError(of)
    return lambda frame: makers[frame.draws.pick(name, bounds)](frame)


def _times(of: Any, name: str, depth: int) -> Maker:
    value, factor = of
    maker, by = compile_value(value, name, depth + 1), float(factor)

    def make(frame: Frame) -> Any:
        made = maker(frame)
        return round(made * by) if isinstance(made, (int, float)) else made

    return make


def _date(of: Any, name: str, depth: int) -> Maker:
    days = _whole(of, name, depth)
    return lambda frame: (frame.begins + dt.timedelta(days=days(frame))).isoformat()


def _first(of: Any, name: str, depth: int) -> Maker:
    makers = [compile_value(value, f"{name} {at}", depth + 1) for at, value in enumerate(of)]
    if not makers:
        raise ValueError(of)

    def make(frame: Frame) -> Any:
        return next((made for maker in makers if (made := maker(frame)) is not None), None)

    return make


def _list(of: Any, name: str, depth: int) -> Maker:
    makers = [compile_value(value, f"{name} {at}", depth + 1) for at, value in enumerate(of)]
    return lambda frame: [maker(frame) for maker in makers]


_FORMS: Final[dict[str, Callable[[Any, str, int], Maker]]] = {
    "one_of": _one_of,
    "chance": _chance,
    "whole": _whole,
    "quantiles": _quantiles,
    "lognormal": _lognormal,
    "new": _new,
    "mix": _mix,
    "times": _times,
    "date": _date,
    "first": _first,
    "list": _list,
}
