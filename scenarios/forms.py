"""How the written form of a file is described: forms, their fields, and the kinds of values."""

from __future__ import annotations

__all__ = ("ID", "Field", "Form", "Kind")

from typing import Final, Literal

import msgspec

Kind = Literal[
    "name",  # an id, a topic, a stream: lower case, digits, - and _
    "names",
    "template",
    "text",
    "event",
    "duration",
    "minute",
    "days",
    "zone",
    "holidays",
    "integer",
    "condition",
    "expression",
    "choice",
    "steps",
    "attributes",
    "entry",
    "reentry",
    "watches",
    "wait",
    "waiters",
    "look_back",
    "cases",
    "variants",
    "deciding",
    "guarding",
    "percent",
    "send",
    "score",
    "tag",
    "notify",
    "webhook",
    "coupon",
    "products",
    "keys",
]


class Field(msgspec.Struct, frozen=True):
    """One key of a form. `least` and `most` bound an integer."""

    key: str
    kind: Kind
    says: str
    required: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""
    least: int = 0
    most: int = 1_000_000


class Form(msgspec.Struct, frozen=True):
    """A mapping: its keys, and what it is for."""

    name: str
    says: str
    fields: tuple[Field, ...]

    def field(self, key: str) -> Field:
        """Give the field of a key, which must be there."""
        return next(field for field in self.fields if field.key == key)


ID: Final = Field(
    "id", "name", "the step's id; never change it while journeys are under way", required=True
)
