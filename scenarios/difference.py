"""What changed between two versions of a scenario, and where journeys of removed steps would go.

Steps are told apart by their ids, so a step that was moved or changed is still the same step.
"""

from __future__ import annotations

__all__ = ("Change", "differences", "places_for_removed", "told")

from typing import Any, Literal

import msgspec

from scenarios.duration import format_duration
from scenarios.model import End, Scenario, Standing, Step, branches, walk


class Change(msgspec.Struct, frozen=True):
    """One difference: of a step (by id) or of a key of the scenario (`step` "")."""

    what: Literal["added", "removed", "changed", "moved"]
    step: str
    key: str = ""
    before: Any = None
    after: Any = None


_INSIDE = frozenset({"then", "otherwise", "steps", "waiters", "cases", "variants", "id", "type"})
_AROUND = ("entries", "reentry", "reentry_after_ms", "key", "watches", "priority", "group")


def differences(before: Scenario, after: Scenario) -> list[Change]:
    """List the differences in meaning, in the order of the new file, removed steps last."""
    found = [
        Change("changed", "", key, _plain(before, key), _plain(after, key))
        for key in _AROUND
        if getattr(before, key) != getattr(after, key)
    ]
    old, new = _by_id(before), _by_id(after)
    for identity, step in new.items():
        if identity not in old:
            found.append(Change("added", identity, "", None, _kind(step)))
        else:
            found += _changed(identity, old[identity], step)
    found += _moved(before, after)
    gone = (identity for identity in old if identity not in new)
    return found + [Change("removed", one, "", _kind(old[one]), None) for one in gone]


def _by_id(scenario: Scenario) -> dict[str, Step]:
    return {step.id: step for step in walk(scenario.steps) if not isinstance(step, End)}


def _kind(step: Step) -> str:
    return str(step.__struct_config__.tag)


def _plain(scenario: Scenario, key: str) -> Any:
    return msgspec.to_builtins(getattr(scenario, key))


def _own(step: Step) -> dict[str, Any]:
    """Give what a step says itself, without the steps inside it."""
    made: dict[str, Any] = {"kind": _kind(step)}
    for key in step.__struct_fields__:
        if key not in _INSIDE:
            made[key] = msgspec.to_builtins(getattr(step, key))
    for key, part in (
        ("waiters", "event when caught"),
        ("cases", "when"),
        ("variants", "name weight"),
    ):
        for at, one in enumerate(getattr(step, key, ())):
            made[f"{key}[{at}]"] = [getattr(one, name) for name in part.split()]
    return made


def _changed(identity: str, before: Step, after: Step) -> list[Change]:
    old, new = _own(before), _own(after)
    keys = list(dict.fromkeys([*old, *new]))
    return [
        Change("changed", identity, key, old.get(key), new.get(key))
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _moved(before: Scenario, after: Scenario) -> list[Change]:
    """Find the steps that both have, whose predecessor among the common ones is another."""
    old, new = _predecessors(before.steps), _predecessors(after.steps)
    common = old.keys() & new.keys()

    def nearest(identity: str, chain: dict[str, str]) -> str:
        one = chain[identity]
        while one and one not in common:
            one = chain.get(one, "")
        return one

    pairs = ((one, nearest(one, old), nearest(one, new)) for one in new if one in common)
    return [Change("moved", one, "after", was, now) for one, was, now in pairs if was != now]


def _predecessors(steps: tuple[Step, ...], before: str = "") -> dict[str, str]:
    """Give for each step the one before it; for the first of a branch the step that it belongs to."""
    made: dict[str, str] = {}
    for step in steps:
        if isinstance(step, End):
            continue
        made[step.id] = before
        for branch in branches(step):
            made |= _predecessors(branch, step.id)
        before = step.id
    return made


def places_for_removed(before: Scenario, after: Scenario) -> dict[str, str]:
    """Propose for each removed step that waits the waiting step where its journeys could stand.

    It is the next waiting step of the old order that the new version still has; "" where there is
    none, and the journey would end.
    """
    waiting = [s.id for s in walk(before.steps) if isinstance(s, Standing)]
    kept = {s.id for s in walk(after.steps) if isinstance(s, Standing)}
    proposal = {}
    for at, identity in enumerate(waiting):
        if identity not in kept:
            proposal[identity] = next((one for one in waiting[at + 1 :] if one in kept), "")
    return proposal


def told(change: Change) -> str:
    """Tell a difference in one line, with durations as files have them."""
    if change.what in {"added", "removed"}:
        return f"{change.what} {change.step} ({change.after or change.before})"
    key, before, after = change.key, repr(change.before), repr(change.after)
    if key.endswith("_ms") and isinstance(change.before, int) and isinstance(change.after, int):
        key = key.removesuffix("_ms")
        before, after = (
            format_duration(one) if one else "none" for one in (change.before, change.after)
        )
    where = ".".join(filter(None, (change.step, key)))
    return f"{change.what} {where}: {before} -> {after}"
