"""The functions and methods of the language, with what they take and give."""

from __future__ import annotations

__all__ = (
    "CLICKED",
    "CONTACT_METHODS",
    "EVENT_METHODS",
    "FUNCTIONS",
    "MAILS_MAX",
    "MAIL_FACTS",
    "METHODS",
    "OPENED",
    "Function",
)

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from scenarios.cel.values import EvaluationError, a_kind, kind_of, size

_INT_MAX: Final = 2**63 - 1
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_DOUBLE: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)


class Function(msgspec.Struct, frozen=True):
    """A function: for each argument the kinds it takes (empty: any), the kind it gives, what it does."""

    takes: tuple[tuple[str, ...], ...]
    gives: str
    apply: Callable[..., Any]
    says: str


def _to_int(value: Any) -> int:
    if value.__class__ is int:
        return int(value)
    try:
        if value.__class__ is str and len(value) <= 20:
            number = int(value) if _INTEGER.fullmatch(value) else None
        else:
            number = int(value) if value.__class__ is float else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise EvaluationError(f"this {kind_of(value)} isn't an integer")
    return number


def _to_double(value: Any) -> float:
    if value.__class__ is float or value.__class__ is int:
        return float(value)
    try:
        if value.__class__ is str and _DOUBLE.fullmatch(value):
            return float(value)
    except OverflowError:
        pass
    raise EvaluationError(f"this {kind_of(value)} isn't a number")


def _to_string(value: Any) -> str:
    if value.__class__ is str:
        return str(value)
    if value.__class__ is bool:
        return "true" if value else "false"
    if value.__class__ is int:
        return str(value)
    raise EvaluationError(f"{a_kind(kind_of(value))} has no text")


def _texts(one: Any, other: Any) -> None:
    if one.__class__ is not str or other.__class__ is not str:
        raise EvaluationError(
            f"two texts are needed, not {a_kind(kind_of(one))} and {a_kind(kind_of(other))}"
        )


def _contains(text: Any, part: Any) -> bool:
    _texts(text, part)
    return part in text


def _starts_with(text: Any, part: Any) -> bool:
    _texts(text, part)
    return bool(text.startswith(part))


def _ends_with(text: Any, part: Any) -> bool:
    _texts(text, part)
    return bool(text.endswith(part))


_SIZED: Final = ("string", "list", "map")
_TEXT: Final = ("string",)

FUNCTIONS: Final[dict[str, Function]] = {
    "size": Function(
        (_SIZED,), "int", size, "characters of a text, items of a list, keys of a map"
    ),
    "int": Function((("int", "double", "string"),), "int", _to_int, "as an integer, towards zero"),
    "double": Function((("int", "double", "string"),), "double", _to_double, "as a double"),
    "string": Function((("int", "bool", "string"),), "string", _to_string, "as a text"),
}
METHODS: Final[dict[str, Function]] = {
    "size": Function(
        (_SIZED,), "int", size, "characters of a text, items of a list, keys of a map"
    ),
    "contains": Function((_TEXT, _TEXT), "bool", _contains, "is the other text in it?"),
    "startsWith": Function((_TEXT, _TEXT), "bool", _starts_with, "does it begin with the other?"),
    "endsWith": Function((_TEXT, _TEXT), "bool", _ends_with, "does it end with the other?"),
}
OPENED: Final = 1
CLICKED: Final = 2
MAIL_FACTS: Final = {"delivered": 0, "opened": OPENED, "clicked": CLICKED}
"""What of the last mails can be counted, by the mark that such a mail has."""
MAILS_MAX: Final = 50
"""So many last mails can be asked for."""

CONTACT_METHODS: Final = {
    "count": "int",
    "days_since": "int",
    "score": "double",
    "tagged": "bool",
    "in_segment": "bool",
    "last_mails": "int",
}
"""What `contact` can be asked by a name in quotes, with the kind it gives."""

EVENT_METHODS: Final = frozenset({"count", "days_since"})
"""Those whose name is an event's."""
