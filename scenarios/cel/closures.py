"""From tree to closure: each node becomes a Python function of a `Scope`.

A hot path (bench/ `scenarios`: 0.5 µs for a simple condition): comparisons with a constant and fields of the roots have
closures of their own. `&&` and `||` absorb an error of one side when the other decides. langdef.md "Logical operators".
"""

from __future__ import annotations

__all__ = ("Closure", "compile_tree")

import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

from scenarios.cel.functions import FUNCTIONS, MAIL_FACTS, METHODS
from scenarios.cel.scope import Scope
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
from scenarios.cel.values import (
    EvaluationError,
    a_kind,
    arithmetic,
    contained,
    equal,
    kind_of,
    ordered,
)
from scenarios.duration import DAY_MS, parse_duration

Closure = Callable[[Scope], Any]

_ROOTS: Final[dict[str, Closure]] = {
    "contact": operator.attrgetter("attributes"),
    "event": operator.attrgetter("event"),
    "journey": operator.attrgetter("journey"),
}
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_tree(node: Node) -> Closure:
    """Compile a checked tree. The closure raises `EvaluationError` where the expression has no value."""
    match node:
        case Literal(value=value):
            return lambda _: value
        case Name(name=name):
            return _ROOTS.get(name) or _variable(name)
        case Select(of=of, field=field):
            return _select(of, field)
        case Has(of=of, field=field):
            return _has(compile_tree(of), field)
        case Index(of=of, at=at):
            return _index(compile_tree(of), compile_tree(at))
        case Call(function=function, arguments=arguments):
            return _apply(FUNCTIONS[function].apply, [compile_tree(one) for one in arguments])
        case Method():
            return _method(node)
        case Macro():
            return _macro(node)
        case ListOf(items=items):
            parts = [compile_tree(item) for item in items]
            return lambda scope: [part(scope) for part in parts]
        case MapOf(items=items):
            return _map([(compile_tree(key), compile_tree(value)) for key, value in items])
        case Unary(operator=sign, operand=operand):
            return _not(compile_tree(operand)) if sign == "!" else _negate(compile_tree(operand))
        case Binary():
            return _binary(node)
        case Logical(operator=sign, left=left, right=right):
            return _logical(compile_tree(left), compile_tree(right), decides=sign == "||")
        case Conditional(condition=condition, then=then, other=other):
            return _conditional(compile_tree(condition), compile_tree(then), compile_tree(other))
        case _:
            assert_never(node)


def _variable(name: str) -> Closure:
    return lambda scope: scope.variables[name]


def _select(of: Node, field: str) -> Closure:
    if isinstance(of, Name) and of.name in _ROOTS:
        return _root_field(of.name, field)
    inner = compile_tree(of)

    def select(scope: Scope) -> Any:
        value = inner(scope)
        if (value.__class__ is dict or isinstance(value, Mapping)) and field in value:
            return value[field]
        raise _missing(value, field)

    return select


def _root_field(root: str, field: str) -> Closure:
    """Read a field of a root without a look through its closure."""

    def contact(scope: Scope) -> Any:
        try:
            return scope.attributes[field]
        except KeyError:
            raise EvaluationError(f"contact has no attribute `{field}`") from None

    def event(scope: Scope) -> Any:
        data = scope.data
        try:
            return data[field] if data.__class__ is dict else scope.read(data)[field]
        except KeyError:
            raise EvaluationError(f"event has no field `{field}`") from None

    def journey(scope: Scope) -> Any:
        try:
            return scope.journey[field]
        except KeyError:
            raise EvaluationError(f"journey has no field `{field}`") from None

    return {"contact": contact, "event": event, "journey": journey}[root]


def _missing(value: Any, field: str) -> EvaluationError:
    if isinstance(value, Mapping):
        return EvaluationError(f"there is no field `{field}`")
    return EvaluationError(f"{a_kind(kind_of(value))} has no field `{field}`")


def _has(inner: Closure, field: str) -> Closure:
    def has(scope: Scope) -> bool:
        value = inner(scope)
        if value.__class__ is dict or isinstance(value, Mapping):
            return field in value
        raise _missing(value, field)

    return has


