"""Reading single values: names, durations, times of day, choices, expressions. Mistakes are noted, not raised."""

from __future__ import annotations

__all__ = ("ScalarReader", "Standing", "Written", "join")

import re
from typing import Final, Literal

import msgspec

from scenarios.calendar import DAYS, parse_minute
from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode
from scenarios.duration import parse_duration
from scenarios.language import Field, Form
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.public_holidays import knows
from scenarios.zones import zone_of

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TEMPLATE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
_EVENT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_TEXT_MAX: Final = 2_000

Standing = Literal["entry", "state", "waiter", "step"]


class Written(msgspec.Struct):
    """An expression as it stands in the file. `event` is the name of the event that it can see."""

    text: str
    node: ScalarNode
    path: str
    standing: Standing
    wanted: str
    offset: int = 0  # of the expression within the scalar
    event: str = ""


def join(path: str, key: str) -> str:
    """Give the path of a key inside a mapping."""
    return f"{path}.{key}" if path else key


class ScalarReader:
    """Reads values of one node each; where one isn't what it must be, a placeholder takes its place."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.mistakes: list[Mistake] = []
        self.expressions: list[Written] = []

    def mistake(self, node: Node, path: str, message: str, mend: str = "") -> None:
        """Note a mistake at a node."""
        self.mistakes.append(Mistake(self._file, node.line, node.column, path, message, mend))

    # ---- mappings

    def form(self, node: Node, form: Form, path: str, told: str = "") -> dict[str, Node] | None:
        """Take a mapping apart; unknown and missing keys are mistakes."""
        if not isinstance(node, MappingNode):
            keys = ", ".join(field.key for field in form.fields)
            message = f"{told or form.name} must be a mapping with {keys}"
            self.mistake(node, path, message, "write `key: value` lines")
            return None
        known = [field.key for field in form.fields]
        for key, place in node.keys.items():
            if key not in known:
                mend = did_you_mean(key, known) or f"{form.name} takes {', '.join(known)}"
                self.mistake(place, join(path, key), f"unknown key `{key}`", mend)
        for field in form.fields:
            if field.required and field.key not in node.items:
                mend = f"add `{field.key}:`, {field.says}"
                self.mistake(node, path, f"{told or form.name} has no `{field.key}`", mend)
        return node.items

    # ---- texts

    def scalar(self, form: Form, items: dict[str, Node], key: str, path: str) -> str:
        """Read a textual key of a form; "" where it is missing or wrong."""
        node = items.get(key)
        return "" if node is None else self.text(node, form.field(key), join(path, key))

    def text(self, node: Node, field: Field, path: str) -> str:
        """Read a scalar of one of the textual kinds; "" after a mistake."""
        if not isinstance(node, ScalarNode):
            message = f"`{field.key}` must be a single value"
            self.mistake(node, path, message, _EXPECTED.get(field.kind, ""))
            return ""
        match field.kind:
            case "name" | "template" | "event" | "notify" | "names":
                return self._named(node, field, path)
            case "choice" | "reentry" | "look_back":
                return self._choice(node, field, path)
            case "zone":
                return self._zone(node, path)
            case "holidays":
                return self._holidays(node, path)
            case _:
                if node.value is None:
                    return ""
                if len(node.text) > _TEXT_MAX:
                    self.mistake(node, path, f"more than {_TEXT_MAX} characters", "shorten it")
                return node.text[:_TEXT_MAX]

    def _named(self, node: ScalarNode, field: Field, path: str) -> str:
        kind = field.kind if field.kind in _PATTERNS else "name"
        if _PATTERNS[kind].fullmatch(node.text):
            return node.text
        proposal = re.sub(r"[^a-z0-9_-]+", "-", node.text.lower()).strip("-_")[:64]
        mend = f"write `{proposal}`" if kind == "name" and proposal else ""
        message = f"`{node.text[:40]}` can't be {_ARTICLE[kind]}: {_EXPECTED[kind]}"
        self.mistake(node, path, message, mend)
        return ""

    def _choice(self, node: ScalarNode, field: Field, path: str) -> str:
        if node.text in field.choices:
            return node.text
        near = did_you_mean(node.text, field.choices)
        mend = near or f"it is one of {', '.join(field.choices)}"
        self.mistake(node, path, f"`{field.key}` can't be `{node.text[:40]}`", mend)
        return ""

    def _holidays(self, node: ScalarNode, path: str) -> str:
        if knows(node.text):
            return node.text
        message = f"no public holidays of `{node.text[:20]}` are known"
        mend = "write a country's code, such as `PL`, or a part of one, such as `DE-BY`"
        self.mistake(node, path, message, mend)
        return ""

    def _zone(self, node: ScalarNode, path: str) -> str:
        if zone_of(node.text) is not None:
            return node.text
        message = f"there is no time zone `{node.text[:40]}`"
        self.mistake(node, path, message, "use a name such as `Europe/Oslo` or `UTC`")
        return ""

    # ---- numbers and times

    def duration(self, node: Node | None, path: str) -> int:
        """Read a duration in ms; 0 where it is missing or wrong."""
        if node is None:
            return 0
        if isinstance(node, ScalarNode) and (duration := parse_duration(node.text)) is not None:
            return duration
        shown = f"`{node.text[:40]}` isn't a duration" if isinstance(node, ScalarNode) else ""
        self.mistake(node, path, shown or "a duration is one value", _suggest_duration(node))
        return 0

    def integer(self, form: Form, items: dict[str, Node], key: str, path: str, default: int) -> int:
        """Read an integer within the field's bounds."""
        node, field = items.get(key), form.field(key)
        if node is None:
            return default
        value = node.value if isinstance(node, ScalarNode) else None
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if number is not None and field.least <= number <= field.most:
            return number
        message = f"`{key}` must be an integer from {field.least} to {field.most}"
        self.mistake(node, join(path, key), message, "write digits without quotes")
        return default

    def percent(self, items: dict[str, Node], key: str, path: str, default: float = 0.0) -> float:
        """Read a share in percent, above 0 and at most 100."""
        node = items.get(key)
        if node is None:
            return default
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
            return float(value)
        message = f"`{key}` is a number of percent, above 0 and at most 100"
        self.mistake(node, join(path, key), message, "write `5`, for instance")
        return default

    def minute(self, items: dict[str, Node], key: str, path: str) -> int:
        """Read a time of day as minutes after midnight; -1 where it is missing or wrong."""
        node = items.get(key)
        if node is None:
            return -1
        minute = parse_minute(node.text) if isinstance(node, ScalarNode) else None
        if minute is None or (minute == 1440 and key != "to"):
            message = f"`{key}` must be a time of day"
            self.mistake(
                node, join(path, key), message, 'write hours and minutes, such as `"09:00"`'
            )
            return -1
        return minute

    def days(self, node: Node | None, path: str) -> tuple[int, ...]:
        """Read days of the week, `[mon, tue]` or `mon-fri`."""
        if node is None:
            return ()
        parts = node.items if isinstance(node, SequenceNode) else [node]
        found: set[int] = set()
        for part in parts:
            first, _, last = (part.text if isinstance(part, ScalarNode) else "").partition("-")
            if first not in DAYS or (last and last not in DAYS):
                mend = did_you_mean(first, DAYS) or f"they are {', '.join(DAYS)}, or `mon-fri`"
                self.mistake(part, path, "this is no day of the week", mend)
                continue
            begin, end = DAYS.index(first), DAYS.index(last or first)
            found |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
        return tuple(sorted(found))

    # ---- expressions

    def condition(self, node: Node | None, path: str, standing: Standing, event: str = "") -> str:
        """Take a condition, to be checked when all is read."""
        return self.expression(node, path, standing, "bool", event)

    def expression(
        self, node: Node | None, path: str, standing: Standing, wanted: str, event: str = ""
    ) -> str:
        """Take an expression that must give a `wanted` kind, to be checked when all is read."""
        if node is None:
            return ""
        if not isinstance(node, ScalarNode):
            mend = "put it in quotes if it begins with [ or {"
            self.mistake(node, path, "an expression is one text", mend)
            return ""
        self.expressions.append(Written(node.text, node, path, standing, wanted, event=event))
        return node.text


_PATTERNS: Final = {"name": _NAME, "template": _TEMPLATE, "event": _EVENT}
_ARTICLE: Final = {
    "name": "a name",
    "template": "a template's name",
    "event": "an event's name",
}
_EXPECTED: Final = {
    "name": "up to 64 lower-case letters, digits, - and _",
    "template": "letters, digits, ., /, - and _",
    "event": "up to 200 characters on one line",
}
_WORDS: Final = {
    "week": "w",
    "day": "d",
    "hour": "h",
    "hr": "h",
    "minute": "m",
    "min": "m",
    "second": "s",
    "sec": "s",
} | {unit: unit for unit in "wdhms"}


def _suggest_duration(node: Node) -> str:
    plain = "write a number and w, d, h, m or s, such as `7d` or `1h30m`, at most ten years"
    if not isinstance(node, ScalarNode):
        return plain
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*([a-zA-Z]*)\.?\s*", node.text)
    if found is None or int(found[1]) == 0:
        return plain
    word = found[2].lower()
    unit = _WORDS.get(word) or _WORDS.get(word.removesuffix("s")) or ("" if word else "d")
    proposal = f"{found[1]}{unit}"
    return f"did you mean `{proposal}`?" if unit and parse_duration(proposal) else plain
