"""The text part, derived from the HTML of a template when none is given.

It is derived once, from the template and not from what it renders, so that it is a template too:
outputs and blocks stay where they stood. Tags of the template language within dropped HTML (a
condition around an attribute) are kept without what they enclosed, so that blocks stay balanced.
Links become `label (address)`, images their alternative text, list items begin with `- `, block
elements with a new line. What a mail reader hides (`display:none`, style, title) goes.
"""

from __future__ import annotations

__all__ = ("derive_text",)

import re
from html import unescape

from deliverability.compose.html_scan import (
    HIDDEN,
    Attribute,
    Piece,
    hidden_index,
    hide,
    scan,
    show,
)
from deliverability.compose.lexer import Tag, Token

_PARAGRAPHS = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr", "dl")
)
_LINES = frozenset(
    ("div", "tr", "li", "section", "article", "header", "footer", "center", "dt", "dd", "address")
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_VOID = frozenset(("br", "img", "hr", "input", "meta", "link", "col", "area", "base", "wbr"))
_WHITE = re.compile(r"[ \t\n\f\xa0\u200b\u200c\u034f\ufeff]+")  # the last four pad preheaders


def derive_text(tokens: list[Token]) -> list[Token]:
    """Make the tokens of a text template from those of an HTML template. Linear in its length."""
    html, tags = hide(tokens)
    writer = _Writer(tags)
    reader = _Reader(html, writer)
    for piece in scan(html):
        reader.take(piece)
    return writer.finish()


class _Reader:
    """Turns pieces of HTML into text and breaks."""

    def __init__(self, html: str, writer: _Writer) -> None:
        self._html = html
        self._out = writer
        self._link: tuple[str, int] | None = (
            None  # address, where the label begins; links don't nest
        )
        self._hidden = ""  # the element that hides its content, while inside
        self._depth = 0

    def take(self, piece: Piece) -> None:
        raw = self._html[piece.start : piece.end]
        if self._hidden or piece.kind == "other":
            self._out.blocks(raw)
            self._leave_hidden(piece)
        elif piece.kind == "text":
            self._out.text(unescape(raw))
        elif piece.kind == "open":
            self._open(piece, raw)
        else:
            self._close(piece, raw)

    def _leave_hidden(self, piece: Piece) -> None:
        if self._hidden and piece.name == self._hidden:
            self._depth += {"open": 1, "close": -1}.get(piece.kind, 0)
            if self._depth == 0:
                self._hidden = ""

    def _open(self, piece: Piece, raw: str) -> None:
        self._break(piece.name)
        values = {a.name: a for a in piece.attributes}
        style = values["style"].value if "style" in values else ""
        if piece.name not in _VOID and _HIDDEN_STYLE.search(style):
            self._hidden, self._depth = piece.name, 1
            self._out.blocks(raw)
            return
        kept = self._write(piece.name, values)
        if kept:
            raw = self._html[piece.start : kept.start] + self._html[kept.end : piece.end]
        self._out.blocks(raw)

    def _write(self, name: str, values: dict[str, Attribute]) -> Attribute | None:
        """Write what an opening tag stands for.

        Return the attribute whose value is thereby taken care of.
        """
        match name:
            case "br":
                self._out.line(1)
            case "hr":
                self._out.text("-----")
                self._out.paragraph()
            case "li":
                self._out.text("- ")
            case "td" | "th":
                self._out.text(" ")
            case "img" if "alt" in values:
                self._out.text(unescape(values["alt"].value))
                return values["alt"]
            case "a":
                href = values.get("href")
                address = unescape(href.value).strip() if href else ""
                self._link = (address, self._out.mark())
                return href
            case _:
                pass
        return None

    def _close(self, piece: Piece, raw: str) -> None:
        if piece.name == "a" and self._link:
            (address, mark), self._link = self._link, None
            label = self._out.since(mark)
            if not address or address.startswith("#") or address in (label, f"mailto:{label}"):
                self._out.blocks(address if address != label else "")
            else:
                self._out.text(f" ({address})" if label else f" {address} ")
        self._out.blocks(raw)
        self._break(piece.name)

    def _break(self, name: str) -> None:
        if name in _PARAGRAPHS:
            self._out.paragraph()
        elif name in _LINES:
            self._out.line(0)


class _Writer:
    """Collects text with white space folded as a browser does it.

    Hidden tags are characters of it.
    """

    def __init__(self, tags: list[Tag]) -> None:
        self._tags = tags
        self._parts: list[str] = []
        self._breaks = 2  # line ends behind the last text; at the start none are wanted
        self._wanted = 0
        self._space = False

    def text(self, text: str) -> None:
        """Write text; white space folds, hidden tags stay."""
        at = 0
        for found in HIDDEN.finditer(text):
            self._words(text[at : found.start()])
            self._tag(found[0])
            at = found.end()
        self._words(text[at:])

    def blocks(self, raw: str) -> None:
        """Write only the block tags of a piece that is dropped."""
        for char in HIDDEN.findall(raw):
            if self._tags[hidden_index(char)].keyword:
                self._tag(char)

    def line(self, more: int) -> None:
        """Want a new line: one end behind text, and `more` beyond those there are.

        At most one empty line.
        """
        self._wanted = min(2, max(self._wanted, 1, (max(self._wanted, self._breaks) + 1) * more))

    def paragraph(self) -> None:
        """Want an empty line."""
        self._wanted = 2

    def mark(self) -> int:
        """Remember how far it is written."""
        return len(self._parts)

    def since(self, mark: int) -> str:
        """Tell what was written since a mark."""
        return "".join(self._parts[mark:]).strip()

    def finish(self) -> list[Token]:
        """Give the tokens."""
        return show("".join(self._parts), self._tags)

    def _words(self, text: str) -> None:
        folded = _WHITE.sub(" ", text)
        self._space = self._space or folded.startswith(" ")
        words = folded.strip(" ")
        if words:
            self._flush()
            self._parts.append(words)
            self._breaks = 0
            self._space = folded.endswith(" ")

    def _tag(self, char: str) -> None:
        """Breaks are written before a block tag, since what is wanted inside a loop isn't wanted after it."""
        self._flush()
        self._parts.append(char)
        if not self._tags[hidden_index(char)].keyword:
            self._breaks = 0

    def _flush(self) -> None:
        if self._wanted > self._breaks:
            self._parts.append("\n" * (self._wanted - self._breaks))
            self._breaks = self._wanted
        elif self._space and self._breaks == 0:
            self._parts.append(" ")
        self._wanted, self._space = 0, False
