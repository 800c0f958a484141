"""The shape of a scenario: steps that can't be reached, waits that can't end, loops that don't wait."""

from __future__ import annotations

__all__ = ("caught_names", "shape_mistakes")

from collections.abc import Callable, Iterator
from typing import Final

from scenarios.cel.scope import JOURNEY_FIELDS
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import (
    Coupon,
    End,
    ForEach,
    Products,
    Repeat,
    Scenario,
    Start,
    Step,
    Wait,
    WaitFor,
    Webhook,
    branches,
    walk,
)
from scenarios.reading import Reading
from scenarios.types import TypeSchema

_LOOP_DEPTH_MAX: Final = 2
_MAY_GO_ON: Final = (ForEach, Repeat, Webhook, Coupon, Products)
"""Steps from which journeys may go on to the next without taking any of those inside."""

_Report = Callable[..., None]


def caught_names(scenario: Scenario | None) -> tuple[str, ...]:
    """Give the names that the scenario puts under `journey`."""
    names: list[str] = []
    for step in walk(scenario.steps) if scenario else ():
        if isinstance(step, WaitFor):
            names += [waiter.caught for waiter in step.waiters if waiter.caught]
        elif isinstance(step, ForEach):
            names.append(step.variable)
        elif isinstance(step, (Webhook, Coupon, Products)) and step.caught:
            names.append(step.caught)
    return tuple(names)


def shape_mistakes(
    reading: Reading, scenario: Scenario, file: str, types: TypeSchema | None
) -> list[Mistake]:
    """Find what can't work, however the conditions turn out."""
    found: list[Mistake] = []

    def report(step: Step, message: str, mend: str) -> None:
        line, column, path = reading.places.get(id(step), (1, 1, ""))
        found.append(Mistake(file, line, column, path, message, mend))

    _unreachable(scenario.steps, report)
    _loops(scenario.steps, 0, report)
    for step in walk(scenario.steps):
        if isinstance(step, WaitFor):
            _never_ending(step, scenario, report)
        if isinstance(step, Start) and step.scenario == scenario.name:
            report(step, "a scenario can't start itself", "use `repeat`, or `reentry: always`")
        for name in _names_of(step):
            if name in JOURNEY_FIELDS:
                mend = f"choose another than {', '.join(JOURNEY_FIELDS)}"
                report(step, f"`as: {name}` would hide a field of the journey", mend)
    if types is not None:
        _undeclared(scenario, types, reading, file, found)
    return found


def _names_of(step: Step) -> Iterator[str]:
    if isinstance(step, WaitFor):
        yield from (waiter.caught for waiter in step.waiters)
    elif isinstance(step, ForEach):
        yield step.variable
    elif isinstance(step, (Webhook, Coupon, Products)) and step.caught:
        yield step.caught


def _unreachable(steps: tuple[Step, ...], report: _Report) -> None:
    """Find what follows a step after which no journey goes on."""
    ended = False
    for step in steps:
        if ended:
            message = "no journey can reach this step: all end before it"
            report(step, message, "remove it, or an `end` before it")
            return
        for branch in branches(step):
            _unreachable(branch, report)
        ended = _ends(step)


def _ends(step: Step) -> bool:
    """Tell whether every journey ends within the step."""
    if isinstance(step, End):
        return True
    if isinstance(step, _MAY_GO_ON):
        return False
    ways = list(branches(step))
    if isinstance(step, WaitFor) and not step.timeout_ms:
        ways.pop()
    return bool(ways) and all(any(_ends(inner) for inner in way) for way in ways)


def _loops(steps: tuple[Step, ...], depth: int, report: _Report) -> None:
    for step in steps:
        inside = depth + isinstance(step, (ForEach, Repeat))
        if inside > _LOOP_DEPTH_MAX:
            report(step, f"loops are nested deeper than {_LOOP_DEPTH_MAX}", "take one of them out")
            continue
        if isinstance(step, Repeat) and not _waits(step.steps):
            report(step, "this loop never waits", "add a `wait` or `wait_for` to its steps")
        for branch in branches(step):
            _loops(branch, inside, report)


def _waits(steps: tuple[Step, ...]) -> bool:
    """Tell whether every way through the steps waits or ends."""
    for step in steps:
        if isinstance(step, (Wait, WaitFor, End)):
            return True
        ways = () if isinstance(step, _MAY_GO_ON) else branches(step)
        if ways and all(_waits(way) for way in ways):
            return True
    return False


def _never_ending(step: WaitFor, scenario: Scenario, report: _Report) -> None:
    """Find time-out branches that no time-out leads to, and events that something else takes first."""
    if step.otherwise and not step.timeout_ms:
        message = "`else` is taken when the time is out, but there is no `timeout`"
        report(step, message, "add `timeout: 3d`, for instance")
    for waiter in step.waiters:
        for watch in scenario.watches:
            if waiter.event and watch.event == waiter.event and not watch.when:
                message = f"`{waiter.event}` ends the journey as goal or exit before it gets here"
                report(step, message, "give the goal or exit a condition, or remove one of the two")


def _undeclared(
    scenario: Scenario, types: TypeSchema, reading: Reading, file: str, found: list[Mistake]
) -> None:
    """Find events that the tenant's schema doesn't have."""
    listened = [(entry.event, None) for entry in scenario.entries if entry.event]
    listened += [(watch.event, None) for watch in scenario.watches if watch.event]
    places: list[tuple[str, Step | None]] = list(listened)
    for step in walk(scenario.steps):
        if isinstance(step, WaitFor):
            places += [(waiter.event, step) for waiter in step.waiters]
    for event, step_of in places:
        if event and event not in types.events:
            line, column, path = reading.places.get(id(step_of), (1, 1, "entry"))
            mend = did_you_mean(event, types.events) or "declare it in the type schema"
            message = f"no event `{event}` is declared"
            found.append(Mistake(file, line, column, path, message, mend))
