"""Segments: a name for those contacts for whom a condition holds, kept up to date as inputs arrive.

    segment: big-spenders
    description: Five orders or more in the last 90 days.
    when: contact.count('order.placed', '90d') >= 5

A contact keeps since when it is in, and until when it was (`Contact.segments`). A segment is looked at when an input
changed what its condition looks at: attributes, scores, tags, or how often an event happened. What the passing of time
alone changes (a window that an order falls out of, a score that decays) shows at the contact's next such input, or when
a run gives every contact `LookAnew`: `veredus segment refresh`.
"""

from __future__ import annotations

__all__ = (
    "SEGMENT",
    "CompiledSegment",
    "Segment",
    "check_segment",
    "compile_segment",
    "load_segment",
    "whether_in",
)

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from scenarios.cel.kinds import Fields, check_kinds
from scenarios.cel.scope import Scope
from scenarios.cel.syntax import ExpressionMistake, parse
from scenarios.cel.tree import Literal, Method, Name, Select
from scenarios.cel.values import EvaluationError
from scenarios.compiling import condition_of, mails_asked_by, windows_of
from scenarios.document import parse_document
from scenarios.language import Field, Form
from scenarios.mistakes import Mistake
from scenarios.program import Condition
from scenarios.scalars import ScalarReader
from scenarios.types import TypeSchema

SEGMENT: Final = Form(
    "segment",
    "A segment, one a file.",
    (
        Field("segment", "name", "its name, unique within the tenant", required=True),
        Field("description", "text", "who is in it"),
        Field("when", "condition", "a condition over contact", required=True),
    ),
)


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A segment as it is written. `version` is the hash of its condition."""

    name: str
    when: str
    description: str = ""
    version: str = ""


class CompiledSegment(msgspec.Struct, frozen=True):
    """A segment, ready to be asked; what its condition looks at, so that nothing else makes it look."""

    segment: Segment
    name: str
    condition: Condition
    windows: Mapping[str, int]
    events: frozenset[str]
    attributes: bool
    scores: bool
    tags: bool
    mails: int = 0


def check_segment(text: str, file: str = "", types: TypeSchema | None = None) -> list[Mistake]:
    """Find every mistake of a segment file."""
    return _examine(text, file, types)[1]


def load_segment(text: str, file: str = "") -> Segment:
    """Read a segment. Raises: InputError: with the first mistake's place."""
    segment, mistakes = _examine(text, file, None)
    if mistakes:
        raise mistakes[0].error()
    return segment


def _examine(text: str, file: str, types: TypeSchema | None) -> tuple[Segment, list[Mistake]]:
    root, mistakes = parse_document(text, file)
    if root is None:
        return Segment("", ""), mistakes
    reader = ScalarReader(file)
    items = reader.form(root, SEGMENT, "") or {}
    segment = Segment(
        reader.scalar(SEGMENT, items, "segment", ""),
        reader.condition(items.get("when"), "when", "state"),
        reader.scalar(SEGMENT, items, "description", ""),
    )
    fields = Fields(event={}, journey=None)
    if types is not None:
        fields = Fields(types.contact, {}, frozenset(types.events), None)
    for written in reader.expressions:
        try:
            tree = parse(written.text)
            found = check_kinds(tree, fields, "bool")
            if _asks_segments(tree):
                mend = "write the other segment's condition out"
                found.append(
                    ExpressionMistake("a segment can't ask for another segment", 1, 1, mend)
                )
        except ExpressionMistake as mistake:
            found = [mistake]
        node = written.node
        for one in found:
            place = node.column + one.column - 1 + (node.style in {"'", '"'})
            reader.mistakes.append(
                Mistake(file, node.line + one.line - 1, place, "when", one.message, one.mend)
            )
    digest = blake2b(segment.when.encode(), digest_size=8).hexdigest()
    mistakes += reader.mistakes
    return msgspec.structs.replace(segment, version=digest), sorted(set(mistakes))


def compile_segment(segment: Segment) -> CompiledSegment:
    """Compile a segment that `load_segment` gave."""
    condition = condition_of(segment.when)
    assert condition is not None, "a segment has a condition"
    tree = parse(segment.when)
    windows: dict[str, int] = {}
    for event, window_ms in windows_of(tree):
        windows[event] = max(windows.get(event, 0), window_ms)
    asked = list(_asked(tree))
    return CompiledSegment(
        segment,
        segment.name,
        condition,
        windows,
        frozenset(name for function, name in asked if function in {"count", "days_since"}),
        any(function == "" for function, _ in asked),
        any(function == "score" for function, _ in asked),
        any(function == "tagged" for function, _ in asked),
        mails_asked_by(tree),
    )


def _asked(node: Any) -> list[tuple[str, str]]:
    """List what a condition asks of the contact: (function, name), or ("", attribute)."""
    match node:
        case Method(
            of=Name(name="contact"), function=function, arguments=(Literal(value=name), *_)
        ):
            return [(function, str(name))]
        case Select(of=Name(name="contact"), field=field):
            return [("", field)]
        case Name(name="contact"):
            return [("", "")]
        case tuple():
            return [one for part in node for one in _asked(part)]
        case msgspec.Struct():
            return [one for f in node.__struct_fields__ for one in _asked(getattr(node, f))]
        case _:
            return []


def _asks_segments(node: Any) -> bool:
    return any(function == "in_segment" for function, _ in _asked(node))


def whether_in(segment: CompiledSegment, scope: Scope) -> bool:
    """Tell whether a contact is in; where the condition has no value, it isn't."""
    try:
        return segment.condition.closure(scope) is True
    except EvaluationError:
        return False
