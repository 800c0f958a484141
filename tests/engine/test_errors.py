"""Errors: one line for the user, and whole through a pickle."""

from __future__ import annotations

import pickle

import pytest

from engine.errors import (
    CapacityError,
    ConfigError,
    DamageError,
    InputError,
    Place,
    RefusedError,
    StoreError,
    TransportError,
    UserError,
    VeredusError,
)

ERRORS: list[VeredusError] = [
    ConfigError("unknown key", Place("v.toml", 3, 7, "smtp.prot"), "did you mean port?"),
    InputError("no JSON"),
    RefusedError("in use"),
    CapacityError("intake", 2.5),
    TransportError("dot", "timed out", "mx.example"),
    StoreError("no space"),
    DamageError("checksum"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_cross_processes_whole(error: VeredusError) -> None:
    """Type, text and fields."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(), "wrong (mend)"),
        (Place("f"), "f: wrong (mend)"),
        (Place("f", 3), "f:3: wrong (mend)"),
        (Place("f", 3, 4, "a.b"), "f:3:4: a.b: wrong (mend)"),
        (Place(path="a.b"), "a.b: wrong (mend)"),
        (Place("f", 0, 4), "f: wrong (mend)"),
    ],
)
def test_a_users_mistake_is_one_line(place: Place, text: str) -> None:
    """Place, what is wrong, how to mend it; what is unknown is left out."""
    assert str(UserError("wrong", place, "mend")) == text


def test_damage_is_a_failure_of_the_store() -> None:
    """Who handles failures handles damage; who starts looks for damage first."""
    assert issubclass(DamageError, StoreError)
    assert str(CapacityError("intake")) == "limit reached: intake"
    assert str(TransportError("connect", "refused")) == "connect: refused"