def _index(inner: Closure, at: Closure) -> Closure:
    def index(scope: Scope) -> Any:
        value, key = inner(scope), at(scope)
        if isinstance(value, Mapping):
            if key.__class__ in {str, int} and key in value:
                return value[key]
            raise EvaluationError(f"there is no key {key!r}")
        if isinstance(value, (list, tuple)) and key.__class__ is int:
            if 0 <= key < len(value):
                return value[key]
            raise EvaluationError(f"there is no item {key} in a list of {len(value)}")
        raise EvaluationError(f"{a_kind(kind_of(value))} has no item by {a_kind(kind_of(key))}")

    return index


def _method(node: Method) -> Closure:
    if isinstance(node.of, Name) and node.of.name == "contact":
        match node.arguments:
            case (Literal(value=str(name)),):
                return _contact_method(node.function, name)
            case (Literal(value=str(fact)), Literal(value=int(number))):
                return _last_mails(MAIL_FACTS[fact], number)
            case (Literal(value=str(name)), Literal(value=str(window))):
                return _count_within(name, parse_duration(window) or 0)
            case _:
                raise AssertionError("`kinds` lets only constants pass")
    parts = [compile_tree(one) for one in (node.of, *node.arguments)]
    return _apply(METHODS[node.function].apply, parts)


def _contact_method(function: str, name: str) -> Closure:
    match function:
        case "count":
            return lambda scope: scope.counts.get(name, 0)
        case "days_since":
            return _days_since(name)
        case "tagged":
            return lambda scope: name in scope.tags
        case "in_segment":
            return _in_segment(name)
        case "score":
            return lambda scope: scope.scores[name].at(scope.now) if name in scope.scores else 0.0
        case _:
            raise AssertionError(f"`kinds` lets no contact.{function}() pass")


def _in_segment(name: str) -> Closure:
    def inside(scope: Scope) -> bool:
        stay = scope.segments.get(name)
        return stay is not None and not stay.until

    return inside


def _count_within(event: str, window_ms: int) -> Closure:
    def count(scope: Scope) -> int:
        times = scope.times.get(event, ())
        return len(times) - bisect_right(times, scope.now - window_ms)

    return count


def _last_mails(mark: int, number: int) -> Closure:
    def count(scope: Scope) -> int:
        return sum(one.marks & mark == mark for one in scope.mails[-number:])

    return count


def _days_since(event: str) -> Closure:
    def days(scope: Scope) -> int:
        times = scope.times.get(event)
        if not times:
            raise EvaluationError(f"`{event}` isn't known to have happened")
        return max(scope.now - times[-1], 0) // DAY_MS

    return days


def _apply(function: Callable[..., Any], parts: list[Closure]) -> Closure:
    match parts:
        case [one]:
            return lambda scope: function(one(scope))
        case [one, other]:
            return lambda scope: function(one(scope), other(scope))
        case _:
            return lambda scope: function(*(part(scope) for part in parts))


def _map(items: list[tuple[Closure, Closure]]) -> Closure:
    def build(scope: Scope) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key_of, value_of in items:
            key = key_of(scope)
            if key.__class__ not in {str, int, bool}:
                raise EvaluationError(f"{a_kind(kind_of(key))} can't be a key")
            if key in made:
                raise EvaluationError(f"the key {key!r} appears twice")
            made[key] = value_of(scope)
        return made

    return build


def _not(inner: Closure) -> Closure:
    def negate(scope: Scope) -> bool:
        value = inner(scope)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(f"`!` needs a bool, not {a_kind(kind_of(value))}")

    return negate


def _negate(inner: Closure) -> Closure:
    subtract = arithmetic["-"]

    def negate(scope: Scope) -> Any:
        value = inner(scope)
        if value.__class__ is float:
            return -value
        return subtract(0, value)

    return negate


def _binary(node: Binary) -> Closure:
    left = compile_tree(node.left)
    constant = isinstance(node.right, Literal)
    match node.operator:
        case "==" | "!=":
            if isinstance(node.right, Literal) and node.right.value.__class__ in {int, str}:
                return _equals_constant(left, node.right.value, node.operator == "==")
            return _equals(left, compile_tree(node.right), node.operator == "==")
        case "<" | "<=" | ">" | ">=":
            compare = _ORDERS[node.operator]
            if isinstance(node.right, Literal) and node.right.value.__class__ is int:
                return _compare_integer(left, node.right.value, compare)
            return _compare(left, compile_tree(node.right), compare)
        case "in":
            if constant:
                return _apply(contained, [left, compile_tree(node.right)])
            return _apply(contained, [left, compile_tree(node.right)])
        case "+" | "-" | "*" | "/" | "%":
            return _apply(arithmetic[node.operator], [left, compile_tree(node.right)])
        case _:
            assert_never(node.operator)


