"""From the model to a program: steps laid out flat, each knowing the next, conditions compiled to closures.

    compile_scenario(scenario) -> CompiledScenario

It is what the catalog holds, under section `scenario` by name, and under `scenario-version` as `name@version` for the
journeys that stay on their version.
"""

from __future__ import annotations

__all__ = (
    "Branching",
    "CompiledScenario",
    "Condition",
    "Ending",
    "Instruction",
    "Listener",
    "Listening",
    "Sending",
    "Updating",
    "Waiting",
    "compile_scenario",
)

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from scenarios.cel.closures import Closure, compile_tree
from scenarios.cel.syntax import parse
from scenarios.cel.tree import Name
from scenarios.model import End, If, Reentry, Scenario, Send, Step, Update, Wait, WaitFor


class Condition(msgspec.Struct, frozen=True, gc=False):
    """A compiled expression; `of_journey` tells whether it looks at `journey`."""

    source: str
    closure: Closure
    of_journey: bool


class Waiting(msgspec.Struct, frozen=True):
    """Stand until a time has passed."""

    id: str
    duration_ms: int
    next: int


class Listener(msgspec.Struct, frozen=True):
    """What happens when an event comes."""

    condition: Condition | None
    caught: str
    next: int
    branch: int


class Listening(msgspec.Struct, frozen=True):
    """Stand until one of the events comes, or the time is out."""

    id: str
    listeners: Mapping[str, tuple[Listener, ...]]
    timeout_ms: int
    otherwise: int


class Branching(msgspec.Struct, frozen=True):
    """Go one of two ways."""

    id: str
    condition: Condition
    then: int
    otherwise: int


class Sending(msgspec.Struct, frozen=True):
    """Send a message, and go on."""

    id: str
    send: Send
    next: int


class Updating(msgspec.Struct, frozen=True):
    """Set attributes, and go on. A `Condition` gives the value of an expression."""

    id: str
    values: tuple[tuple[str, Any], ...]
    next: int


class Ending(msgspec.Struct, frozen=True):
    """The journey is over."""

    reason: str


Instruction = Waiting | Listening | Branching | Sending | Updating | Ending


class CompiledScenario(msgspec.Struct, frozen=True):
    """A scenario, ready to run. `start` and `places` are positions in `program`."""

    scenario: Scenario
    name: str
    version: str
    event: str
    condition: Condition | None
    reentry: Reentry
    program: tuple[Instruction, ...]
    start: int
    places: Mapping[str, int]


def compile_scenario(scenario: Scenario) -> CompiledScenario:
    """Compile a scenario that `load` gave. Costs some ms for each expression; keep the result."""
    layout = _Layout()
    start = layout.lay(scenario.steps, layout.add(Ending("")))
    places = {step.id: at for at, step in enumerate(layout.program) if not isinstance(step, Ending)}
    return CompiledScenario(
        scenario=scenario,
        name=scenario.name,
        version=scenario.version,
        event=scenario.entry.event,
        condition=_condition(scenario.entry.when),
        reentry=scenario.reentry,
        program=tuple(layout.program),
        start=start,
        places=places,
    )


def _condition(source: str) -> Condition | None:
    return _compile(source) if source else None


def _compile(source: str) -> Condition:
    tree = parse(source)
    return Condition(source, compile_tree(tree), _mentions(tree, "journey"))


def _mentions(node: Any, root: str) -> bool:
    """Tell whether a name occurs anywhere in a tree."""
    if isinstance(node, Name):
        return node.name == root
    if isinstance(node, tuple):
        return any(_mentions(part, root) for part in node)
    if isinstance(node, msgspec.Struct):
        return any(_mentions(getattr(node, field), root) for field in node.__struct_fields__)
    return False


class _Layout:
    """Lays steps out from the last to the first, so that each knows where the next one is."""

    def __init__(self) -> None:
        self.program: list[Instruction] = []

    def add(self, instruction: Instruction) -> int:
        self.program.append(instruction)
        return len(self.program) - 1

    def lay(self, steps: tuple[Step, ...], after: int) -> int:
        """Lay out a list of steps that goes on at `after`; give where it begins."""
        for step in reversed(steps):
            after = self.add(self._instruction(step, after))
        return after

    def _instruction(self, step: Step, after: int) -> Instruction:
        match step:
            case Wait(id=identity, duration_ms=duration_ms):
                return Waiting(identity, duration_ms, after)
            case WaitFor():
                return self._listening(step, after)
            case If(id=identity, condition=source, then=then, otherwise=otherwise):
                ways = self.lay(then, after), self.lay(otherwise, after)
                return Branching(identity, _compile(source), *ways)
            case Send(id=identity):
                return Sending(identity, step, after)
            case Update(id=identity, attributes=attributes):
                values = tuple((key, _value(value)) for key, value in attributes.items())
                return Updating(identity, values, after)
            case End(reason=reason):
                return Ending(reason)
            case _:
                assert_never(step)

    def _listening(self, step: WaitFor, after: int) -> Listening:
        listeners: dict[str, tuple[Listener, ...]] = {}
        for branch, waiter in enumerate(step.waiters):
            listener = Listener(
                _condition(waiter.when), waiter.caught, self.lay(waiter.then, after), branch
            )
            listeners[waiter.event] = (*listeners.get(waiter.event, ()), listener)
        otherwise = self.lay(step.otherwise, after)
        return Listening(step.id, listeners, step.timeout_ms, otherwise)


def _value(value: Any) -> Any:
    is_expression = isinstance(value, str) and value.startswith("=")
    return _compile(value[1:]) if is_expression else value
