"""One layout for scenario files: keys in the order of the language, two spaces, comments kept.

The result means what the file meant: it is read again, and where its version differs or a comment is
lost, the file is left as it is. Short flow collections (`{id: a, wait: 1d}`) stay on their line.
"""

from __future__ import annotations

__all__ = ("format_scenario",)

import json
import re
from collections.abc import Iterator
from typing import Final

import msgspec
import yaml

from engine.errors import InputError, Place
from scenarios.checking import load
from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode, parse_document
from scenarios.language import DOCUMENT, FORMS, STEP_KINDS

_WIDTH: Final = 100
_INDENT: Final = "  "
_FIRST: Final = ("event", "when", "becomes", "for")
_ORDER: Final = {
    key: at
    for at, key in enumerate(
        dict.fromkeys(
            (
                "endpoint",  # before the name of its answer
                *(field.key for form in (DOCUMENT, *STEP_KINDS.values()) for field in form.fields),
                *_FIRST,
                *(field.key for form in FORMS for field in form.fields),
            )
        )
    )
}
_LAST: Final = ("then", "steps", "timeout", "else")  # what holds steps comes after what is short
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./=(][^\n#]*")
_PLAIN_IN_FLOW: Final = re.compile(r"[A-Za-z0-9_./=(][^\n#{}\[\],]*")


class _Comment(msgspec.Struct):
    line: int
    text: str
    alone: bool


def format_scenario(text: str, file: str = "") -> str:
    """Lay a scenario file out.

    Raises:
        InputError: the file has mistakes, or its comments stand where they can't be kept.
    """
    before = load(text, file)
    root, _ = parse_document(text, file)
    assert root is not None
    comments = sorted(comment.text for comment in _comments(text))
    made = _Writer(root, _comments(text)).document(root)
    kept = sorted(comment.text for comment in _comments(made))
    if load(made, file).version != before.version or kept != comments:
        message = "the file can't be laid out without losing something"
        raise InputError(message, Place(file), "move comments out of flow collections")
    return made


def _comments(text: str) -> Iterator[_Comment]:
    """Give the comments, which are what `#` begins outside of scalars."""
    inside: dict[int, list[tuple[int, int]]] = {}
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            start, end = token.start_mark, token.end_mark
            for row in range(start.line, end.line + 1):
                first = start.column if row == start.line else 0
                last = end.column if row == end.line else 1 << 30
                inside.setdefault(row, []).append((first, last))
    for number, line in enumerate(text.split("\n")):
        for found in re.finditer(r"(?:^|(?<=\s))#", line):
            at = found.start()
            if not any(first <= at < last for first, last in inside.get(number, ())):
                yield _Comment(number + 1, line[at:].rstrip(), not line[:at].strip())
                break


class _Writer:
    """Writes the tree; a comment that stands alone belongs to the key or item that follows it."""

    def __init__(self, root: Node, comments: Iterator[_Comment]) -> None:
        self._lines: list[str] = []
        self._comments: list[_Comment] = []
        self._above: dict[int, list[str]] = {}
        starts = sorted(set(_starts(root)))
        for comment in comments:
            if not comment.alone:
                self._comments.append(comment)
                continue
            following = next((line for line in starts if line > comment.line), 0)
            place = -1 if following == starts[0] else following  # the head of the file stays there
            self._above.setdefault(place, []).append(comment.text)

    def document(self, root: Node) -> str:
        self._before(-1, "")
        self._block(root, "", "")
        self._before(0, "")
        return "\n".join(self._lines) + "\n"

    # ---- comments

    def _before(self, line: int, indent: str) -> None:
        """Write the comments that belong to what begins on a line."""
        self._lines += [indent + text for text in self._above.pop(line, [])]

    def _beside(self, first: int, last: int) -> str:
        """Take the comments at the end of lines, to be written beside what stands there."""
        found = [c for c in self._comments if not c.alone and first <= c.line <= last]
        for comment in found:
            self._comments.remove(comment)
        return "".join(f" {comment.text}" for comment in found)

    # ---- blocks

    def _block(self, node: Node, indent: str, lead: str) -> None:
        """Write a collection as a block; `lead` stands before its first key (`- `)."""
        match node:
            case MappingNode(items=items, keys=keys):
                for key in sorted(items, key=_rank):
                    self._before(keys[key].line, indent)
                    self._pair(keys[key], items[key], indent, lead)
                    lead = _INDENT if lead else ""
            case SequenceNode(items=parts):
                for part in parts:
                    self._before(part.line, indent)
                    if isinstance(part, ScalarNode) or self._fits(part, len(indent) + 2):
                        beside = self._beside(part.line, _last_line(part))
                        self._lines.append(f"{indent}- {_flow(part)}{beside}")
                    else:
                        self._block(part, indent, "- ")
            case ScalarNode():
                self._lines.append(indent + _flow(node))

    def _pair(self, key: ScalarNode, value: Node, indent: str, lead: str) -> None:
        head = f"{indent}{lead}{_flow(key)}:"
        if isinstance(value, ScalarNode) and value.style in {"|", ">"}:
            self._lines.append(f"{head} |{'' if value.text.endswith(chr(10)) else '-'}")
            inner = indent + (_INDENT if lead else "") + _INDENT
            self._lines += [(inner + line).rstrip() for line in value.text.rstrip("\n").split("\n")]
        elif isinstance(value, ScalarNode) or self._fits(value, len(head) + 1):
            beside = self._beside(key.line, _last_line(value))
            empty = isinstance(value, ScalarNode) and value.value is None
            self._lines.append((head if empty else f"{head} {_flow(value)}") + beside)
        else:
            self._lines.append(head + self._beside(key.line, key.line))
            deeper = indent + (_INDENT if lead else "") + _INDENT
            self._block(value, deeper, "")

    def _fits(self, node: Node, column: int) -> bool:
        """Tell whether a collection stays on its line: it was in flow style, is short, has no comment."""
        if not (isinstance(node, (MappingNode, SequenceNode)) and node.flow):
            return False
        last = _last_line(node)
        held = any(comment.line in range(node.line, last) for comment in self._comments)
        return not held and column + len(_flow(node)) <= _WIDTH


def _starts(node: Node) -> Iterator[int]:
    """Give the lines on which keys and items begin."""
    match node:
        case MappingNode(items=items, keys=keys):
            for key, value in items.items():
                yield keys[key].line
                yield from _starts(value)
        case SequenceNode(items=parts):
            for part in parts:
                yield part.line
                yield from _starts(part)
        case ScalarNode():
            pass


def _rank(key: str) -> tuple[int, int]:
    return (_LAST.index(key) + 1 if key in _LAST else 0, _ORDER.get(key, len(_ORDER)))


def _last_line(node: Node) -> int:
    match node:
        case ScalarNode(line=line):
            return line
        case MappingNode(items=items, line=line):
            return max([line, *(_last_line(part) for part in items.values())])
        case SequenceNode(items=parts, line=line):
            return max([line, *(_last_line(part) for part in parts)])


def _flow(node: Node, pattern: re.Pattern[str] = _PLAIN) -> str:
    match node:
        case ScalarNode():
            return _scalar(node, pattern)
        case MappingNode(items=items, keys=keys):
            flow = _PLAIN_IN_FLOW
            ordered = sorted(items, key=_rank)
            pairs = (f"{_scalar(keys[key], flow)}: {_flow(items[key], flow)}" for key in ordered)
            return "{" + ", ".join(pairs) + "}"
        case SequenceNode(items=parts):
            return "[" + ", ".join(_flow(part, _PLAIN_IN_FLOW) for part in parts) + "]"


def _scalar(node: ScalarNode, pattern: re.Pattern[str]) -> str:
    """Write a scalar as it was where that is safe everywhere, else in quotes."""
    plain = not node.style and pattern.fullmatch(node.text) and not node.text.endswith((":", " "))
    if plain and ": " not in node.text:
        return node.text
    if not node.style and node.value is not node.text and not isinstance(node.value, str):
        return node.text or "null"
    if "'" not in node.text and "\n" not in node.text and node.text.isprintable():
        return f"'{node.text}'" if '"' in node.text or "\\" in node.text else f'"{node.text}"'
    return json.dumps(node.text, ensure_ascii=False)
