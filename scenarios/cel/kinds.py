"""What can't be right, found before anything runs: unknown names, functions, fields, and types that never fit.

A kind is `bool`, `int`, `double`, `string`, `null`, `list`, `map` or `dyn` (known only when it runs). Fields of contact
and events are `dyn` unless a tenant's type schema declares them.
"""

from __future__ import annotations

__all__ = ("Fields", "check_kinds")

from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from scenarios.cel.functions import (
    CONTACT_METHODS,
    EVENT_METHODS,
    FUNCTIONS,
    MAIL_FACTS,
    MAILS_MAX,
    METHODS,
    Function,
)
from scenarios.cel.scope import JOURNEY_FIELDS
from scenarios.cel.syntax import ExpressionMistake
from scenarios.cel.tree import (
    Binary,
    Call,
    Conditional,
    Has,
    Index,
    ListOf,
    Literal,
    Logical,
    Macro,
    MapOf,
    Method,
    Name,
    Node,
    Select,
    Unary,
)
from scenarios.cel.values import a_kind, kind_of
from scenarios.duration import parse_duration
from scenarios.mistakes import did_you_mean

_MACRO_DEPTH_MAX = 2
_ROOTS = frozenset({"contact", "event", "journey"})
_JOURNEY_KINDS = dict.fromkeys(JOURNEY_FIELDS, "string") | {
    "visit": "int",
    "opened_at": "int",
    "event": "map",
}


class Fields(msgspec.Struct, frozen=True):
    """What is known of the roots where an expression stands. None: anything may be there.

    `journey` has the names that `as` may have caught; None says that there is no journey yet.
    """

    contact: Mapping[str, str] | None = None
    event: Mapping[str, str] | None = None
    events: frozenset[str] | None = None
    journey: tuple[str, ...] | None = ()


def check_kinds(node: Node, fields: Fields, wanted: str = "dyn") -> list[ExpressionMistake]:
    """Find every mistake of an expression that must give a `wanted` kind."""
    checker = _Checker(fields)
    kind = checker.kind(node, {})
    if wanted not in {"dyn", kind} and kind != "dyn":
        message = f"the expression gives {a_kind(kind)}, {a_kind(wanted)} is needed"
        checker.mistake(message, node, "compare it with something" if wanted == "bool" else "")
    return checker.mistakes


