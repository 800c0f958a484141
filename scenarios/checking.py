"""What is wrong with a scenario that reads well, and the two ways to read a file.

`check` finds all mistakes of a file at once; `load` gives the scenario, or raises the first.
"""

from __future__ import annotations

__all__ = ("EXPRESSIONS_MAX", "check", "examine", "load")

from typing import Final

from scenarios.cel.kinds import Fields, check_kinds
from scenarios.cel.syntax import ExpressionMistake, parse
from scenarios.document import parse_document
from scenarios.mistakes import Mistake
from scenarios.model import Scenario
from scenarios.reading import Reading, read
from scenarios.scalars import Written
from scenarios.shape import caught_names, shape_mistakes
from scenarios.types import TypeSchema

EXPRESSIONS_MAX: Final = 1_000


def load(text: str, file: str = "", types: TypeSchema | None = None) -> Scenario:
    """Read a scenario.

    Raises:
        InputError: with the first mistake's place, and how many more there are.
    """
    scenario, mistakes = examine(text, file, types)
    if not mistakes:
        assert scenario is not None
        return scenario
    error = mistakes[0].error()
    if len(mistakes) > 1:
        more = f" [and {len(mistakes) - 1} more; `veredus scenario check` shows all]"
        raise type(error)(error.message + more, error.place, error.mend)
    raise error


def check(text: str, file: str = "", types: TypeSchema | None = None) -> list[Mistake]:
    """Find every mistake of a file, in the order of their places."""
    return examine(text, file, types)[1]


def examine(
    text: str, file: str = "", types: TypeSchema | None = None
) -> tuple[Scenario | None, list[Mistake]]:
    """Read a file as far as it can be read, with all mistakes in the order of their places.

    With a tenant's `types`, names of events, attributes and event fields are checked too.
    """
    root, mistakes = parse_document(text, file)
    if root is None:
        return None, mistakes
    reading = read(root, file)
    mistakes += reading.mistakes
    mistakes += _expressions(reading, text, file, types)
    if reading.scenario is not None:
        mistakes += shape_mistakes(reading, reading.scenario, file, types)
    return reading.scenario, sorted(set(mistakes))


def _expressions(reading: Reading, text: str, file: str, types: TypeSchema | None) -> list[Mistake]:
    caught = caught_names(reading.scenario)
    opening = reading.scenario.entries if reading.scenario else ()
    opened_by = {entry.event for entry in opening}
    lines = text.split("\n")
    found = []
    if len(reading.expressions) > EXPRESSIONS_MAX:
        node, path = reading.expressions[-1].node, reading.expressions[-1].path
        message = f"more than {EXPRESSIONS_MAX} expressions; the rest isn't checked"
        mend = "split the scenario"
        found.append(Mistake(file, node.line, node.column, path, message, mend))
    for written in reading.expressions[:EXPRESSIONS_MAX]:
        journey = None if written.standing in {"entry", "state"} else caught
        fields = _fields(written, journey, opened_by, types)
        for mistake in _expression_mistakes(written, fields):
            line, column = _place(written, mistake, lines)
            found.append(Mistake(file, line, column, written.path, mistake.message, mistake.mend))
    return found


def _fields(
    written: Written, journey: tuple[str, ...] | None, opened_by: set[str], types: TypeSchema | None
) -> Fields:
    nothing: dict[str, str] | None = {} if written.standing == "state" else None
    if types is None:
        return Fields(event=nothing, journey=journey)
    events = {written.event} if written.event else opened_by
    return Fields(
        contact=types.contact,
        event=types.fields_of(events) if nothing is None and "" not in events else nothing,
        events=frozenset(types.events),
        journey=journey,
    )


def _expression_mistakes(written: Written, fields: Fields) -> list[ExpressionMistake]:
    try:
        return check_kinds(parse(written.text), fields, written.wanted)
    except ExpressionMistake as mistake:
        return [mistake]


def _place(written: Written, mistake: ExpressionMistake, lines: list[str]) -> tuple[int, int]:
    """Find the place in the file of a place in an expression.

    YAML folds lines, but keeps what isn't space: so many of those characters are passed over. It is
    exact but for texts with escapes.
    """
    node = written.node
    before = written.text.split("\n")[: mistake.line]
    before[-1] = before[-1][: mistake.column - 1]
    passed = sum(len("".join(part.split())) for part in before)
    passed += written.offset + (node.style in {"'", '"'})
    column = node.column
    first = node.line
    if node.style in {"|", ">"}:
        first, column = node.line + 1, 1
    for line in range(first, len(lines) + 1):
        for at, character in enumerate(lines[line - 1][column - 1 :], start=column):
            if not character.isspace():
                if not passed:
                    return line, at
                passed -= 1
        column = 1
    return node.line, node.column
