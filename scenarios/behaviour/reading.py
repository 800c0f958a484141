"""Read a behaviour file: the first mistake, with its place and how to mend it."""

from __future__ import annotations

__all__ = ("read_behaviour", "settings_of")

import re
from typing import Any, Final, assert_never

import msgspec

from engine.errors import InputError, Place
from scenarios.behaviour import model
from scenarios.behaviour.model import Behaviour, GivenSettings, Part
from scenarios.behaviour.values import compile_value
from scenarios.calendar import parse_minute
from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode, parse_document
from scenarios.duration import parse_duration
from scenarios.mistakes import did_you_mean
from scenarios.settings import Cap, ContactSettings, QuietHours
from scenarios.zones import zone_of

_AT: Final = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"[^.\[\]]+|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"unknown field `(.*)`")


def read_behaviour(text: str, file: str = "") -> Behaviour:
    """Read a behaviour file. Raises: InputError: with the place of the first mistake."""
    root, mistakes = parse_document(text, file)
    if mistakes or root is None:
        raise mistakes[0].error()
    try:
        behaviour = msgspec.convert(_plain(root), Behaviour)
    except msgspec.ValidationError as error:
        raise _told(error, root, file) from None
    _check_values(behaviour, root, file)
    settings_of(behaviour.settings, file)
    return behaviour


def settings_of(given: GivenSettings, file: str = "") -> ContactSettings:
    """Make the tenant's settings. Raises: InputError: a zone or a cap is none."""
    if zone_of(given.zone) is None:
        place = Place(file, path="settings.zone")
        raise InputError(f"there is no time zone `{given.zone[:40]}`", place)
    caps = []
    for one in given.caps:
        window_ms = (parse_duration(one.window) or 0) if one.window else 0
        if bool(window_ms) == bool(one.period):
            place = Place(file, path="settings.caps")
            raise InputError("a cap has either `window` or `period`", place, "such as `window: 7d`")
        caps.append(Cap(one.name, one.limit, window_ms, one.period, one.streams, one.topics))
    quiet = given.quiet_hours
    hours = None
    if quiet is not None:
        begin, end = parse_minute(quiet.begin), parse_minute(quiet.end)
        if begin is None or end is None:
            place = Place(file, path="settings.quiet_hours")
            raise InputError("these are no times of day", place, 'such as `from: "21:00"`')
        hours = QuietHours(begin, end)
    return ContactSettings(zone=given.zone, caps=tuple(caps), quiet_hours=hours)


def _check_values(behaviour: Behaviour, root: Node, file: str) -> None:
    """Compile every value once, so that a mistake has its place."""
    fields = [("contacts.attributes", behaviour.contacts.attributes)]
    fields += [(f"happens[{at}].data", one.data) for at, one in enumerate(behaviour.happens)]
    fields += [(f"follows[{at}].data", one.data) for at, one in enumerate(behaviour.follows)]
    fields += [
        (f"follows[{at}]", {"once": one.once})
        for at, one in enumerate(behaviour.follows)
        if one.once
    ]
    called = behaviour.webhooks
    fields.append(("webhooks.data", called.data))
    fields += [(f"webhooks.steps.{step}.data", one.data) for step, one in called.steps.items()]
    for path, data in fields:
        for name, spec in data.items():
            try:
                compile_value(spec, name)
            except InputError as mistake:
                where = f"{path}.{name}"
                raise InputError(mistake.message, _place(root, where, file), mistake.mend) from None


def _plain(node: Node) -> Any:
    match node:
        case ScalarNode(value=value):
            return value
        case SequenceNode(items=items):
            return [_plain(item) for item in items]
        case MappingNode(items=entries):
            return {key: _plain(value) for key, value in entries.items()}
        case _:
            assert_never(node)


def _told(error: msgspec.ValidationError, root: Node, file: str) -> InputError:
    found = _AT.match(str(error))
    assert found is not None, "the pattern fits any text"
    message, path = found[1], (found[2] or "").removeprefix(".")
    mend = ""
    if unknown := _UNKNOWN.search(message):
        path = f"{path}.{unknown[1]}".removeprefix(".")
        message = f"unknown key `{unknown[1]}`"
        mend = did_you_mean(unknown[1], _KEYS)
    elif "regex" in message:
        message = message.partition(" matching")[0] + " of the form that docs/simulation.md names"
    return InputError(message, _place(root, path, file), mend)


def _place(root: Node, path: str, file: str) -> Place:
    """Find the deepest node of a path that is there."""
    node = root
    for step in _STEP.finditer(path):
        if step[1] is not None:
            at = int(step[1]) if step[1].isdigit() else -1
            if not isinstance(node, SequenceNode) or not 0 <= at < len(node.items):
                break
            node = node.items[at]
        elif isinstance(node, MappingNode) and step[0] in node.items:
            node = node.items[step[0]]
        else:
            break
    return Place(file, node.line, node.column, path)


_KEYS: Final = sorted(
    {
        name
        for one in vars(model).values()
        if isinstance(one, type) and issubclass(one, Part)
        for name in one.__struct_encode_fields__
    }
)
