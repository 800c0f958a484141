"""YAML with places: a tree of nodes that know their line and column.

A subset, so that a file means what it seems to mean and hostile text is bounded: scalars by the core schema of YAML 1.2
(`no` and `12:30` are texts), no anchors, aliases, tags, or second documents, no key twice, `TEXT_MAX` characters,
`DEPTH_MAX` levels.
"""

from __future__ import annotations

__all__ = ("MappingNode", "Node", "ScalarNode", "SequenceNode", "parse_document")

import re
from typing import Final

import msgspec
import yaml

from scenarios.mistakes import Mistake

TEXT_MAX: Final = 200_000
DEPTH_MAX: Final = 40
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER: Final = re.compile(
    r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?"
)
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}

Scalar = str | int | float | bool | None


class ScalarNode(msgspec.Struct):
    """A scalar; `style` is its quote or block sign, empty when plain."""

    value: Scalar
    text: str
    style: str
    line: int
    column: int


class SequenceNode(msgspec.Struct):
    """A list; `flow` if it stands in brackets."""

    items: list[Node]
    line: int
    column: int
    flow: bool = False


class MappingNode(msgspec.Struct):
    """A mapping, with the places of its keys."""

    items: dict[str, Node]
    keys: dict[str, ScalarNode]
    line: int
    column: int
    flow: bool = False


Node = ScalarNode | SequenceNode | MappingNode


def parse_document(text: str, file: str) -> tuple[Node | None, list[Mistake]]:
    """Parse one document. With a syntax error there is no tree, and exactly that mistake."""
    if len(text) > TEXT_MAX:
        message = f"the file has {len(text)} characters, at most {TEXT_MAX} are read"
        return None, [Mistake(file, 1, 1, "", message, "split it into several scenarios")]
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_mistake(error, file)]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character {error.character!r} isn't allowed"
        return None, [
            Mistake(file, line, 1, "", message, "remove it, or write it as an escape in quotes")
        ]
    except _StopReading:
        return None, builder.mistakes
    if builder.root is None and not builder.mistakes:
        builder.mistakes.append(
            Mistake(file, 1, 1, "", "the file is empty", "begin with `scenario: name`")
        )
    return builder.root, builder.mistakes


def _syntax_mistake(error: yaml.MarkedYAMLError, file: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = f"not YAML: {error.problem or error.context}"
    mend = ""
    if error.problem and "mapping values are not allowed" in error.problem:
        mend = "put the text in quotes if it contains `: `, or check the indentation"
    elif error.problem and "\\t" in error.problem:
        mend = "indent with spaces"
    return Mistake(file, line, column, "", message, mend)


class _StopReading(Exception):  # noqa: N818 -- control flow: the tree can't be continued
    """Reading can't go on; the mistake is noted."""


class _Builder:
    """Builds the tree from the parser's events, without recursion."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.root: Node | None = None
        self.mistakes: list[Mistake] = []
        self._open: list[SequenceNode | MappingNode] = []
        self._keys: list[ScalarNode | None] = []
        self._documents = 0

    def _stop(self, event: yaml.Event, message: str, mend: str) -> _StopReading:
        line, column = _start(event)
        self.mistakes.append(Mistake(self._file, line, column, "", message, mend))
        return _StopReading()

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the parser."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._stop(event, "a second document begins", "write one scenario a file")
        elif isinstance(event, yaml.AliasEvent):
            raise self._stop(event, "aliases aren't supported", "repeat the text instead")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()
            self._keys.pop()

    def _node(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            raise self._stop(event, "anchors aren't supported", "repeat the text instead")
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._stop(event, "tags aren't supported", f"remove `{tag}`")
        line, column = _start(event)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            style = event.style or ""
            value = event.value if style else _resolve(event.value)
            node = ScalarNode(value, event.value, style, line, column)
        elif isinstance(event, yaml.MappingStartEvent):
            node = MappingNode({}, {}, line, column, bool(event.flow_style))
        else:
            node = SequenceNode([], line, column, bool(getattr(event, "flow_style", False)))
        self._attach(node, event)
        if not isinstance(node, ScalarNode):
            self._open.append(node)
            self._keys.append(None)
            if len(self._open) > DEPTH_MAX:
                raise self._stop(event, f"nested deeper than {DEPTH_MAX} levels", "flatten it")

    def _attach(self, node: Node, event: yaml.Event) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            if not isinstance(node, ScalarNode):
                raise self._stop(event, "a key must be a word", "write `key: value`")
            self._keys[-1] = node
            return
        self._keys[-1] = None
        if key.text in parent.items:
            first = parent.keys[key.text]
            message = f"the key `{key.text}` appears twice, first on line {first.line}"
            mistake = Mistake(self._file, key.line, key.column, key.text, message, "keep one")
            self.mistakes.append(mistake)
            return
        parent.items[key.text] = node
        parent.keys[key.text] = key


def _start(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _resolve(text: str) -> Scalar:
    """Resolve a plain scalar by the core schema. YAML 1.2 §10.3."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
