"""From text to tree, by the grammar of cel-python.

Hostile text is bounded: `LENGTH_MAX` characters, `DEPTH_MAX` levels, so that neither this module nor a compiled closure
recurses deeper than that.
"""

from __future__ import annotations

__all__ = ("DEPTH_MAX", "LENGTH_MAX", "ExpressionMistake", "parse")

import re
from typing import Any, Final

from engine.errors import VeredusError
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

LENGTH_MAX: Final = 2_000
DEPTH_MAX: Final = 60
_INT_MAX: Final = 2**63 - 1
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_RESERVED: Final = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"}
    | {"namespace", "package", "return", "var", "void", "while"}
)
_OPERATORS: Final[dict[str, Any]] = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_ge": ">=",
    "relation_gt": ">",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\"'`?\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|([0-3][0-7]{2})|(.|$))",
    re.DOTALL,
)
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class ExpressionMistake(VeredusError):  # noqa: N818 -- it becomes a `Mistake`
    """An expression that can't be compiled, with its place inside the expression, counted from 1."""

    def __init__(self, message: str, line: int, column: int, mend: str = "") -> None:
        self.message = message
        self.line = line
        self.column = column
        self.mend = mend
        super().__init__(message)


def parse(text: str) -> Node:
    """Parse an expression.

    Raises:
        ExpressionMistake: with the first place where it isn't an expression of the language.
    """
    if not text.strip():
        raise ExpressionMistake(
            "the expression is empty", 1, 1, "write a condition, or leave the key out"
        )
    if len(text) > LENGTH_MAX:
        message = f"the expression has {len(text)} characters, at most {LENGTH_MAX} are read"
        raise ExpressionMistake(message, 1, 1, "split it into several steps")
    return _convert(_grammar_tree(text), 0)


def _grammar_tree(text: str) -> Any:
    # Heavy (0.3 s with the grammar's tables), and needed only where scenarios are read.
    from celpy.celparser import CELParseError, CELParser

    try:
        return CELParser().parse(text)
    except CELParseError as error:
        line, column = error.line or 1, error.column or 1
        raise ExpressionMistake(*_explain(text, line, column)) from None


def _explain(text: str, line: int, column: int) -> tuple[str, int, int, str]:
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    rest = lines[line - 1][column - 1 :]
    if rest.startswith("=") and not rest.startswith("=="):
        return "`=` compares nothing", line, column, "write `==`"
    if rest[:1] in {"'", '"'}:
        return "this text has no closing quote", line, column, f"close it with {rest[0]}"
    if re.match(r"(and|or|not)\b", rest):
        word = re.split(r"\W", rest)[0]
        sign = {"and": "&&", "or": "||", "not": "!"}[word]
        return f"`{word}` isn't an operator", line, column, f"write `{sign}`"
    shown = rest.strip()[:20]
    if not shown or column > len(lines[line - 1].rstrip()) - 1:
        return "the expression ends too early or a word is missing", line, column, "complete it"
    return (
        f"not understood from `{shown}` on",
        line,
        column,
        "see docs/scenarios.md for expressions",
    )


def _convert(tree: Any, depth: int) -> Node:
    """Convert a tree of the grammar; a chain of rules with one child each costs no depth."""
    while len(tree.children) == 1 and tree.data in _PASSED:
        tree = tree.children[0]
    line, column = tree.meta.line, tree.meta.column
    if depth > DEPTH_MAX:
        message = f"the expression is nested deeper than {DEPTH_MAX} levels"
        raise ExpressionMistake(message, line, column, "split it into several steps")
    children, below = tree.children, depth + 1
    match tree.data:
        case "expr":
            condition, then, other = (_convert(child, below) for child in children)
            return Conditional(condition, then, other, line, column)
        case "conditionalor" | "conditionaland":
            left, right = (_convert(child, below) for child in children)
            return Logical(
                "||" if tree.data == "conditionalor" else "&&", left, right, line, column
            )
        case "relation" | "addition" | "multiplication":
            left = _convert(children[0].children[0], below)
            operator = _OPERATORS[children[0].data]
            return Binary(operator, left, _convert(children[1], below), line, column)
        case "unary":
            operand = _convert(children[1], below)
            return Unary("!" if children[0].data == "unary_not" else "-", operand, line, column)
        case "literal":
            return _literal(children[0], line, column)
        case _:
            return _member(tree, below, line, column)


