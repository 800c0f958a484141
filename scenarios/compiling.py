"""From the model to a program: steps laid out flat, each knowing the next, conditions as closures.

    compile_scenario(scenario) -> CompiledScenario

It is what the catalog holds, under section `scenario` by name, and under `scenario-version` as
`name@version` for the journeys that stay on their version.
"""

from __future__ import annotations

__all__ = (
    "CompiledScenario",
    "Opening",
    "Reaction",
    "Watching",
    "compile_scenario",
    "condition_of",
    "mails_asked_by",
    "windows_of",
)

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Final, assert_never

import msgspec

from scenarios.acts import acts_of
from scenarios.cel.closures import Closure, compile_tree
from scenarios.cel.syntax import parse
from scenarios.cel.tree import Has, Literal, Method, Name, Select
from scenarios.duration import parse_duration
from scenarios.experiments import Experiment, experiments_of, key_of
from scenarios.model import (
    Calendar,
    Coupon,
    End,
    Entry,
    ForEach,
    If,
    Notify,
    Products,
    Repeat,
    Scenario,
    Score,
    Send,
    Split,
    Start,
    Step,
    Stop,
    Switch,
    Tag,
    Update,
    Wait,
    WaitFor,
    Webhook,
    branches,
    walk,
)
from scenarios.program import (
    Branching,
    Calling,
    Condition,
    Doing,
    Ending,
    Finding,
    Instruction,
    Listener,
    Listening,
    Looping,
    Sending,
    Splitting,
    Taking,
    Updating,
    Waiting,
)
from scenarios.variables import sight_of
from scenarios.walk import Act

_LOOKS_MAX: Final = 8  # values of one condition that a record keeps


class Opening(msgspec.Struct, frozen=True):
    """What opens journeys: `event` for one, and for a condition that comes true the event ""."""

    event: str
    condition: Condition | None
    entry: Entry
    date: Condition | None = None


class Watching(msgspec.Struct, frozen=True):
    """A goal or exit."""

    name: str
    event: str
    condition: Condition | None
    goal: bool


class Reaction(msgspec.Struct, frozen=True):
    """What an event does to journeys: goals and exits, then who listens, by the step at which a journey stands.

    For the event "": goals and exits that watch the state of the contact.
    """

    watches: tuple[Watching, ...]
    listening: Mapping[str, tuple[Listening, tuple[Listener, ...]]]


class CompiledScenario(msgspec.Struct, frozen=True):
    """A scenario, ready to run. `start` and `places` are positions in `program`, and in `acts`: what it does there.

    `looped` has the ids of steps within loops, whose visits are counted; `looks_back` the events that
    a step may look back for; `windows` the events whose times are asked for, with how far back (ms).
    """

    scenario: Scenario
    name: str
    version: str
    openings: tuple[Opening, ...]
    key: Condition | None
    watches: Mapping[str, tuple[Watching, ...]]  # by event; "" for those that watch the state
    program: tuple[Instruction, ...]
    start: int
    places: Mapping[str, int]
    looped: frozenset[str]
    looks_back: frozenset[str]
    windows: Mapping[str, int]
    acts: Sequence[Act]
    reactions: Mapping[str, Reaction]  # by event
    experiments: tuple[Experiment, ...] = ()
    mails_asked: int = 0  # how many of the last mails an expression asks for
    asks_hours: bool = False  # does a wait ask for the best hour?


def compile_scenario(scenario: Scenario) -> CompiledScenario:
    """Compile a scenario that `load` gave. Costs some ms for each expression; keep the result."""
    layout = _Layout(scenario.name)
    start = layout.lay(scenario.steps, layout.add(Ending("")))
    places = {step.id: at for at, step in enumerate(layout.program) if not isinstance(step, Ending)}
    watches: dict[str, tuple[Watching, ...]] = {}
    for watch in scenario.watches:
        made = Watching(watch.name, watch.event, condition_of(watch.when), watch.goal)
        watches[watch.event] = (*watches.get(watch.event, ()), made)
    looped = frozenset(_looped(scenario.steps, inside=False))
    windows: dict[str, int] = {}
    mails = 0
    for source in filter(None, _expressions(scenario)):
        for event, window_ms in windows_of(parse(source)):
            windows[event] = max(windows.get(event, 0), window_ms)
        mails = max(mails, mails_asked_by(parse(source)))
    return CompiledScenario(
        scenario=scenario,
        name=scenario.name,
        version=scenario.version,
        openings=tuple(
            Opening(one.event, condition_of(one.when or one.becomes), one, condition_of(one.date))
            for one in scenario.entries
        ),
        key=condition_of(scenario.key),
        watches=watches,
        program=tuple(layout.program),
        start=start,
        places=places,
        looped=looped,
        looks_back=frozenset(_looks_back(scenario.steps)),
        windows=windows,
        acts=acts_of(layout.program, looped),
        reactions=_reactions(watches, layout.program),
        experiments=tuple(experiments_of(scenario)),
        mails_asked=mails,
        asks_hours=any(
            isinstance(step, Wait) and step.calendar is not None and step.calendar.best_hour
            for step in walk(scenario.steps)
        ),
    )


