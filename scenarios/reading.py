"""From the tree of a document to the model, with every mistake on the way.

A mistake never stops the reading: a placeholder takes the value's place, and what depends on it is
left unchecked.
"""

from __future__ import annotations

__all__ = ("Reading", "read")

from typing import Any

import msgspec

from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode
from scenarios.language import DOCUMENT, PARTS
from scenarios.mistakes import Mistake
from scenarios.model import Entry, Reentry, Scenario, Watch
from scenarios.scalars import Written, join
from scenarios.steps import StepReader


class Reading(msgspec.Struct):
    """What was read: a scenario (None when its frame is missing), mistakes, expressions, places.

    `places` has line, column and path of each step, by the identity of its object.
    """

    scenario: Scenario | None
    mistakes: list[Mistake]
    expressions: list[Written]
    places: dict[int, tuple[int, int, str]]


def read(root: Node, file: str) -> Reading:
    """Read a whole document."""
    reader = _Reader(file)
    scenario = reader.document(root)
    return Reading(scenario, reader.mistakes, reader.expressions, reader.places)


class _Reader(StepReader):
    """Reads what stands around the steps."""

    def document(self, root: Node) -> Scenario | None:
        items = self.form(root, DOCUMENT, "", told="a scenario")
        if items is None:
            return None
        reentry, after_ms = self._reentry(items.get("reentry"))
        steps = self.steps(items.get("steps"), "steps")
        if not steps and isinstance(node := items.get("steps"), SequenceNode) and not node.items:
            self.mistake(node, "steps", "there are no steps", "add at least one")
        scenario = Scenario(
            name=self.scalar(DOCUMENT, items, "scenario", ""),
            description=self.scalar(DOCUMENT, items, "description", ""),
            entries=self._entries(items.get("entry")),
            reentry=reentry,
            reentry_after_ms=after_ms,
            key=self.expression(items.get("key"), "key", "entry", "dyn"),
            watches=(
                *self._watches(items.get("goal"), "goal", goal=True),
                *self._watches(items.get("exit"), "exit", goal=False),
            ),
            priority=self.integer(DOCUMENT, items, "priority", "", 0),
            group=self.scalar(DOCUMENT, items, "group", ""),
            steps=steps,
        )
        return scenario.with_version()

    def _reentry(self, node: Node | None) -> tuple[Reentry, int]:
        if isinstance(node, MappingNode):
            items = self.form(node, PARTS["reentry after"], "reentry") or {}
            return "always", self.duration(items.get("after"), "reentry.after")
        field = DOCUMENT.field("reentry")
        chosen: Any = self.text(node, field, "reentry") if node is not None else ""
        return chosen or "never", 0

    def _many(self, node: Node | None, path: str) -> list[tuple[Node, str]]:
        """Give one node, or each of a list, with its path."""
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            return [(node, path)]
        if not node.items:
            self.mistake(node, path, "the list is empty", "add a form, or leave the key out")
        return [(item, f"{path}[{at}]") for at, item in enumerate(node.items)]

    def _entries(self, node: Node | None) -> tuple[Entry, ...]:
        form, entries = PARTS["entry"], []
        for item, path in self._many(node, "entry"):
            if isinstance(item, ScalarNode):
                entries.append(Entry(self.text(item, form.field("event"), path)))
                continue
            items = self.form(item, form, path) or {}
            self._one_opening(item, items, path)
            event = self.scalar(form, items, "event", path)
            condition = self.condition(items.get("when"), join(path, "when"), "entry", event)
            becomes = self.condition(items.get("becomes"), join(path, "becomes"), "state")
            entries.append(Entry(event, condition, becomes))
        return tuple(entries)

    def _one_opening(self, node: Node, items: dict[str, Node], path: str) -> None:
        if not isinstance(node, MappingNode):
            return
        if "becomes" in items and ("event" in items or "when" in items):
            mend = "make them two entries, `- event: …` and `- becomes: …`"
            self.mistake(node, path, "`becomes` stands for itself", mend)
        elif "becomes" not in items and "event" not in items:
            mend = "add `event:`, the name of the opening event"
            self.mistake(node, path, "entry has no `event`", mend)

    def _watches(self, node: Node | None, key: str, *, goal: bool) -> tuple[Watch, ...]:
        form, watches = PARTS["watch"], []
        for item, path in self._many(node, key):
            if isinstance(item, ScalarNode):
                event = self.text(item, form.field("event"), path)
                watches.append(Watch(event, event, "", goal))
                continue
            items = self.form(item, form, path, told=key) or {}
            if items and "event" not in items and "when" not in items:
                self.mistake(item, path, f"this {key} has neither event nor condition", "add one")
            event = self.scalar(form, items, "event", path)
            condition = self.condition(items.get("when"), join(path, "when"), "waiter", event)
            name = self.scalar(form, items, "name", path) or event or key
            watches.append(Watch(name, event, condition, goal))
        return tuple(watches)
