"""Links and the open pixel as holes of the skeleton, filled with signed tokens.

At compile time the address of each link in the HTML is replaced: a constant one by an output from a
list that is made per letter, one with holes of its own by a captured block whose rendered text is
turned into a token. Both carry their target in the token, so that following a link needs no
template, and nobody can make our domain redirect elsewhere.

Left alone: what isn't http or https, the unsubscribe link (it must work without us in between),
links whose element has `data-track="no"`, text parts, letters without consent (`Letter.track`) and
streams that aren't listed.
"""

from __future__ import annotations

__all__ = ("SCOPE", "LetterLinks", "TrackedHtml", "track_html")

import re
from html import escape, unescape

import msgspec
from minijinja import safe

from deliverability import tokens
from deliverability.compose.html_scan import (
    HIDDEN,
    Attribute,
    Piece,
    hidden_index,
    hide,
    scan,
    show,
)
from deliverability.compose.lexer import Data, Tag, Token

SCOPE = "_veredus"
"""The name under which templates see a letter's links; a variable of that name is not."""

_WEB = re.compile(r"\s*https?://", re.IGNORECASE)
_NO = ("no", "off", "false", "0")
_NOT_TRACKED = re.compile(r"\{\{ unsubscribe_url\b")
_MAX_TARGET = 4000  # octets; a longer address goes out as it is


class TrackedHtml(msgspec.Struct, frozen=True):
    """The tokens of an HTML template with links as holes, and number and target of the constant ones."""

    tokens: list[Token]
    targets: tuple[tuple[int, str], ...]


class LetterLinks:
    """The links of one letter, as a template sees them: `l[3]`, `link(url, number)`, `pixel`."""

    __slots__ = ("_base", "_stamp", "l", "pixel")

    def __init__(
        self, targets: tuple[tuple[int, str], ...], domain: str, stamp: tokens.Stamp
    ) -> None:
        self._base = f"https://{domain}/"
        self._stamp = stamp
        self.l = [self._click(number, target) for number, target in targets]
        self.pixel = safe(f"{self._base}o/{stamp.token(tokens.OPEN)}")

    def link(self, url: str, number: int) -> str:
        """Turn a rendered address, still escaped for HTML, into a tracked one; not the web.

        As it was.
        """
        target = url.replace("&#x2f;", "/").strip()  # minijinja writes each slash so
        if "&" in target:
            target = unescape(target)
        return self._click(number, target) if _WEB.match(target) else safe(url)

    def _click(self, number: int, target: str) -> str:
        raw = target.encode()
        if len(raw) > _MAX_TARGET:
            return safe(escape(target))
        return safe(f"{self._base}c/{self._stamp.token(tokens.CLICK, number.to_bytes(2) + raw)}")


def track_html(source: list[Token], clicks: bool, opens: bool) -> TrackedHtml:
    """Make holes of the links and add the pixel before the body's end. Linear in the length."""
    html, tags = hide(source)
    edits: list[tuple[int, int, list[Token]]] = []
    targets: list[tuple[int, str]] = []
    number = 0
    body_end = len(html)
    for piece in scan(html):
        if piece.kind == "close" and piece.name == "body":
            body_end = piece.start
        href = _href(piece, tags) if clicks else None
        if href is None:
            continue
        if HIDDEN.search(href.value):
            edits.append((href.start, href.end, _hole(show(href.value, tags), number)))
        else:
            edits.append((href.start, href.end, [Tag(f"{{{{ {SCOPE}.l[{len(targets)}] }}}}")]))
            targets.append((number, unescape(href.value).strip()))
        number += 1
    if opens:
        edits.append((body_end, body_end, _pixel()))
    return TrackedHtml(_apply(html, tags, sorted(edits, key=lambda e: e[0])), tuple(targets))


def _href(piece: Piece, tags: list[Tag]) -> Attribute | None:
    """The address to be tracked, if this piece is a link that may be."""
    if piece.kind != "open" or piece.name not in ("a", "area"):
        return None
    values = {a.name: a for a in piece.attributes}
    href = values.get("href")
    if href is None or ("data-track" in values and values["data-track"].value.lower() in _NO):
        return None
    first = href.value[:1]
    if not first or not HIDDEN.match(first):
        return href if _WEB.match(href.value) else None
    return None if _NOT_TRACKED.match(tags[hidden_index(first)].source) else href


def _hole(value: list[Token], number: int) -> list[Token]:
    name = f"{SCOPE}_url"
    return [
        Tag(f"{{% set {name} %}}", "set"),
        *value,
        Tag("{% endset %}", "endset"),
        Tag(f"{{{{ {SCOPE}.link({name}, {number}) }}}}"),
    ]


def _pixel() -> list[Token]:
    return [
        Data('<img src="'),
        Tag(f"{{{{ {SCOPE}.pixel }}}}"),
        Data('" width="1" height="1" alt="" style="border:0">'),
    ]


def _apply(html: str, tags: list[Tag], edits: list[tuple[int, int, list[Token]]]) -> list[Token]:
    result: list[Token] = []
    at = 0
    for start, end, instead in edits:
        result += show(html[at:start], tags)
        result += instead
        at = end
    return result + show(html[at:], tags)
