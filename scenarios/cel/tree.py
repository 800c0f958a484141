"""The syntax tree of an expression, each node with its line and column, counted from 1."""

from __future__ import annotations

__all__ = (
    "Binary",
    "Call",
    "Conditional",
    "Has",
    "Index",
    "ListOf",
    "Literal",
    "Logical",
    "Macro",
    "MapOf",
    "Method",
    "Name",
    "Node",
    "Select",
    "Unary",
)

from typing import Literal as OneOf

import msgspec

Operator = OneOf["<", "<=", ">=", ">", "==", "!=", "in", "+", "-", "*", "/", "%"]
MacroKind = OneOf["all", "exists", "exists_one", "map", "filter"]


class Literal(msgspec.Struct, frozen=True):
    """A constant."""

    value: str | int | float | bool | None
    line: int
    column: int


class Name(msgspec.Struct, frozen=True):
    """A variable: one of the roots, or that of a macro."""

    name: str
    line: int
    column: int


class Select(msgspec.Struct, frozen=True):
    """`of.field`; `column` is that of the whole."""

    of: Node
    field: str
    line: int
    column: int


class Index(msgspec.Struct, frozen=True):
    """`of[at]`."""

    of: Node
    at: Node
    line: int
    column: int


class Call(msgspec.Struct, frozen=True):
    """`function(arguments)`."""

    function: str
    arguments: tuple[Node, ...]
    line: int
    column: int


class Method(msgspec.Struct, frozen=True):
    """`of.function(arguments)`."""

    of: Node
    function: str
    arguments: tuple[Node, ...]
    line: int
    column: int


class Has(msgspec.Struct, frozen=True):
    """`has(of.field)`: is the field there?"""

    of: Node
    field: str
    line: int
    column: int


class Macro(msgspec.Struct, frozen=True):
    """`of.all(variable, body)` and its like: a walk over a list or the keys of a map."""

    kind: MacroKind
    of: Node
    variable: str
    body: Node
    line: int
    column: int


class ListOf(msgspec.Struct, frozen=True):
    """`[items]`."""

    items: tuple[Node, ...]
    line: int
    column: int


class MapOf(msgspec.Struct, frozen=True):
    """`{key: value}`."""

    items: tuple[tuple[Node, Node], ...]
    line: int
    column: int


class Unary(msgspec.Struct, frozen=True):
    """`!operand` or `-operand`."""

    operator: OneOf["!", "-"]
    operand: Node
    line: int
    column: int


class Binary(msgspec.Struct, frozen=True):
    """A relation or an arithmetic operation."""

    operator: Operator
    left: Node
    right: Node
    line: int
    column: int


class Logical(msgspec.Struct, frozen=True):
    """`left && right` or `left || right`, which absorb an error when the other side decides."""

    operator: OneOf["&&", "||"]
    left: Node
    right: Node
    line: int
    column: int


class Conditional(msgspec.Struct, frozen=True):
    """`condition ? then : other`."""

    condition: Node
    then: Node
    other: Node
    line: int
    column: int


Node = (
    Literal
    | Name
    | Select
    | Index
    | Call
    | Method
    | Has
    | Macro
    | ListOf
    | MapOf
    | Unary
    | Binary
    | Logical
    | Conditional
)
