"""Small damages to a scenario, each of which its cases must notice.

Every step dropped; every wait longer and shorter; every condition inverted, and without it; branches swapped; exits,
goals and openings removed; the rules of re-entry, key and caps changed.
"""

from __future__ import annotations

__all__ = ("Mutant", "mutants")

from collections.abc import Iterator
from typing import Any, Final, assert_never

import msgspec

from scenarios.duration import format_duration
from scenarios.model import (
    Calendar,
    Case,
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
    Variant,
    Wait,
    Waiter,
    WaitFor,
    Watch,
    Webhook,
)

_replace = msgspec.structs.replace
_HOUR: Final = 60

Steps = tuple[Step, ...]


class Mutant(msgspec.Struct, frozen=True):
    """A damaged scenario, and what was done to it."""

    damage: str
    scenario: Scenario


def mutants(scenario: Scenario) -> Iterator[Mutant]:
    """Give every mutant of a scenario, in the order of the file."""
    for damage, changed in _frames(scenario):
        yield Mutant(damage, changed.with_version())
    for damage, steps in _of_steps(scenario.steps):
        yield Mutant(damage, _replace(scenario, steps=steps).with_version())


# ---- around the steps


def _frames(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    for at, entry in enumerate(scenario.entries):
        if len(scenario.entries) > 1:
            yield (
                f"entry {entry.event or 'becomes'} removed",
                _replace(scenario, entries=_without(scenario.entries, at)),
            )
        for damage, changed in _of_entry(entry):
            yield damage, _replace(scenario, entries=_with(scenario.entries, at, changed))
    for at, watch in enumerate(scenario.watches):
        kind = "goal" if watch.goal else "exit"
        yield (
            f"{kind} {watch.name} removed",
            _replace(scenario, watches=_without(scenario.watches, at)),
        )
        for damage, other in _of_watch(watch, kind):
            yield damage, _replace(scenario, watches=_with(scenario.watches, at, other))
    if scenario.key:
        yield "key removed", _replace(scenario, key="")
    yield from _reentries(scenario)


def _reentries(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    before = scenario.reentry_after_ms
    if before:
        for damage, after_ms in _durations(before):
            yield f"reentry after {damage}", _replace(scenario, reentry_after_ms=after_ms)
    else:
        other: Any = "always" if scenario.reentry == "never" else "never"
        yield f"reentry {scenario.reentry} made {other}", _replace(scenario, reentry=other)
    if scenario.reentry == "restart":
        yield "reentry restart made always", _replace(scenario, reentry="always")


def _of_entry(entry: Entry) -> Iterator[tuple[str, Entry]]:
    name = f"entry {entry.event or 'becomes'}"
    if entry.becomes:
        yield f"{name}: condition inverted", _replace(entry, becomes=_not(entry.becomes))
    if entry.when:
        yield f"{name}: condition inverted", _replace(entry, when=_not(entry.when))
        yield f"{name}: condition dropped", _replace(entry, when="")


def _of_watch(watch: Watch, kind: str) -> Iterator[tuple[str, Watch]]:
    if watch.when:
        yield f"{kind} {watch.name}: condition inverted", _replace(watch, when=_not(watch.when))
        if watch.event:
            yield f"{kind} {watch.name}: condition dropped", _replace(watch, when="")


# ---- steps


def _of_steps(steps: Steps) -> Iterator[tuple[str, Steps]]:
    for at, step in enumerate(steps):
        name = f"end `{step.reason}`" if isinstance(step, End) else step.id
        yield f"{name} dropped", _without(steps, at)
        for damage, changed in _of_step(step):
            yield damage, _with(steps, at, changed)


def _of_step(step: Step) -> Iterator[tuple[str, Step]]:
    match step:
        case Wait():
            yield from _of_wait(step)
        case WaitFor():
            yield from _of_wait_for(step)
        case If():
            yield f"{step.id}: condition inverted", _replace(step, condition=_not(step.condition))
            swapped = _replace(step, then=step.otherwise, otherwise=step.then)
            yield f"{step.id}: branches swapped", swapped
            yield from _inside(step, "then", step.then)
            yield from _inside(step, "otherwise", step.otherwise)
        case Switch():
            yield from _of_switch(step)
        case Split():
            yield from _of_split(step)
        case ForEach():
            yield f"{step.id}: one item less", _replace(step, limit=step.limit - 1)
            yield from _inside(step, "steps", step.steps)
        case Repeat():
            yield f"{step.id}: once more", _replace(step, times=step.times + 1)
            if step.condition:
                inverted = _replace(step, condition=_not(step.condition))
                yield f"{step.id}: condition inverted", inverted
                yield f"{step.id}: condition dropped", _replace(step, condition="")
            yield from _inside(step, "steps", step.steps)
        case Send():
            yield from _of_send(step)
        case Score():
            yield f"{step.id}: another point", _replace(step, add=step.add + 1)
        case Webhook() | Coupon():
            yield from _of_asking(step)
        case Products():
            yield f"{step.id}: another list", _replace(step, source=f"not-{step.source}")
            if step.instead:
                yield f"{step.id}: nothing stands in", _replace(step, instead=())
            yield from _inside(step, "otherwise", step.otherwise)
        case Update() | Tag() | Start() | Stop() | Notify() | End():
            return
        case _:
            assert_never(step)


def _of_asking(step: Webhook | Coupon) -> Iterator[tuple[str, Step]]:
    if isinstance(step, Coupon):
        yield f"{step.id}: another pool", _replace(step, pool=f"not-{step.pool}")
    else:
        yield f"{step.id}: another endpoint", _replace(step, endpoint=f"not-{step.endpoint}")
        for damage, timeout_ms in _durations(step.timeout_ms):
            yield f"{step.id}: timeout {damage}", _replace(step, timeout_ms=timeout_ms)
        for at, name in enumerate(step.keep):
            yield f"{step.id}: doesn't keep {name}", _replace(step, keep=_without(step.keep, at))
    yield from _inside(step, "otherwise", step.otherwise)


def _inside(step: Any, field: str, steps: Steps) -> Iterator[tuple[str, Step]]:
    for damage, changed in _of_steps(steps):
        yield damage, _replace(step, **{field: changed})


def _of_wait(step: Wait) -> Iterator[tuple[str, Step]]:
    if step.duration_ms:
        for damage, duration_ms in _durations(step.duration_ms):
            yield f"{step.id}: {damage}", _replace(step, duration_ms=duration_ms)
    calendar = step.calendar
    if calendar is not None:
        for damage, changed in _of_calendar(calendar):
            yield f"{step.id}: {damage}", _replace(step, calendar=changed)


def _of_calendar(calendar: Calendar) -> Iterator[tuple[str, Calendar]]:
    if calendar.date:
        for days in (-1, 1):
            offset = calendar.offset_days + days
            yield f"offset {offset} days", _replace(calendar, offset_days=offset)
        other: Any = "end" if calendar.past == "go-on" else "go-on"
        yield f"past: {other}", _replace(calendar, past=other)
    if calendar.at_minute >= 0:
        minute = (calendar.at_minute + _HOUR) % 1440
        yield "an hour later", _replace(calendar, at_minute=minute)
    if calendar.from_minute >= 0:
        minute = (calendar.from_minute + _HOUR) % 1440
        yield "the window begins an hour later", _replace(calendar, from_minute=minute)
    if calendar.to_minute > _HOUR:
        minute = calendar.to_minute - _HOUR
        yield "the window ends an hour earlier", _replace(calendar, to_minute=minute)
    if calendar.best_hour:
        yield "at no contact's own hour", _replace(calendar, best_hour=False)
    if calendar.days:
        yield "on any day", _replace(calendar, days=())
    if calendar.zone:
        yield "in the contact's zone", _replace(calendar, zone="")


def _of_wait_for(step: WaitFor) -> Iterator[tuple[str, Step]]:
    if step.timeout_ms:
        for damage, timeout_ms in _durations(step.timeout_ms):
            yield f"{step.id}: timeout {damage}", _replace(step, timeout_ms=timeout_ms)
    if step.look_back_ms:
        yield f"{step.id}: doesn't look back", _replace(step, look_back_ms=0)
    for at, waiter in enumerate(step.waiters):
        if len(step.waiters) > 1:
            others = _without(step.waiters, at)
            yield f"{step.id}: doesn't hear {waiter.event}", _replace(step, waiters=others)
        if waiter.then != step.otherwise:
            swapped = _with(step.waiters, at, _replace(waiter, then=step.otherwise))
            yield (
                f"{step.id}: {waiter.event} and timeout swapped",
                _replace(step, waiters=swapped, otherwise=waiter.then),
            )
        for damage, changed in _of_waiter(step.id, waiter):
            yield damage, _replace(step, waiters=_with(step.waiters, at, changed))
    yield from _inside(step, "otherwise", step.otherwise)


def _of_waiter(name: str, waiter: Waiter) -> Iterator[tuple[str, Waiter]]:
    if waiter.when:
        yield f"{name}: {waiter.event} inverted", _replace(waiter, when=_not(waiter.when))
        yield f"{name}: {waiter.event}, condition dropped", _replace(waiter, when="")
    for damage, steps in _of_steps(waiter.then):
        yield damage, _replace(waiter, then=steps)


def _of_switch(step: Switch) -> Iterator[tuple[str, Step]]:
    for at, case in enumerate(step.cases):
        inverted = _replace(case, when=_not(case.when))
        yield (
            f"{step.id}: case {at} inverted",
            _replace(step, cases=_with(step.cases, at, inverted)),
        )
        if len(step.cases) > 1:
            yield f"{step.id}: case {at} removed", _replace(step, cases=_without(step.cases, at))
        following = step.cases[at + 1].then if at + 1 < len(step.cases) else step.otherwise
        if case.then != following:
            yield f"{step.id}: branches {at} and {at + 1} swapped", _swapped(step, at)
        for damage, steps in _of_steps(case.then):
            changed: Case = _replace(case, then=steps)
            yield damage, _replace(step, cases=_with(step.cases, at, changed))
    yield from _inside(step, "otherwise", step.otherwise)


def _swapped(step: Switch, at: int) -> Switch:
    first = step.cases[at]
    if at + 1 == len(step.cases):
        cases = _with(step.cases, at, _replace(first, then=step.otherwise))
        return _replace(step, cases=cases, otherwise=first.then)
    second = step.cases[at + 1]
    cases = _with(step.cases, at, _replace(first, then=second.then))
    return _replace(step, cases=_with(cases, at + 1, _replace(second, then=first.then)))


def _of_split(step: Split) -> Iterator[tuple[str, Step]]:
    for at, variant in enumerate(step.variants):
        following = step.variants[(at + 1) % len(step.variants)]
        if variant.then != following.then:
            changed: Variant = _replace(variant, then=following.then)
            yield (
                f"{step.id}: {variant.name} as {following.name}",
                _replace(step, variants=_with(step.variants, at, changed)),
            )
        for damage, steps in _of_steps(variant.then):
            changed = _replace(variant, then=steps)
            yield damage, _replace(step, variants=_with(step.variants, at, changed))


def _of_send(step: Send) -> Iterator[tuple[str, Step]]:
    other: Any = "wait" if step.capped != "wait" else "skip"
    if step.topic:
        yield f"{step.id}: capped {step.capped} made {other}", _replace(step, capped=other)
    if step.late_ms:
        yield f"{step.id}: never late", _replace(step, late_ms=0)
    if step.expires_ms:
        yield f"{step.id}: expires by the stream's rule", _replace(step, expires_ms=0)


# ---- values


def _durations(duration_ms: int) -> Iterator[tuple[str, int]]:
    for changed in (duration_ms * 2, duration_ms // 2):
        yield f"{format_duration(duration_ms)} made {format_duration(changed)}", changed


def _not(condition: str) -> str:
    return f"!({condition})"


def _without(items: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return (*items[:at], *items[at + 1 :])


def _with(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])
