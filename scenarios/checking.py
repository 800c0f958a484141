"""What is wrong with a scenario that reads well: expressions that can't work, steps that can't be reached.

`check` finds all mistakes of a file at once; `load` gives the scenario, or raises the first.
"""

from __future__ import annotations

__all__ = ("check", "load")

from scenarios.cel.kinds import Fields, check_kinds
from scenarios.cel.syntax import ExpressionMistake, parse
from scenarios.document import ScalarNode, parse_document
from scenarios.mistakes import Mistake
from scenarios.model import End, Scenario, Step, WaitFor, branches, walk
from scenarios.reading import Reading, Written, read


def load(text: str, file: str = "") -> Scenario:
    """Read a scenario.

    Raises:
        InputError: with the first mistake's place, and how many more there are.
    """
    scenario, mistakes = _examine(text, file)
    if not mistakes:
        assert scenario is not None
        return scenario
    error = mistakes[0].error()
    if len(mistakes) > 1:
        error.message += f" [and {len(mistakes) - 1} more; `veredus scenario check` shows all]"
    raise error


def check(text: str, file: str = "") -> list[Mistake]:
    """Find every mistake of a file, in the order of their places."""
    return _examine(text, file)[1]


def _examine(text: str, file: str) -> tuple[Scenario | None, list[Mistake]]:
    root, mistakes = parse_document(text, file)
    if root is None:
        return None, mistakes
    reading = read(root, file)
    mistakes += reading.mistakes
    mistakes += _expressions(reading, text, file)
    if reading.scenario is not None:
        mistakes += _unreachable(reading, reading.scenario.steps, file)
        mistakes += _never_matching(reading, reading.scenario, file)
    return reading.scenario, sorted(set(mistakes))


# ---- expressions


def _expressions(reading: Reading, text: str, file: str) -> list[Mistake]:
    caught = _caught(reading.scenario)
    lines = text.split("\n")
    found = []
    for written in reading.expressions:
        journey = None if written.standing == "entry" else caught
        for mistake in _expression_mistakes(written, Fields(journey=journey)):
            line, column = _place(written, mistake, lines)
            found.append(Mistake(file, line, column, written.path, mistake.message, mistake.mend))
    return found


def _expression_mistakes(written: Written, fields: Fields) -> list[ExpressionMistake]:
    try:
        return check_kinds(parse(written.text), fields, written.wanted)
    except ExpressionMistake as mistake:
        return [mistake]


def _caught(scenario: Scenario | None) -> tuple[str, ...]:
    steps = walk(scenario.steps) if scenario else ()
    names = (w.caught for step in steps if isinstance(step, WaitFor) for w in step.waiters)
    return tuple(name for name in names if name)


def _place(written: Written, mistake: ExpressionMistake, lines: list[str]) -> tuple[int, int]:
    """Find the place in the file of a place in an expression; exact but for folded and escaped texts."""
    node: ScalarNode = written.node
    line = node.line + mistake.line - 1
    if node.style in {"|", ">"}:
        line += 1
        source = lines[line - 1] if line <= len(lines) else ""
        return line, len(source) - len(source.lstrip()) + mistake.column
    quote = 1 if node.style else 0
    if mistake.line == 1:
        return line, node.column + quote + written.offset + mistake.column - 1
    return line, mistake.column


# ---- the shape of the whole


def _unreachable(reading: Reading, steps: tuple[Step, ...], file: str) -> list[Mistake]:
    """Find what follows a step after which no journey goes on."""
    found: list[Mistake] = []
    ended = False
    for step in steps:
        if ended:
            line, column, path = _step_place(reading, step)
            message = "no journey can reach this step: all end before it"
            found.append(
                Mistake(file, line, column, path, message, "remove it, or an `end` before it")
            )
            break
        for branch in branches(step):
            found += _unreachable(reading, branch, file)
        ended = _ends(step)
    return found


def _ends(step: Step) -> bool:
    """Tell whether every journey ends within the step."""
    if isinstance(step, End):
        return True
    ways = list(branches(step))
    if isinstance(step, WaitFor) and not step.timeout_ms:
        ways.pop()
    return bool(ways) and all(any(_ends(inner) for inner in way) for way in ways)


def _step_place(reading: Reading, step: Step) -> tuple[int, int, str]:
    return reading.places[id(step)]


def _never_matching(reading: Reading, scenario: Scenario, file: str) -> list[Mistake]:
    """Find time-out branches that no time-out leads to."""
    found = []
    for step in walk(scenario.steps):
        if not isinstance(step, WaitFor):
            continue
        line, column, path = _step_place(reading, step)
        if step.otherwise and not step.timeout_ms:
            message = "`else` is taken when the time is out, but there is no `timeout`"
            found.append(
                Mistake(file, line, column, path, message, "add `timeout: 3d`, for instance")
            )
    return found
