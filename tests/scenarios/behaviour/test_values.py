"""Where values come from."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from engine.errors import InputError
from scenarios.behaviour.draws import Draws, seed_of
from scenarios.behaviour.values import Frame, compile_value


def frame(cause: dict[str, Any] | None = None, contact: dict[str, Any] | None = None) -> Frame:
    """Give a frame of one contact."""
    draws = Draws(seed_of(3, "c1"))
    return Frame(draws, "c1", contact or {}, cause or {}, {}, dt.date(2026, 3, 2))


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("a text", "a text"),
        (7, 7),
        ([1, 2], [1, 2]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"plain": 1}, {"plain": 1}),
        ("= cause.order.value", 100),
        ("= contact.plan", "pro"),
        ("= cause.missing.deeper", None),
        ({"times": ["= cause.order.value", 0.9]}, 90),
        ({"first": ["= cause.missing", "= contact.plan"]}, "pro"),
        ({"list": ["= contact.plan", 2]}, ["pro", 2]),
        ({"chance": 1}, True),
        ({"date": [10, 10]}, "2026-03-12"),
        ({"one_of": ["x"]}, "x"),
        ({"whole": [4, 4]}, 4),
    ],
)
def test_a_value_is_made_as_it_is_written(spec: Any, made: Any) -> None:
    """Each form, where chance has no choice."""
    assert made == compile_value(spec, "f")(frame({"order": {"value": 100}}, {"plan": "pro"}))


def test_a_new_id_is_one_within_its_burst_and_another_elsewhere() -> None:
    """`new` looks at the ids of its frame."""
    maker = compile_value({"new": "cart"}, "f")
    one = frame()
    first = maker(one)
    assert first == maker(one)
    other = Frame(one.draws, "c1", {}, {}, {}, one.begins)
    assert first != maker(other)


def test_quantiles_and_mixes_follow_their_shares() -> None:
    """Half of the values lie below the median; a mix of seven to three is one."""
    one = frame()
    maker = compile_value({"quantiles": [[0, 0], [0.5, 100], [1, 1000]]}, "q")
    values = [maker(one) for _ in range(4000)]
    assert abs(sum(value <= 100 for value in values) / 4000 - 0.5) < 4 * 0.5 / 4000**0.5
    assert 0 <= min(values) <= max(values) <= 1000
    mix = compile_value({"mix": [[0.7, "a"], [0.3, "b"]]}, "m")
    found = [mix(one) for _ in range(4000)]
    assert abs(found.count("a") / 4000 - 0.7) < 4 * 0.46 / 4000**0.5
    log = compile_value({"lognormal": {"median": 50, "sigma": 0.5}}, "l")
    drawn = sorted(log(one) for _ in range(4000))
    assert abs(drawn[2000] - 50) < 3


@pytest.mark.parametrize(
    "spec",
    [
        {"one_of": {}},
        {"whole": [5, 1]},
        {"quantiles": [[0, 1]]},
        {"quantiles": [[0.5, 1], [0, 2]]},
        {"lognormal": {"median": -1, "sigma": 1}},
        {"chance": "often"},
        {"times": [1]},
        {"mix": []},
        "= order.value",
        "= cause",
        {
            "list": [
                {"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": []}]}]}]}]}]}]}
            ]
        },
    ],
)
def test_a_value_that_makes_none_is_told(spec: Any) -> None:
    """A mistake raises when it is compiled, never when it is made."""
    with pytest.raises(InputError):
        compile_value(spec, "f")