def _reactions(
    watches: Mapping[str, tuple[Watching, ...]], program: Sequence[Instruction]
) -> dict[str, Reaction]:
    listening = [step for step in program if isinstance(step, Listening)]
    events = {*watches, *(event for step in listening for event in step.listeners)}
    return {
        event: Reaction(
            watches.get(event, ()),
            {
                step.id: (step, step.listeners[event])
                for step in listening
                if event in step.listeners
            },
        )
        for event in events
    }


def _expressions(scenario: Scenario) -> Iterator[str]:
    """Give every expression of a scenario."""
    yield scenario.key
    yield from (entry.when or entry.becomes for entry in scenario.entries)
    yield from (entry.date for entry in scenario.entries)
    yield from (watch.when for watch in scenario.watches)
    for step in walk(scenario.steps):
        match step:
            case If(condition=source) | Repeat(condition=source):
                yield source
            case Switch(cases=cases):
                yield from (case.when for case in cases)
            case WaitFor(waiters=waiters):
                yield from (waiter.when for waiter in waiters)
            case ForEach(items=source) | Products(keys=source):
                yield source
            case Wait(calendar=Calendar(date=source)):
                yield source
            case Update(attributes=attributes) | Webhook(data=attributes):
                values = (one for one in attributes.values() if isinstance(one, str))
                yield from (one[1:] for one in values if one.startswith("="))
            case _:
                pass


def windows_of(node: Any) -> Iterator[tuple[str, int]]:
    """Give the events whose times an expression asks for, with how far back it looks (ms)."""
    match node:
        case Method(of=Name(name="contact"), function="count", arguments=(event, window)):
            assert isinstance(event, Literal)
            assert isinstance(window, Literal)
            yield str(event.value), parse_duration(str(window.value)) or 0
        case Method(of=Name(name="contact"), function="days_since", arguments=(event,)):
            assert isinstance(event, Literal)
            yield str(event.value), 0
        case tuple():
            for part in node:
                yield from windows_of(part)
        case msgspec.Struct():
            for field in node.__struct_fields__:
                yield from windows_of(getattr(node, field))
        case _:
            pass


def mails_asked_by(node: Any) -> int:
    """Tell how many of the last mails an expression asks for; 0: it doesn't."""
    match node:
        case Method(of=Name(name="contact"), function="last_mails", arguments=(_, number)):
            assert isinstance(number, Literal)
            return int(str(number.value))
        case tuple():
            return max((mails_asked_by(part) for part in node), default=0)
        case msgspec.Struct():
            return mails_asked_by(tuple(getattr(node, field) for field in node.__struct_fields__))
        case _:
            return 0


def condition_of(source: str) -> Condition | None:
    """Compile a condition that was checked; None for an empty one."""
    return _compile(source) if source else None


def _compile(source: str) -> Condition:
    tree = parse(source)
    looks = dict(_looks_at(tree))
    asked = list(_asked_of_journey(tree))
    fields = None if None in asked else {name for name in asked if name is not None}
    sees = sight_of(fields) if asked else None
    return Condition(source, compile_tree(tree), sees, tuple(looks.items())[:_LOOKS_MAX])


def _looks_at(node: Any) -> Iterator[tuple[str, Closure]]:
    """Give what an expression reads of contact, event and journey, as it is written, with its closure."""
    match node:
        case Select(of=Name(name="contact" | "event" | "journey" as root), field=field):
            yield f"{root}.{field}", compile_tree(node)
        case Method(of=Name(name="contact"), function=function, arguments=arguments):
            told = ", ".join(repr(one.value) for one in arguments if isinstance(one, Literal))
            yield f"contact.{function}({told})", compile_tree(node)
        case tuple():
            for part in node:
                yield from _looks_at(part)
        case msgspec.Struct():
            for field in node.__struct_fields__:
                yield from _looks_at(getattr(node, field))
        case _:
            pass


def _asked_of_journey(node: Any) -> Iterator[str | None]:
    """Give the fields of `journey` that an expression names; None where it takes `journey` as a whole."""
    match node:
        case (
            Select(of=Name(name="journey"), field=field) | Has(of=Name(name="journey"), field=field)
        ):
            yield field
        case Name(name="journey"):
            yield None
        case tuple():
            for part in node:
                yield from _asked_of_journey(part)
        case msgspec.Struct():
            for field in node.__struct_fields__:
                yield from _asked_of_journey(getattr(node, field))
        case _:
            pass