def _equals_constant(left: Closure, constant: Any, wanted: bool) -> Closure:
    if wanted:

        def same(scope: Scope) -> bool:
            value = left(scope)
            return value == constant and value.__class__ is not bool

        return same

    def other(scope: Scope) -> bool:
        value = left(scope)
        return value != constant or value.__class__ is bool

    return other


def _equals(left: Closure, right: Closure, wanted: bool) -> Closure:
    return lambda scope: equal(left(scope), right(scope)) is wanted


def _compare_integer(left: Closure, constant: Any, compare: Callable[[Any, Any], bool]) -> Closure:
    def check(scope: Scope) -> bool:
        value = left(scope)
        if value.__class__ is int or value.__class__ is float:
            return compare(value, constant)
        raise EvaluationError(f"{a_kind(kind_of(value))} and an int have no order")

    return check


def _compare(left: Closure, right: Closure, compare: Callable[[Any, Any], bool]) -> Closure:
    def check(scope: Scope) -> bool:
        one, other = left(scope), right(scope)
        ordered(one, other)
        return compare(one, other)

    return check


def _logical(left: Closure, right: Closure, *, decides: bool) -> Closure:
    """Build `||` (decided by true) or `&&` (decided by false)."""
    undecided = not decides

    def settle(scope: Scope) -> bool:
        try:
            first: object = left(scope)
        except EvaluationError as error:
            second: object = right(scope)
            if second is decides:
                return decides
            raise error from None
        if first is decides:
            return decides
        second = right(scope)
        if second is decides:
            return decides
        if first is undecided and second is undecided:
            return undecided
        wrong = second if first is undecided else first
        raise EvaluationError(f"`&&` and `||` need a bool, not {a_kind(kind_of(wrong))}")

    return settle


def _conditional(condition: Closure, then: Closure, other: Closure) -> Closure:
    def choose(scope: Scope) -> Any:
        value = condition(scope)
        if value is True:
            return then(scope)
        if value is False:
            return other(scope)
        raise EvaluationError(f"`?` needs a bool, not {a_kind(kind_of(value))}")

    return choose


def _macro(node: Macro) -> Closure:
    source, body, variable = compile_tree(node.of), compile_tree(node.body), node.variable

    def each(scope: Scope) -> list[tuple[Any, Callable[[], Any]]]:
        """Pair the items with thunks of the body, so that each macro below stays one line of meaning."""
        value = source(scope)
        if not isinstance(value, (list, tuple, dict)):
            raise EvaluationError(
                f"{node.kind}() walks over a list or a map, not {a_kind(kind_of(value))}"
            )
        variables = scope.variables

        def run(item: Any) -> Callable[[], Any]:
            def evaluate() -> Any:
                before = variables.get(variable, variables)
                variables[variable] = item
                try:
                    return body(scope)
                finally:
                    if before is variables:
                        del variables[variable]
                    else:
                        variables[variable] = before

            return evaluate

        return [(item, run(item)) for item in value]

    match node.kind:
        case "all":
            return lambda scope: _quantify(each(scope), decides=False)
        case "exists":
            return lambda scope: _quantify(each(scope), decides=True)
        case "exists_one":
            return lambda scope: sum(_truth(value()) for _, value in each(scope)) == 1
        case "map":
            return lambda scope: [value() for _, value in each(scope)]
        case "filter":
            return lambda scope: [item for item, value in each(scope) if _truth(value())]
        case _:
            assert_never(node.kind)


def _quantify(items: list[tuple[Any, Callable[[], Any]]], *, decides: bool) -> bool:
    """Fold with `||` or `&&`: an error counts only if no other item decides. langdef.md "Macros"."""
    failure: EvaluationError | None = None
    for _, value in items:
        try:
            if _truth(value()) is decides:
                return decides
        except EvaluationError as error:
            failure = error
    if failure is not None:
        raise failure
    return not decides


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"a condition gave {a_kind(kind_of(value))} instead of a bool")
