"""From the tree of a document to the model, with every mistake on the way.

A mistake never stops the reading: a placeholder takes the value's place, and what depends on it is
left unchecked.
"""

from __future__ import annotations

__all__ = ("Reading", "read")

from typing import Any, Final

import msgspec

from scenarios.cron import CronMistake, parse_cron
from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode
from scenarios.language import DOCUMENT, PARTS
from scenarios.mistakes import Mistake
from scenarios.model import Entry, Reentry, Scenario, Watch
from scenarios.scalars import Standing, Written, join
from scenarios.steps import StepReader

_OPENINGS: Final = ("becomes", "event", "segment", "date", "schedule", "by")
_BELONGS: Final = {
    "on": "segment",
    "offset": "date",
    "at": "date",
    "every": "date",
    "zone": "schedule",
}


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
            entries.append(self._entry(items, path))
        return tuple(entries)

    def _entry(self, items: dict[str, Node], path: str) -> Entry:
        form = PARTS["entry"]
        event = self.scalar(form, items, "event", path)
        standing: Standing = "entry" if event or "by" in items else "state"
        source: Any = self.scalar(form, items, "by", path)
        return Entry(
            event,
            self.condition(items.get("when"), join(path, "when"), standing, event),
            self.condition(items.get("becomes"), join(path, "becomes"), "state"),
            segment=self.scalar(form, items, "segment", path),
            leaves=self.scalar(form, items, "on", path) == "leave",
            date=self.expression(items.get("date"), join(path, "date"), "state", "dyn"),
            offset_days=self.integer(form, items, "offset", path, 0),
            at_minute=self.minute(items, "at", path),
            yearly=self.scalar(form, items, "every", path) == "year",
            schedule=self._schedule(items.get("schedule"), join(path, "schedule")),
            zone=self.scalar(form, items, "zone", path),
            source=source,
        )

    def _schedule(self, node: Node | None, path: str) -> str:
        if node is None:
            return ""
        text = self.text(node, PARTS["entry"].field("schedule"), path)
        try:
            parse_cron(text)
        except CronMistake as mistake:
            self.mistake(node, path, str(mistake), "write `0 9 * * mon`: at 09:00 on Mondays")
        return text

    def _one_opening(self, node: Node, items: dict[str, Node], path: str) -> None:
        """Find forms that say nothing, or two things at once."""
        if not isinstance(node, MappingNode):
            return
        said = [key for key in _OPENINGS if key in items]
        if "schedule" in said and "segment" in said:
            said.remove("segment")
        if not said:
            mend = "add `event:`, the name of the opening event"
            self.mistake(node, path, "entry has no `event`", mend)
        elif len(said) > 1:
            mend = f"make them two entries, `- {said[0]}: …` and `- {said[1]}: …`"
            self.mistake(node, path, f"`{said[0]}` stands for itself", mend)
        elif "when" in items and said == ["becomes"]:
            self.mistake(node, path, "`becomes` stands for itself", "join the two by `&&`")
        for key, owner in _BELONGS.items():
            if key in items and owner not in items:
                self.mistake(
                    items[key], join(path, key), f"`{key}` needs `{owner}`", f"add `{owner}:`"
                )

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