def _looped(steps: tuple[Step, ...], *, inside: bool) -> Iterator[str]:
    for step in steps:
        if inside and not isinstance(step, End):
            yield step.id
        deeper = inside or isinstance(step, (ForEach, Repeat))
        for branch in branches(step):
            yield from _looped(branch, inside=deeper)


def _looks_back(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, WaitFor) and step.look_back_ms:
            yield from (waiter.event for waiter in step.waiters)
        for branch in branches(step):
            yield from _looks_back(branch)


class _Layout:
    """Lays steps out from the last to the first, so that each knows where the next one is."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario
        self.program: list[Instruction] = []

    def add(self, instruction: Instruction) -> int:
        self.program.append(instruction)
        return len(self.program) - 1

    def lay(self, steps: tuple[Step, ...], after: int) -> int:
        """Lay out a list of steps that goes on at `after`; give where it begins."""
        for step in reversed(steps):
            if isinstance(step, (ForEach, Repeat)):
                after = self._loop(step, after)
            else:
                after = self.add(self._instruction(step, after))
        return after

    def _loop(self, step: ForEach | Repeat, after: int) -> int:
        """Lay out a loop, whose body goes on at the loop itself."""
        at = self.add(Ending(""))  # its place is needed before its body is known
        body = self.lay(step.steps, at)
        if isinstance(step, ForEach):
            items = _compile(step.items)
            loop = Looping(step.id, items, step.variable, step.limit, None, body, after)
        else:
            loop = Looping(step.id, None, "", step.times, condition_of(step.condition), body, after)
        self.program[at] = loop
        return at

    def _instruction(self, step: Step, after: int) -> Instruction:
        match step:
            case Wait(id=identity, duration_ms=duration_ms, calendar=calendar):
                date = condition_of(calendar.date) if calendar else None
                return Waiting(identity, duration_ms, calendar, date, after)
            case WaitFor():
                return self._listening(step, after)
            case If(id=identity, condition=source, then=then, otherwise=otherwise):
                way = (_compile(source), self.lay(then, after), "then")
                return Branching(identity, (way,), self.lay(otherwise, after))
            case Switch(id=identity, cases=cases, otherwise=otherwise):
                ways = tuple(
                    (_compile(case.when), self.lay(case.then, after), str(at))
                    for at, case in enumerate(cases)
                )
                return Branching(identity, ways, self.lay(otherwise, after))
            case Split():
                return self._splitting(step, after)
            case Send(id=identity):
                return Sending(identity, step, after)
            case Update(id=identity, attributes=attributes):
                values = tuple((key, _value(value)) for key, value in attributes.items())
                return Updating(identity, values, after)
            case Webhook(id=identity):
                values = tuple((key, _value(value)) for key, value in step.data.items())
                return Calling(
                    identity,
                    step.endpoint,
                    values,
                    step.caught,
                    step.keep,
                    step.timeout_ms,
                    after,
                    self.lay(step.otherwise, after),
                )
            case Coupon(id=identity, pool=pool, caught=caught, timeout_ms=timeout_ms):
                otherwise_at = self.lay(step.otherwise, after)
                return Taking(identity, pool, caught, timeout_ms, after, otherwise_at)
            case Products():
                return Finding(
                    step.id,
                    step.source,
                    _compile(step.keys),
                    step.caught,
                    step.limit,
                    step.instead,
                    after,
                    self.lay(step.otherwise, after),
                )
            case Score() | Tag() | Start() | Stop() | Notify():
                return Doing(step.id, step, after)
            case End(reason=reason):
                return Ending(reason)
            case ForEach() | Repeat():
                raise AssertionError("`lay` takes loops")
            case _:
                assert_never(step)

    def _listening(self, step: WaitFor, after: int) -> Listening:
        listeners: dict[str, tuple[Listener, ...]] = {}
        for branch, waiter in enumerate(step.waiters):
            then = self.lay(waiter.then, after)
            listener = Listener(condition_of(waiter.when), waiter.caught, then, branch)
            listeners[waiter.event] = (*listeners.get(waiter.event, ()), listener)
        otherwise = self.lay(step.otherwise, after)
        return Listening(step.id, listeners, step.timeout_ms, step.look_back_ms, otherwise)

    def _splitting(self, step: Split, after: int) -> Splitting:
        targets = tuple(self.lay(variant.then, after) for variant in step.variants)
        return Splitting(
            step.id,
            blake2b((step.salt or f"{self._scenario}/{step.id}").encode()).digest(),
            tuple(variant.name for variant in step.variants),
            tuple(accumulate(variant.weight for variant in step.variants)),
            targets,
            key_of(self._scenario, step) if step.experiment else "",
            step.holdout,
        )


def _value(value: Any) -> Any:
    is_expression = isinstance(value, str) and value.startswith("=")
    return _compile(value[1:]) if is_expression else value