_PASSED: Final = frozenset(
    {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication"}
    | {"unary", "member", "primary", "paren_expr"}
)


def _member(tree: Any, below: int, line: int, column: int) -> Node:
    children = tree.children
    match tree.data:
        case "ident":
            return Name(_identifier(children[0], line, column), line, column)
        case "member_dot":
            return Select(_convert(children[0], below), str(children[1]), line, column)
        case "member_index":
            return Index(_convert(children[0], below), _convert(children[1], below), line, column)
        case "ident_arg":
            return _call(str(children[0]), _arguments(children[1:], below), line, column)
        case "member_dot_arg":
            of = _convert(children[0], below)
            return _method(of, str(children[1]), _arguments(children[2:], below), line, column)
        case "list_lit":
            return ListOf(_arguments(children, below), line, column)
        case "map_lit":
            items = [_convert(child, below) for child in (children[0].children if children else ())]
            pairs = tuple(zip(items[::2], items[1::2], strict=True))
            return MapOf(pairs, line, column)
        case _:
            message = "messages and names that begin with a dot aren't part of the language here"
            raise ExpressionMistake(message, line, column, "use contact, event or journey")


def _identifier(token: Any, line: int, column: int) -> str:
    name = str(token)
    if name in _RESERVED:
        raise ExpressionMistake(f"`{name}` is a reserved word", line, column, "use another name")
    return name


def _arguments(children: Any, below: int) -> tuple[Node, ...]:
    return tuple(_convert(child, below) for child in (children[0].children if children else ()))


def _call(function: str, arguments: tuple[Node, ...], line: int, column: int) -> Node:
    if function != "has":
        return Call(function, arguments, line, column)
    match arguments:
        case (Select(of=of, field=field),):
            return Has(of, field, line, column)
        case _:
            message = "has() takes one field, such as has(contact.city)"
            raise ExpressionMistake(message, line, column, "name a field with a dot")


def _method(of: Node, function: str, arguments: tuple[Node, ...], line: int, column: int) -> Node:
    if function not in _MACROS:
        return Method(of, function, arguments, line, column)
    match arguments:
        case (Name(name=variable), body):
            kind: Any = function
            return Macro(kind, of, variable, body, line, column)
        case _:
            message = f"{function}() takes a variable and an expression"
            mend = f"write it as items.{function}(item, item.price > 0)"
            raise ExpressionMistake(message, line, column, mend)


def _literal(token: Any, line: int, column: int) -> Literal:
    text = str(token)
    match token.type:
        case "BOOL_LIT":
            return Literal(text == "true", line, column)
        case "NULL_LIT":
            return Literal(None, line, column)
        case "INT_LIT":
            return Literal(_integer(text, line, column), line, column)
        case "FLOAT_LIT":
            return Literal(float(text), line, column)
        case "STRING_LIT" | "MLSTRING_LIT":
            return Literal(_string(text, line, column), line, column)
        case _:
            message = f"`{text[:20]}` is of a kind that isn't supported (unsigned integer or bytes)"
            raise ExpressionMistake(message, line, column, "use an integer or a text")


def _integer(text: str, line: int, column: int) -> int:
    value = int(text, 0) if "x" in text.lower() else int(text)
    if not -_INT_MAX - 1 <= value <= _INT_MAX:
        raise ExpressionMistake(
            "the integer doesn't fit 64 bits", line, column, "use a smaller one"
        )
    return value


def _string(text: str, line: int, column: int) -> str:
    raw = text[0] in "rR"
    body = text[1:] if raw else text
    quotes = 3 if len(body) >= 6 and body[:3] == body[0] * 3 else 1
    body = body[quotes:-quotes]
    if raw or "\\" not in body:
        return body

    def unescape(found: re.Match[str]) -> str:
        simple, *codes, octal, wrong = found.groups()
        if wrong is not None:
            message = f"`\\{wrong}` isn't an escape"
            raise ExpressionMistake(message, line, column, "write `\\\\` for a backslash")
        if simple:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else int(next(filter(None, codes)), 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ExpressionMistake(
                "this escape is no character", line, column, "use a valid code point"
            )
        return chr(code)

    return _ESCAPE.sub(unescape, body)
