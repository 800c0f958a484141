r"""The skeleton of a body: what never changes is encoded once, what changes goes through holes.

`BodySource` collects the parts of a body in order: structure (MIME lines, bytes), and the tokens of
templates. Stretches of static text that are long enough are encoded at once and leave a marker in
the source that minijinja gets to see:

    \x1e LF number \x1e LF

Rendering thus yields the dynamic text with markers between, of a few hundred octets where the body
has tens of thousands; loops and conditions repeat and drop markers as they would have the text. One
call of the encoder turns it into lines, in which a marker shows as `=1E CRLF number =1E CRLF`,
behind a line that has room for a soft break where `=1E` stood. `fill` splits there and puts the
encoded stretches in, each of which begins on a line of its own and ends in a line break. Where
`=1E` came to stand at the start of a line (the hole before it was empty, or ended in a line break),
no soft break is needed; that number gets a `b` before it.

Static text within `{% set %}`, `{% filter %}`, `{% macro %}`, `{% call %}` and recursive loops
isn't taken out, since there the template may look at what it rendered.
"""

from __future__ import annotations

__all__ = ("BodySource", "Filler", "inline")

import re
from collections.abc import Iterable
from hashlib import sha256

from deliverability.compose.lexer import Data, Tag, Token, to_source
from deliverability.compose.quoted_printable import MARK, encode_static, encode_with_marks

_INLINE_SET = re.compile(r"\{%\s*set\s+[\w.,\s()]+=")
_RECURSIVE = re.compile(r"\brecursive\s*%\}$")
_CAPTURES = frozenset(("filter", "macro", "call"))
_OPENERS = frozenset(("for", "if", "with", "autoescape", "block", *_CAPTURES))

_MIN_STATIC = 24  # characters; below, encoding it each time costs less than a marker


class BodySource:
    """Collects a body and makes the source to be rendered, and the table of encoded stretches.

    `first` is the structure that it begins with, which may be nothing.
    """

    def __init__(self, first: bytes) -> None:
        self._source: list[str] = []
        self._statics: list[bytes] = []
        self._pending: bytes | None = first
        self._depth = 0
        self._open: list[bool] = []

    def structure(self, lines: bytes) -> None:
        """Add bytes that stand in the body as they are, beginning on a new line (a CRLF of theirs comes first)."""
        self._pending = (self._pending or b"") + lines

    def template(self, tokens: list[Token]) -> None:
        """Add the tokens of a template; what follows it is structure, or nothing."""
        for n, token in enumerate(tokens):
            match token:
                case Data(text=text):
                    self._data(text, last=n == len(tokens) - 1)
                case Tag(source=source):
                    self._flush()
                    self._source.append(source)
                    self._nest(token)

    def plain(self, source: str) -> None:
        """Add a piece of source that renders nothing of its own."""
        self._flush()
        self._source.append(source)

    def finish(self) -> tuple[str, Filler]:
        """Give the source, and what fills the rendered text."""
        self._flush()
        return "".join(self._source), Filler(self._statics)

    def _data(self, text: str, *, last: bool) -> None:
        if self._depth or (len(text) < _MIN_STATIC and self._pending is None):
            self._flush()
            self._source.append(to_source(text))
        else:
            self._pending = (self._pending or b"") + encode_static(text, soft=not last)

    def _nest(self, tag: Tag) -> None:
        """Keep count of the blocks whose output the template may look at."""
        if tag.keyword.startswith("end"):
            self._depth -= self._open.pop()
        elif tag.keyword in _OPENERS or (
            tag.keyword == "set" and not _INLINE_SET.match(tag.source)
        ):
            captures = (
                tag.keyword in _CAPTURES
                or tag.keyword == "set"
                or bool(_RECURSIVE.search(tag.source))
            )
            self._open.append(captures)
            self._depth += captures

    def _flush(self) -> None:
        if self._pending is not None:
            self._source.append(f"{MARK}\n{len(self._statics)}{MARK}\n")
            self._statics.append(self._pending)
            self._pending = None


class Filler:
    """Encodes rendered text and puts the static stretches in."""

    __slots__ = ("_head_bytes", "_head_hash", "_table")

    def __init__(self, statics: list[bytes]) -> None:
        self._head_bytes = len(statics[0])
        self._head_hash = sha256(statics[0])
        self._table: dict[bytes, bytes] = {}
        for n, static in enumerate(statics):
            soft = b"=\r\n" if n else b""  # the first stands at the beginning of the body
            self._table[b"%d" % n] = soft + static
            self._table[b"b%d" % n] = static

    def fill(self, rendered: str) -> bytes:
        """Make the body. Hot path: five passes over the dynamic text in C, one join of the whole.

        Raises:
            KeyError: the template wrote a marker of its own (a control character in a literal).
        """
        lines = encode_with_marks(rendered).replace(b"\n=1E\n", b"\n=1E\nb").replace(b"\n", b"\r\n")
        parts = lines.split(b"=1E\r\n")
        parts[1::2] = map(self._table.__getitem__, parts[1::2])
        return b"".join(parts)

    def digest(self, body: bytes) -> bytes:
        """Give the SHA-256 of a body that was filled here, from the state kept behind its constant head."""
        hashed = self._head_hash.copy()
        hashed.update(memoryview(body)[self._head_bytes :])
        return hashed.digest()


def inline(tokens: Iterable[Token]) -> str:
    """Give the source of a template whose static text stays where it is (headers)."""
    return "".join(
        to_source(token.text) if isinstance(token, Data) else token.source for token in tokens
    )
