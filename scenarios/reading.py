"""From the tree of a document to the model, with every mistake on the way.

A mistake never stops the reading: a placeholder takes the value's place, and what depends on it is left unchecked.
"""

from __future__ import annotations

__all__ = ("Reading", "Written", "read")

import re
from typing import Any, Final, Literal, assert_never

import msgspec

from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode
from scenarios.duration import parse_duration
from scenarios.language import (
    CLASSES,
    DOCUMENT,
    ENTRY,
    SENDING,
    STEP_KINDS,
    WAITER,
    Field,
    Form,
)
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import (
    End,
    Entry,
    If,
    Scenario,
    Send,
    Step,
    Update,
    Wait,
    Waiter,
    WaitFor,
)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TEMPLATE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
_EVENT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_TEXT_MAX: Final = 2_000

Standing = Literal["entry", "waiter", "step"]


class Written(msgspec.Struct):
    """An expression as it stands in the file."""

    text: str
    node: ScalarNode
    path: str
    standing: Standing
    wanted: str
    offset: int = 0  # of the expression within the scalar
    event: str = ""


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


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self.mistakes: list[Mistake] = []
        self.expressions: list[Written] = []
        self.places: dict[int, tuple[int, int, str]] = {}
        self._lines: dict[str, int] = {}

    def _mistake(self, node: Node, path: str, message: str, mend: str = "") -> None:
        self.mistakes.append(Mistake(self._file, node.line, node.column, path, message, mend))

    # ---- mappings

    def _form(self, node: Node, form: Form, path: str, *, told: str = "") -> dict[str, Node] | None:
        """Take a mapping apart; unknown and missing keys are mistakes."""
        if not isinstance(node, MappingNode):
            keys = ", ".join(field.key for field in form.fields)
            self._mistake(
                node,
                path,
                f"{told or form.name} must be a mapping with {keys}",
                "write `key: value` lines",
            )
            return None
        known = [field.key for field in form.fields]
        for key, place in node.keys.items():
            if key not in known:
                mend = did_you_mean(key, known) or f"{form.name} takes {', '.join(known)}"
                self._mistake(place, _join(path, key), f"unknown key `{key}`", mend)
        for field in form.fields:
            if field.required and field.key not in node.items:
                mend = f"add `{field.key}:`, {field.says}"
                self._mistake(node, path, f"{form.name} has no `{field.key}`", mend)
        return node.items

    def document(self, root: Node) -> Scenario | None:
        items = self._form(root, DOCUMENT, "", told="a scenario")
        if items is None:
            return None
        entry = self._entry(items["entry"]) if "entry" in items else Entry("")
        steps = self._steps(items["steps"], "steps") if "steps" in items else ()
        if "steps" in items and not steps and isinstance(items["steps"], SequenceNode):
            self._mistake(items["steps"], "steps", "there are no steps", "add at least one step")
        reentry: Any = self._scalar(DOCUMENT, items, "reentry", "") or "never"
        scenario = Scenario(
            name=self._scalar(DOCUMENT, items, "scenario", ""),
            description=self._scalar(DOCUMENT, items, "description", ""),
            entry=entry,
            reentry=reentry,
            steps=steps,
        )
        return scenario.with_version()

    def _entry(self, node: Node) -> Entry:
        items = self._form(node, ENTRY, "entry")
        if items is None:
            return Entry("")
        event = self._scalar(ENTRY, items, "event", "entry")
        return Entry(event, self._condition(items.get("when"), "entry.when", "entry", event))

    # ---- scalars

    def _scalar(self, form: Form, items: dict[str, Node], key: str, path: str) -> str:
        node = items.get(key)
        field = form.field(key)
        assert field is not None
        if node is None:
            return ""
        return self._text(node, field, _join(path, key))

    def _text(self, node: Node, field: Field, path: str) -> str:
        """Read a scalar of one of the textual kinds; "" after a mistake."""
        if not isinstance(node, ScalarNode):
            self._mistake(
                node, path, f"`{field.key}` must be a single value", _EXPECTED.get(field.kind, "")
            )
            return ""
        text = node.text
        match field.kind:
            case "name":
                return text if self._matches(node, _NAME, field, path) else ""
            case "template":
                return text if self._matches(node, _TEMPLATE, field, path) else ""
            case "event":
                return text if self._matches(node, _EVENT, field, path) else ""
            case "choice":
                if text in field.choices:
                    return text
                mend = (
                    did_you_mean(text, field.choices) or f"it is one of {', '.join(field.choices)}"
                )
                self._mistake(node, path, f"`{field.key}` can't be `{text[:40]}`", mend)
                return ""
            case _:
                if len(text) > _TEXT_MAX:
                    self._mistake(node, path, f"more than {_TEXT_MAX} characters", "shorten it")
                return text[:_TEXT_MAX]

    def _matches(self, node: ScalarNode, pattern: re.Pattern[str], field: Field, path: str) -> bool:
        if pattern.fullmatch(node.text):
            return True
        proposal = re.sub(r"[^a-z0-9_-]+", "-", node.text.lower()).strip("-_")[:64]
        mend = f"write `{proposal}`" if field.kind == "name" and proposal else _EXPECTED[field.kind]
        shown = node.text[:40]
        self._mistake(
            node, path, f"`{shown}` can't be {_ARTICLE[field.kind]}: {_EXPECTED[field.kind]}", mend
        )
        return False

    def _duration(self, node: Node | None, path: str) -> int:
        if node is None:
            return 0
        if isinstance(node, ScalarNode) and (duration := parse_duration(node.text)) is not None:
            return duration
        shown = (
            f"`{node.text[:40]}` isn't a duration"
            if isinstance(node, ScalarNode)
            else "a duration is one value"
        )
        self._mistake(node, path, shown, _suggest_duration(node))
        return 0

    def _condition(self, node: Node | None, path: str, standing: Standing, event: str = "") -> str:
        if node is None:
            return ""
        if not isinstance(node, ScalarNode):
            self._mistake(
                node, path, "a condition is one text", "put it in quotes if it begins with [ or {"
            )
            return ""
        self.expressions.append(Written(node.text, node, path, standing, "bool", event=event))
        return node.text

    # ---- steps

    def _steps(self, node: Node | None, path: str) -> tuple[Step, ...]:
        if node is None or (isinstance(node, ScalarNode) and node.value is None):
            return ()
        if not isinstance(node, SequenceNode):
            self._mistake(node, path, "steps must be a list", "begin each step with `- id: …`")
            return ()
        read = (self._step(item, f"{path}[{at}]") for at, item in enumerate(node.items))
        return tuple(step for step in read if step is not None)

    def _step(self, node: Node, path: str) -> Step | None:
        if not isinstance(node, MappingNode):
            self._mistake(
                node,
                path,
                "a step must be a mapping",
                f"such as `- id: {_PROPOSED_ID}` with `wait: 7d`",
            )
            return None
        kinds = [kind for kind in STEP_KINDS if kind in node.items]
        if len(kinds) != 1:
            self._unclear_step(node, kinds, path)
            return None
        items = self._form(node, STEP_KINDS[kinds[0]], path)
        assert items is not None
        step = self._of_kind(kinds[0], items, self._id(node, kinds[0], path), path)
        self.places[id(step)] = (node.line, node.column, path)
        return step

    def _unclear_step(self, node: MappingNode, kinds: list[str], path: str) -> None:
        if kinds:
            second = node.keys[kinds[1]]
            message = f"a step does one thing, this one has {' and '.join(kinds)}"
            self._mistake(
                second, path, message, f"make `{kinds[1]}` a step of its own, with its own id"
            )
            return
        for key, place in node.keys.items():
            if key != "id" and (mend := did_you_mean(key, STEP_KINDS)):
                self._mistake(place, _join(path, key), f"unknown kind of step `{key}`", mend)
                return
        self._mistake(
            node, path, "this step does nothing", f"give it one of {', '.join(STEP_KINDS)}"
        )

    def _id(self, node: MappingNode, kind: str, path: str) -> str:
        identity = self._scalar(STEP_KINDS[kind], node.items, "id", path)
        if not identity:
            return ""
        if identity in self._lines:
            message = f"the id `{identity}` is taken by the step on line {self._lines[identity]}"
            self._mistake(
                node.items["id"],
                _join(path, "id"),
                message,
                f"name it `{identity}-2`, for instance",
            )
        else:
            self._lines[identity] = node.line
        return identity

    def _of_kind(self, kind: str, items: dict[str, Node], identity: str, path: str) -> Step:
        match kind:
            case "wait":
                return Wait(identity, self._duration(items["wait"], _join(path, "wait")))
            case "wait_for":
                return WaitFor(
                    identity,
                    self._waiters(items["wait_for"], _join(path, "wait_for")),
                    self._duration(items.get("timeout"), _join(path, "timeout")),
                    self._steps(items.get("else"), _join(path, "else")),
                )
            case "if":
                return If(
                    identity,
                    self._condition(items["if"], _join(path, "if"), "step"),
                    self._steps(items.get("then"), _join(path, "then")),
                    self._steps(items.get("else"), _join(path, "else")),
                )
            case "send":
                return self._send(items["send"], identity, _join(path, "send"))
            case "update":
                return self._update(items["update"], identity, _join(path, "update"))
            case "end":
                return End(self._scalar(STEP_KINDS["end"], items, "end", path))
            case _:
                raise AssertionError(f"no reader for {kind}")

    def _waiters(self, node: Node, path: str) -> tuple[Waiter, ...]:
        if isinstance(node, ScalarNode):
            event = WAITER.field("event")
            assert event is not None
            return (Waiter(self._text(node, event, path)),)
        if isinstance(node, MappingNode):
            return (self._waiter(node, path),)
        if not node.items:
            self._mistake(node, path, "no event is waited for", "name at least one")
        return tuple(self._waiter(item, f"{path}[{at}]") for at, item in enumerate(node.items))

    def _waiter(self, node: Node, path: str) -> Waiter:
        items = self._form(node, WAITER, path, told="an event to wait for")
        if items is None:
            return Waiter("")
        event = self._scalar(WAITER, items, "event", path)
        return Waiter(
            event,
            self._condition(items.get("when"), _join(path, "when"), "waiter", event),
            self._scalar(WAITER, items, "as", path),
            self._steps(items.get("then"), _join(path, "then")),
        )

    def _send(self, node: Node, identity: str, path: str) -> Send:
        if isinstance(node, ScalarNode):
            node = MappingNode({"template": node}, {"template": node}, node.line, node.column)
        items = self._form(node, SENDING, path, told="send") or {}
        stream = self._scalar(SENDING, items, "stream", path) or "marketing"
        topic = self._scalar(SENDING, items, "topic", path)
        transactional = stream == "transactional"
        if not topic and not transactional and "topic" not in items:
            mend = "add `topic:`, or `stream: transactional` if the contact asked for this mail"
            self._mistake(node, path, f"mail on the stream `{stream}` needs a consent topic", mend)
        named = self._scalar(SENDING, items, "class", path)
        return Send(
            identity,
            self._scalar(SENDING, items, "template", path),
            stream,
            topic,
            CLASSES.get(named, 1 if transactional else 2),
            self._duration(items.get("expires"), _join(path, "expires")),
            self._duration(items.get("late"), _join(path, "late")),
        )

    def _update(self, node: Node, identity: str, path: str) -> Update:
        if not isinstance(node, MappingNode) or not node.items:
            self._mistake(node, path, "update needs attributes", "write `update: {stage: active}`")
            return Update(identity, {})
        return Update(
            identity,
            {key: self._value(value, _join(path, key), 0) for key, value in node.items.items()},
        )

    def _value(self, node: Node, path: str, depth: int) -> Any:
        """Read an attribute's value; only a text at the top may be an expression."""
        match node:
            case ScalarNode(text=text) if depth == 0 and text.startswith("="):
                self.expressions.append(Written(text[1:], node, path, "step", "dyn", offset=1))
                return text
            case ScalarNode(value=value):
                return value
            case SequenceNode(items=items):
                return [self._value(item, path, depth + 1) for item in items]
            case MappingNode(items=entries):
                return {key: self._value(value, path, depth + 1) for key, value in entries.items()}
            case _:
                assert_never(node)


_PROPOSED_ID: Final = "a-week"
_ARTICLE: Final = {"name": "a name", "template": "a template's name", "event": "an event's name"}
_EXPECTED: Final = {
    "name": "up to 64 lower-case letters, digits, - and _",
    "template": "letters, digits, ., /, - and _",
    "event": "up to 200 characters on one line",
}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _suggest_duration(node: Node) -> str:
    plain = "write a number and w, d, h, m or s, such as `7d` or `1h30m`, at most ten years"
    if not isinstance(node, ScalarNode):
        return plain
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*([a-zA-Z]*)\.?\s*", node.text)
    if found is None or int(found[1]) == 0:
        return plain
    units = {
        "week": "w",
        "day": "d",
        "hour": "h",
        "hr": "h",
        "minute": "m",
        "min": "m",
        "second": "s",
        "sec": "s",
    }
    word = found[2].lower()
    unit = units.get(word.rstrip("s"), word[:1] if word[:1] in "wdhms" and len(word) == 1 else "")
    if not unit:
        return f"did you mean `{found[1]}d`?" if not word else plain
    return f"did you mean `{found[1]}{unit}`?"
