"""What the operators mean, over the values that JSON has.

Types are strict, as CEL demands: `1 + 1.5` and `true < 2` are errors, not guesses. An error is `EvaluationError`; where
a condition ends in one, it counts as not fulfilled, and the decision's record says why. langdef.md "Overview of
definitions".
"""

from __future__ import annotations

__all__ = (
    "EvaluationError",
    "a_kind",
    "arithmetic",
    "contained",
    "equal",
    "kind_of",
    "ordered",
    "size",
)

import math
from collections.abc import Callable
from typing import Any, Final

from engine.errors import VeredusError

_INT_MAX: Final = 2**63 - 1
_TEXT_MAX: Final = 65_536
_KINDS: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    list: "list",
    tuple: "list",
    dict: "map",
    type(None): "null",
}


class EvaluationError(VeredusError):
    """An expression has no value: a field is missing, types don't fit, a number overflows."""


def kind_of(value: object) -> str:
    """Name the CEL type of a value."""
    return _KINDS.get(value.__class__, "dyn")


def a_kind(kind: str) -> str:
    """Put the article before a kind, for messages."""
    return f"an {kind}" if kind == "int" else "null" if kind == "null" else f"a {kind}"


def equal(left: Any, right: Any) -> bool:
    """Compare as `==` does: numbers by value, anything else only with its own kind."""
    kind = left.__class__
    if kind is right.__class__ and kind is not list and kind is not dict:
        return bool(left == right)
    if kind is bool or right.__class__ is bool:
        return False
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if kind is dict and right.__class__ is dict:
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(kind is right.__class__ and left == right)


def ordered(left: Any, right: Any) -> None:
    """Make sure that `<` and its like are defined for the two: numbers, two texts, or two booleans.

    Raises:
        EvaluationError: they aren't.
    """
    one, other = left.__class__, right.__class__
    if (one is int or one is float) and (other is int or other is float):
        return
    if one is other and (one is str or one is bool):
        return
    raise EvaluationError(f"{a_kind(kind_of(left))} and {a_kind(kind_of(right))} have no order")


def contained(item: Any, container: Any) -> bool:
    """Tell as `in` does whether a list has the item or a map has the key."""
    if container.__class__ is dict:
        return item.__class__ is not bool and item.__class__ in {str, int} and item in container
    if isinstance(container, (list, tuple)):
        return any(equal(item, other) for other in container)
    raise EvaluationError(
        f"`in` needs a list or a map on its right, not {a_kind(kind_of(container))}"
    )


def size(value: Any) -> int:
    """Count the characters of a text, the items of a list, the keys of a map."""
    if isinstance(value, (str, list, tuple, dict)):
        return len(value)
    raise EvaluationError(f"{a_kind(kind_of(value))} has no size")


def _integer(value: int) -> int:
    if -_INT_MAX - 1 <= value <= _INT_MAX:
        return value
    raise EvaluationError("the integer result doesn't fit 64 bits")


def _add(left: Any, right: Any) -> Any:
    kind = left.__class__
    if kind is right.__class__:
        if kind is int:
            return _integer(left + right)
        if kind is float:
            return left + right
        if kind is str or kind is list:
            if len(left) + len(right) > _TEXT_MAX:
                raise EvaluationError(f"the result has more than {_TEXT_MAX} characters or items")
            return left + right
    raise _undefined("+", left, right)


def _subtract(left: Any, right: Any) -> Any:
    if left.__class__ is right.__class__ is int:
        return _integer(left - right)
    if left.__class__ is right.__class__ is float:
        return left - right
    raise _undefined("-", left, right)


def _multiply(left: Any, right: Any) -> Any:
    if left.__class__ is right.__class__ is int:
        return _integer(left * right)
    if left.__class__ is right.__class__ is float:
        return left * right
    raise _undefined("*", left, right)


def _divide(left: Any, right: Any) -> Any:
    """Divide; integers towards zero. langdef.md, "Arithmetic"."""
    if left.__class__ is right.__class__ is int:
        if right == 0:
            raise EvaluationError("division by zero")
        quotient = abs(left) // abs(right)
        return _integer(quotient if (left < 0) == (right < 0) else -quotient)
    if left.__class__ is right.__class__ is float:
        if right != 0.0:
            return left / right
        sign = math.copysign(1.0, left) * math.copysign(1.0, right)
        return math.nan if left == 0.0 or math.isnan(left) else sign * math.inf
    raise _undefined("/", left, right)


def _remainder(left: Any, right: Any) -> Any:
    """Give the remainder, with the sign of the dividend."""
    if left.__class__ is right.__class__ is int:
        if right == 0:
            raise EvaluationError("remainder of a division by zero")
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    raise _undefined("%", left, right)


def _undefined(sign: str, left: Any, right: Any) -> EvaluationError:
    return EvaluationError(
        f"`{sign}` isn't defined for {a_kind(kind_of(left))} and {a_kind(kind_of(right))}"
    )


arithmetic: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}
"""The arithmetic operators by sign; each raises `EvaluationError` where it is undefined."""
