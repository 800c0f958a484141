"""Compiled expressions against an independent implementation of CEL (a binding of cel-rust)."""

from __future__ import annotations

from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.cel.closures import compile_tree
from scenarios.cel.scope import Scope
from scenarios.cel.syntax import parse
from scenarios.cel.values import EvaluationError

_FIELDS = ("plan", "age", "score", "tags", "box", "flag", "gone")

_data = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["pro", "free", ""]),
        "age": st.integers(-3, 3),
        "score": st.sampled_from([0.0, 1.0, 1.5, -2.0]),
        "tags": st.lists(st.sampled_from(["a", "b"]) | st.integers(0, 2), max_size=3),
        "box": st.fixed_dictionaries({}, optional={"n": st.integers(0, 2), "s": st.just("a")}),
        "flag": st.booleans(),
    },
)

_leaf = st.one_of(
    st.sampled_from(["0", "1", "2", "-1", "1.0", "1.5", "'a'", "'pro'", "''", "true", "false"]),
    st.just("null"),
    st.sampled_from(_FIELDS).map(lambda field: f"contact.{field}"),
    st.sampled_from(["event.box.n", "event.box.s", "event['age']", "event.tags[0]", "[1, 'a']"]),
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(
        "== != < <= > >= + - * / % in && ||".split()  # noqa: SIM905 -- reads as the operators do
    )
    return st.one_of(
        st.tuples(inner, binary, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda a: f"!({a})"),
        inner.map(lambda a: f"(-1 * -({a} + 0))"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        st.tuples(st.sampled_from(["all", "exists", "exists_one", "filter", "map"]), inner).map(
            lambda t: f"contact.tags.{t[0]}(i, (i == {t[1]}))"
        ),
        inner.map(lambda a: f"size({a})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}).startsWith({t[1]})"),
        st.sampled_from(_FIELDS).map(lambda field: f"has(contact.{field})"),
        inner.map(lambda a: f"int({a})"),
    )


expressions = st.recursive(_leaf, _grow, max_leaves=8)


class Failed:
    """Stands for any error: which one it is isn't part of the language."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed)

    def __hash__(self) -> int:
        return 0


def ours(text: str, contact: Any, event: Any) -> Any:
    try:
        return compile_tree(parse(text))(Scope(contact, {}, event))
    except EvaluationError:
        return Failed()


def theirs(text: str, contact: Any, event: Any) -> Any:
    try:
        return cel.evaluate(text, {"contact": contact, "event": event})
    except Exception:  # noqa: BLE001 -- the binding raises many kinds
        return Failed()


@settings(max_examples=300, deadline=None)
@given(expressions, _data, _data)
def test_generated_expressions_agree_with_an_independent_implementation(
    text: str, contact: dict[str, Any], event: dict[str, Any]
) -> None:
    mine, reference = ours(text, contact, event), theirs(text, contact, event)
    assert (repr(mine), type(mine)) == (repr(reference), type(reference)) or mine == reference == (
        Failed()
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("contact.count('order.placed') == 2 && event.value >= 3000", True),
        ("contact.count('never') == 0", True),
        ("journey.event.cart == event.cart", True),
        ("'äöü'.size()", 3),
        ("'a\\x41\\u00e9\\n'", "aAé\n"),
        ("r'\\d'", "\\d"),
        ("'''a\nb'''", "a\nb"),
        ("[1, 2].map(i, [3].map(i, i)[0] + i)", [4, 5]),
        ("string(12) + 'x'", "12x"),
        ("0x1F", 31),
        ("contact.count('order.placed') > 1 ? 'often' : 'rarely'", "often"),
    ],
)
def test_an_expression_has_its_value(text: str, value: Any) -> None:
    scope = Scope({}, {"order.placed": 2}, {"value": 3000, "cart": 7}, {"event": {"cart": 7}})
    assert value == compile_tree(parse(text))(scope)


@pytest.mark.parametrize(
    "text",
    [
        "contact.nothing",
        "1 / 0",
        "9223372036854775807 + 1",
        "1 + 1.0",
        "!1",
        "event.x.y",
        "'a' < 1",
    ],
)
def test_what_has_no_value_is_an_error_and_nothing_else(text: str) -> None:
    with pytest.raises(EvaluationError):
        compile_tree(parse(text))(Scope())


def test_texts_cannot_grow_without_bound() -> None:
    scope = Scope({"big": "x" * 40_000})
    with pytest.raises(EvaluationError, match="65536"):
        compile_tree(parse("contact.big + contact.big"))(scope)
