"""A small scanner for the HTML of templates: text, tags with attributes, comments.

Linear whatever it is given.

It is for two jobs only, finding links and deriving a text part, and so builds no tree. The tags of
the template language are hidden before (`hide`) as single characters of a private use area, so that
they may stand anywhere, within attributes too, and come through unharmed. What is never closed runs
to the end of the document (as in the HTML standard, §13.2.5), which is also what keeps a scan
linear.
"""

from __future__ import annotations

__all__ = ("HIDDEN", "Attribute", "Piece", "hidden_index", "hide", "scan", "show")

import re
from collections.abc import Iterator

import msgspec

from deliverability.compose.lexer import Data, Tag, Token

_FIRST = 0xF0000  # plane 15 is for private use; a template's own characters of it are dropped
_LAST = 0xFFFFD
HIDDEN = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")

_NAME = re.compile(r"</?([a-zA-Z][^\s/>]*)")
_SPACE = re.compile(r"[\s/]*")
_ATTRIBUTE = re.compile(r"([^\s=>/][^\s=>/]*)\s*(=?)\s*")
_BARE = re.compile(r"[^\s>]*")
_RAW_TEXT = {"script", "style", "title", "textarea", "xmp", "noembed", "noframes"}


class Attribute(msgspec.Struct, frozen=True):
    """An attribute; `start` to `end` is where its raw value stands, without quotes."""

    name: str
    value: str
    start: int
    end: int
    name_start: int = 0


class Piece(msgspec.Struct, frozen=True):
    """A piece of the document.

    `kind` is `text`, `open`, `close` or `other` (comment, declaration, raw text).
    """

    kind: str
    start: int
    end: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()


def hide(tokens: list[Token]) -> tuple[str, list[Tag]]:
    """Join tokens to one text in which each tag is one character, numbered by `hidden_index`."""
    tags: list[Tag] = []
    parts: list[str] = []
    for token in tokens:
        match token:
            case Data(text=text):
                parts.append(HIDDEN.sub("", text))
            case Tag():
                parts.append(chr(_FIRST + len(tags)))
                tags.append(token)
    assert len(tags) <= _LAST - _FIRST, "bounded by the size of a template"
    return "".join(parts), tags


def hidden_index(char: str) -> int:
    """Tell which tag a hidden character stands for."""
    return ord(char) - _FIRST


def show(text: str, tags: list[Tag]) -> list[Token]:
    """Undo `hide` for a stretch of its text."""
    result: list[Token] = []
    at = 0
    for found in HIDDEN.finditer(text):
        if found.start() > at:
            result.append(Data(text[at : found.start()]))
        result.append(tags[hidden_index(found[0])])
        at = found.end()
    if at < len(text):
        result.append(Data(text[at:]))
    return result


def scan(html: str) -> Iterator[Piece]:
    """Go through a document from its beginning to its end, leaving out nothing."""
    at = 0
    while at < len(html):
        start = html.find("<", at)
        if start < 0:
            yield Piece("text", at, len(html))
            return
        piece = _markup(html, start)
        if piece is None:  # a lone `<` is text
            yield Piece("text", at, start + 1)
            at = start + 1
            continue
        if start > at:
            yield Piece("text", at, start)
        yield piece
        at = piece.end
        if piece.kind == "open" and piece.name in _RAW_TEXT:
            end = _raw_end(html, at, piece.name)
            if end > at:
                yield Piece("other", at, end, piece.name)
            at = end


def _markup(html: str, start: int) -> Piece | None:
    if html.startswith("<!--", start):
        return Piece("other", start, _past(html, "-->", start + 4))
    if html.startswith(("<!", "<?"), start):
        return Piece("other", start, _past(html, ">", start + 2))
    found = _NAME.match(html, start)
    if not found:
        return None
    attributes, end = _attributes(html, found.end())
    kind = "close" if html[start + 1] == "/" else "open"
    return Piece(kind, start, end, found[1].lower(), attributes)


def _attributes(html: str, at: int) -> tuple[tuple[Attribute, ...], int]:
    """Read attributes up to `>`; what isn't closed takes the rest of the document."""
    attributes: list[Attribute] = []
    while True:
        space = _SPACE.match(html, at)
        at = space.end() if space else at
        if at >= len(html):
            return tuple(attributes), at
        if html[at] == ">":
            return tuple(attributes), at + 1
        found = _ATTRIBUTE.match(html, at)
        if not found:  # a stray `=`
            at += 1
            continue
        start, end, after = _value(html, found.end()) if found[2] else (found.end(),) * 3
        attributes.append(Attribute(found[1].lower(), html[start:end], start, end, at))
        at = after


def _value(html: str, at: int) -> tuple[int, int, int]:
    """Where a value begins, ends, and where to go on."""
    quote = html[at : at + 1]
    if quote in ('"', "'") and quote:
        end = html.find(quote, at + 1)
        end = len(html) if end < 0 else end
        return at + 1, end, min(end + 1, len(html))
    found = _BARE.match(html, at)
    end = found.end() if found else at
    return at, end, end


def _raw_end(html: str, at: int, name: str) -> int:
    found = re.compile(f"</{name}", re.IGNORECASE).search(html, at)
    return found.start() if found else len(html)


def _past(html: str, end: str, at: int) -> int:
    found = html.find(end, at)
    return len(html) if found < 0 else found + len(end)