class _Checker:
    """One walk over a tree; `variables` are those of the macros around."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.mistakes: list[ExpressionMistake] = []

    def mistake(self, message: str, node: Node, mend: str = "") -> None:
        self.mistakes.append(ExpressionMistake(message, node.line, node.column, mend))

    def kind(self, node: Node, variables: Mapping[str, str]) -> str:
        match node:
            case Literal(value=value):
                return kind_of(value)
            case Name():
                return self._name(node, variables)
            case Select(of=of, field=field) | Has(of=of, field=field):
                kind = self._field(of, field, node, variables)
                return "bool" if isinstance(node, Has) else kind
            case Index(of=of, at=at):
                self._one_of(self.kind(of, variables), ("list", "map"), of, "an item is taken")
                self.kind(at, variables)
                return "dyn"
            case Call(function=function, arguments=arguments):
                return self._call(FUNCTIONS.get(function), function, arguments, node, variables)
            case Method():
                return self._method(node, variables)
            case Macro():
                return self._macro(node, variables)
            case ListOf() | MapOf():
                return self._made(node, variables)
            case Unary(operator=sign, operand=operand):
                kind = self.kind(operand, variables)
                takes = ("bool",) if sign == "!" else ("int", "double")
                return self._one_of(kind, takes, operand, f"`{sign}`")
            case Binary():
                return self._binary(node, variables)
            case Logical(operator=sign, left=left, right=right):
                self._one_of(self.kind(left, variables), ("bool",), left, f"`{sign}`")
                self._one_of(self.kind(right, variables), ("bool",), right, f"`{sign}`")
                return "bool"
            case Conditional(condition=condition, then=then, other=other):
                self._one_of(self.kind(condition, variables), ("bool",), condition, "`?`")
                one, two = self.kind(then, variables), self.kind(other, variables)
                return one if one == two else "dyn"
            case _:
                assert_never(node)

    def _made(self, node: ListOf | MapOf, variables: Mapping[str, str]) -> str:
        if isinstance(node, ListOf):
            for item in node.items:
                self.kind(item, variables)
            return "list"
        for key, value in node.items:
            self._one_of(self.kind(key, variables), ("string", "int", "bool"), key, "a key")
            self.kind(value, variables)
        return "map"

    def _one_of(self, kind: str, takes: Iterable[str], node: Node, user: str) -> str:
        if kind != "dyn" and kind not in takes:
            self.mistake(f"{user} needs {' or '.join(takes)}, this is {a_kind(kind)}", node)
            return "dyn"
        return kind

    def _name(self, node: Name, variables: Mapping[str, str]) -> str:
        if node.name in variables:
            return variables[node.name]
        roots = ["contact", "event"] + (["journey"] if self._fields.journey is not None else [])
        if node.name in roots:
            return "map"
        if node.name == "journey":
            self.mistake("there is no journey yet where this condition is evaluated", node)
        else:
            mend = did_you_mean(node.name, [*roots, *variables]) or f"use {', '.join(roots)}"
            self.mistake(f"`{node.name}` is unknown", node, mend)
        return "dyn"

    def _field(self, of: Node, field: str, node: Node, variables: Mapping[str, str]) -> str:
        root = of.name if isinstance(of, Name) and of.name not in variables else ""
        kind = self.kind(of, variables)
        if root == "journey" and self._fields.journey is not None:
            known = _JOURNEY_KINDS | dict.fromkeys(self._fields.journey, "dyn")
        elif root in {"contact", "event"}:
            declared = self._fields.contact if root == "contact" else self._fields.event
            if declared is None:
                return "dyn"
            known = dict(declared)
        else:
            self._one_of(kind, ("map",), of, "a field")
            return "dyn"
        if field not in known:
            mend = did_you_mean(field, known) or f"it has {', '.join(sorted(known)) or 'none'}"
            self.mistake(f"{root} has no field `{field}`", node, mend)
        return known.get(field, "dyn")

    def _call(
        self,
        function: Function | None,
        name: str,
        arguments: tuple[Node, ...],
        node: Node,
        variables: Mapping[str, str],
    ) -> str:
        kinds = [self.kind(argument, variables) for argument in arguments]
        if function is None:
            known = METHODS if isinstance(node, Method) else FUNCTIONS
            mend = did_you_mean(name, known) or f"there are {', '.join(known)}"
            if name == "matches":
                mend = "use contains, startsWith or endsWith, whose cost is bounded"
            self.mistake(f"there is no function `{name}`", node, mend)
            return "dyn"
        if len(kinds) != len(function.takes):
            wanted = len(function.takes) - isinstance(node, Method)
            self.mistake(f"{name}() takes {wanted} argument{'s' * (wanted != 1)}", node)
        for kind, takes, argument in zip(kinds, function.takes, arguments, strict=False):
            self._one_of(kind, takes, argument, f"{name}()")
        return function.gives

    def _method(self, node: Method, variables: Mapping[str, str]) -> str:
        of_contact = isinstance(node.of, Name) and node.of.name == "contact"
        if not of_contact or "contact" in variables:
            arguments = (node.of, *node.arguments)
            return self._call(METHODS.get(node.function), node.function, arguments, node, variables)
        if node.function not in CONTACT_METHODS:
            known = ", ".join(f"contact.{name}('…')" for name in CONTACT_METHODS)
            mend = did_you_mean(node.function, CONTACT_METHODS) or f"there are {known}"
            self.mistake(f"contact has no function `{node.function}`", node, mend)
            return "dyn"
        self._contact_argument(node)
        return CONTACT_METHODS[node.function]

    def _contact_argument(self, node: Method) -> None:
        match node.arguments:
            case (Literal(value=str(name)),) if node.function != "last_mails":
                self._declared(node, name)
            case (Literal(value=str(name)), Literal(value=str(window))) if node.function == "count":
                self._declared(node, name)
                if parse_duration(window) is None:
                    mend = "write it as contact.count('order.placed', '90d')"
                    self.mistake(f"`{window[:40]}` isn't a duration", node, mend)
            case (Literal(value=str(fact)), Literal(value=int(number))) if (
                node.function == "last_mails"
            ):
                self._of_mails(node, fact, number)
            case _ if node.function == "last_mails":
                mend = "write it as contact.last_mails('opened', 5)"
                self.mistake(
                    "last_mails() takes what is counted, and of how many mails", node, mend
                )
            case _:
                mend = f"write it as contact.{node.function}('name')"
                self.mistake(f"{node.function}() takes a name in quotes", node, mend)

    def _of_mails(self, node: Method, fact: str, number: int) -> None:
        if fact not in MAIL_FACTS:
            mend = did_you_mean(fact, MAIL_FACTS) or f"there are {', '.join(MAIL_FACTS)}"
            self.mistake(f"mails aren't counted by `{fact[:40]}`", node, mend)
        if isinstance(number, bool) or not 0 < number <= MAILS_MAX:
            self.mistake(f"{number} isn't a number of mails", node, f"1 to {MAILS_MAX} are kept")

    def _declared(self, node: Method, name: str) -> None:
        known = self._fields.events
        if node.function in EVENT_METHODS and known is not None and name not in known:
            self.mistake(f"no event `{name}` is declared", node, did_you_mean(name, known))

    def _macro(self, node: Macro, variables: Mapping[str, str]) -> str:
        kind = self._one_of(
            self.kind(node.of, variables), ("list", "map"), node.of, f"{node.kind}()"
        )
        if len(variables) >= _MACRO_DEPTH_MAX:
            mend = "its cost would grow with each level"
            self.mistake(f"more than {_MACRO_DEPTH_MAX} walks inside each other", node, mend)
        if node.variable in _ROOTS:
            mend = "choose another name"
            self.mistake(f"the variable `{node.variable}` would hide a root", node, mend)
        item = "dyn" if kind != "map" else "string"
        body = self.kind(node.body, {**variables, node.variable: item})
        if node.kind != "map":
            self._one_of(body, ("bool",), node.body, f"{node.kind}()")
        return "list" if node.kind in {"map", "filter"} else "bool"

    def _binary(self, node: Binary, variables: Mapping[str, str]) -> str:
        left, right = self.kind(node.left, variables), self.kind(node.right, variables)
        numbers = {"int", "double"}
        known = "dyn" not in {left, right}
        match node.operator:
            case "==" | "!=":
                if (
                    known
                    and left != right
                    and {left, right} != numbers
                    and "null" not in {left, right}
                ):
                    self.mistake(
                        f"{a_kind(left)} is never equal to {a_kind(right)}",
                        node,
                        _quote(left, right),
                    )
                return "bool"
            case "<" | "<=" | ">" | ">=":
                for kind, side in ((left, node.left), (right, node.right)):
                    self._one_of(
                        kind, ("int", "double", "string", "bool"), side, f"`{node.operator}`"
                    )
                if known and left != right and {left, right} != numbers:
                    self.mistake(
                        f"{a_kind(left)} and {a_kind(right)} have no order",
                        node,
                        _quote(left, right),
                    )
                return "bool"
            case "in":
                self._one_of(right, ("list", "map"), node.right, "`in` on its right")
                return "bool"
            case "+" | "-" | "*" | "/" | "%":
                return self._arithmetic(node, left, right)
            case _:
                assert_never(node.operator)

    def _arithmetic(self, node: Binary, left: str, right: str) -> str:
        takes = {"+": ("int", "double", "string", "list"), "%": ("int",)}
        allowed = takes.get(node.operator, ("int", "double"))
        for kind, side in ((left, node.left), (right, node.right)):
            self._one_of(kind, allowed, side, f"`{node.operator}`")
        if "dyn" in {left, right}:
            return left if right == "dyn" else right
        if left != right:
            mend = "convert one: double(a), int(a), string(a)"
            self.mistake(f"`{node.operator}` doesn't mix {left} and {right}", node, mend)
            return "dyn"
        return left


def _quote(left: str, right: str) -> str:
    if {left, right} == {"int", "string"}:
        return "numbers are written without quotes"
    return "compare values of one kind"
