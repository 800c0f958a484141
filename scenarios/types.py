"""The type schema of a tenant: which attributes contacts have, which events there are, with which fields.

    contact:
      plan: string
      age: int
    events:
      order.placed: {value: int, cart: string}

Kinds are `bool`, `int`, `double`, `string`, `list`, `map` and `dyn` (anything). With a schema, a
misspelt name or a comparison that can never hold is found when a scenario is checked.
"""

from __future__ import annotations

__all__ = ("TypeSchema", "read_types")

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from scenarios.document import MappingNode, Node, ScalarNode, parse_document
from scenarios.mistakes import Mistake, did_you_mean

_KINDS: Final = ("bool", "int", "double", "string", "list", "map", "dyn")


class TypeSchema(msgspec.Struct, frozen=True):
    """Kinds of attributes by name, and of event fields by event and name."""

    contact: Mapping[str, str] = {}
    events: Mapping[str, Mapping[str, str]] = {}

    def fields_of(self, events: Iterable[str]) -> Mapping[str, str] | None:
        """Give the fields that any of the events has; where their kinds differ, `dyn`.

        None where an event isn't declared: its fields aren't known.
        """
        fields: dict[str, str] = {}
        for event in events:
            declared = self.events.get(event)
            if declared is None:
                return None
            for name, kind in declared.items():
                fields[name] = kind if fields.get(name, kind) == kind else "dyn"
        return fields


def read_types(text: str, file: str = "") -> tuple[TypeSchema, list[Mistake]]:
    """Read a type schema, with every mistake."""
    root, mistakes = parse_document(text, file)
    contact: dict[str, str] = {}
    events: dict[str, Mapping[str, str]] = {}
    if isinstance(root, MappingNode):
        for key, node in root.items.items():
            if key == "contact":
                contact = _kinds(node, key, file, mistakes)
            elif key == "events":
                for event, fields in _mapping(node, key, file, mistakes).items():
                    events[event] = _kinds(fields, f"events.{event}", file, mistakes)
            else:
                place = root.keys[key]
                mend = did_you_mean(key, ["contact", "events"]) or "it has `contact` and `events`"
                message = f"unknown key `{key}`"
                mistakes.append(Mistake(file, place.line, place.column, key, message, mend))
    elif root is not None:
        _mapping(root, "", file, mistakes)
    return TypeSchema(contact, events), mistakes


def _mapping(node: Node, path: str, file: str, mistakes: list[Mistake]) -> Mapping[str, Node]:
    if isinstance(node, MappingNode):
        return node.items
    if not (isinstance(node, ScalarNode) and node.value is None):
        message = "a mapping is needed"
        mistakes.append(Mistake(file, node.line, node.column, path, message, "write `name: kind`"))
    return {}


def _kinds(node: Node, path: str, file: str, mistakes: list[Mistake]) -> dict[str, str]:
    kinds = {}
    for name, part in _mapping(node, path, file, mistakes).items():
        kind = part.text if isinstance(part, ScalarNode) else ""
        if kind not in _KINDS:
            mend = did_you_mean(kind, _KINDS) or f"it is one of {', '.join(_KINDS)}"
            message = f"`{kind[:40]}` is no kind"
            place = f"{path}.{name}"
            mistakes.append(Mistake(file, part.line, part.column, place, message, mend))
            kind = "dyn"
        kinds[name] = kind
    return kinds
