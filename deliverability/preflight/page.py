"""The HTML of a message as its reader sees it: links with their text, images, what is hidden. Linear."""

from __future__ import annotations

__all__ = ("Image", "Link", "Page", "read_page")

import html
import re

import msgspec

from deliverability.compose.html_scan import Piece, scan

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
_DEPTH_MAX = 200
_LINKS_MAX = 2_000
_TEXT_MAX = 300
_hides = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$|!)",
    re.IGNORECASE,
)
_font_size = re.compile(r"font-size\s*:\s*([0-9.]*)\s*(%|[a-z-]*)", re.IGNORECASE)


class Link(msgspec.Struct, frozen=True):
    """A link; `text` is what is read, with the alternative texts of its images. `hidden`: nobody sees it."""

    href: str
    text: str
    hidden: bool


class Image(msgspec.Struct, frozen=True):
    """An image; `pixel`: at most one dot in size. `alt` None where there is no such attribute."""

    source: str
    alt: str | None
    pixel: bool


class Page(msgspec.Struct, frozen=True):
    """What an HTML part holds. `text_length` counts visible characters other than white space; `active` names tags."""

    links: tuple[Link, ...]
    images: tuple[Image, ...]
    text_length: int
    active: tuple[str, ...]


class _Reader:
    """Goes through the pieces of a document."""

    def __init__(self, document: str) -> None:
        self._document = document
        self._open: list[
            tuple[str, bool, bool]
        ] = []  # name; does it hide; was the letter size 0 before
        self._hidden = 0
        self._tiny = (
            False  # letters of size 0, until an element within sets another: MJML's columns do so
        )
        self._link: tuple[str, bool] | None = None
        self._link_text: list[str] = []
        self.links: list[Link] = []
        self.images: list[Image] = []
        self.text_length = 0
        self.active: dict[str, None] = {}

    def take(self, piece: Piece) -> None:
        """Take one piece."""
        match piece.kind:
            case "text":
                self._text(html.unescape(self._document[piece.start : piece.end]))
            case "open":
                self._start(piece)
            case "close":
                self._end(piece.name)

    def end(self) -> None:
        """Close a link that nobody closed."""
        if self._link is not None:
            text = " ".join("".join(self._link_text).split())[:_TEXT_MAX]
            if len(self.links) < _LINKS_MAX:
                self.links.append(Link(self._link[0], text, self._link[1]))
            self._link, self._link_text = None, []

    def _text(self, text: str) -> None:
        if self._link is not None:
            self._link_text.append(text)
        if not self._hidden and not self._tiny:
            self.text_length += sum(not char.isspace() for char in text)

    def _start(self, piece: Piece) -> None:
        values = {one.name: html.unescape(one.value) for one in piece.attributes}
        style = values.get("style", "")
        hides = bool(_hides.search(style)) or "hidden" in values
        tiny = _tiny(style, self._tiny)
        if piece.name in ("script", "form", "iframe", "object", "embed", "applet"):
            self.active.setdefault(piece.name)
        if piece.name in ("a", "area"):
            self.end()
            if values.get("href", "").strip():
                self._link = (values["href"].strip(), hides or tiny or self._hidden > 0)
        if piece.name == "img":
            self._image(values)
        if piece.name not in _VOID and len(self._open) < _DEPTH_MAX:
            self._open.append((piece.name, hides, self._tiny))
            self._hidden += hides
            self._tiny = tiny

    def _end(self, name: str) -> None:
        if name == "a":
            self.end()
        if not any(held == name for held, _, _ in self._open):
            return
        while True:
            held, hides, self._tiny = self._open.pop()
            self._hidden -= hides
            if held == name:
                return

    def _image(self, values: dict[str, str]) -> None:
        size = {values.get("width", "").strip(), values.get("height", "").strip()}
        pixel = bool(size & {"0", "1"})
        self.images.append(Image(values.get("src", ""), values.get("alt"), pixel))
        if self._link is not None:
            self._link_text.append(f" {values.get('alt', '')} ")


def _tiny(style: str, inherited: bool) -> bool:
    """Tell whether letters have the size 0; parts of the size around stay 0 where that is 0."""
    found = _font_size.search(style)
    if found is None or not found[1].strip("."):
        return inherited
    if not float(f"0{found[1]}" if found[1].count(".") < 2 else "1"):
        return True
    return inherited and found[2].lower() in {"em", "%", "ex", "ch"}


def read_page(document: str) -> Page:
    """Read a document; any text gives a page."""
    reader = _Reader(document)
    for piece in scan(document):
        reader.take(piece)
    reader.end()
    return Page(tuple(reader.links), tuple(reader.images), reader.text_length, tuple(reader.active))
