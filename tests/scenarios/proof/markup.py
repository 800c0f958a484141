"""Look at a rendered page as a strict reader would: well-formed, with names, and readable in light and dark."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "hr", "link", "input"}
VAGUE = {"here", "click here", "link", "more", "tutaj", "kliknij", "kliknij tutaj", "więcej"}
CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3


class Markup(HTMLParser):
    """One page. `mistakes` has what is wrong, `texts` every text with its colours, light and dark."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.mistakes: list[str] = []
        self.language = ""
        self.headings: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.title = ""
        self.texts: list[tuple[str, float, float]] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._classes: list[list[str]] = []
        self._dark = _dark_rules(html)
        self.feed(html)
        self.close()
        if self._open:
            self.mistakes.append(f"left open: {[tag for tag, _ in self._open]}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if len(named) != len(attrs):
            self.mistakes.append(f"<{tag}> has an attribute twice")
        if tag == "html":
            self.language = named.get("lang", "")
        if tag == "img" and "alt" not in named:
            self.mistakes.append("an image has no alt")
        if tag == "table" and named.get("role") != "presentation":
            self.mistakes.append("a table for layout says so to nobody")
        if tag == "h1":
            self.headings.append("")
        if tag == "a":
            self.links.append((named.get("href", ""), ""))
        if tag not in VOID:
            self._classes.append(named.get("class", "").split())
            self._open.append((tag, self._style(tag, named)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.mistakes.append(f"</{tag}> closes nothing")
            return
        self._open.pop()
        self._classes.pop()

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        text = " ".join(data.split())
        if not text or "style" in tags:
            return
        if "title" in tags:
            self.title += text
            return
        if "h1" in tags:
            self.headings[-1] += text
        if "a" in tags:
            href, before = self.links[-1]
            self.links[-1] = (href, before + text)
        style = self._open[-1][1]
        if style.get("display") != "none":
            light = contrast(style["color"], style["background"])
            dark = contrast(style["dark color"], style["dark background"])
            self.texts.append((text, light, dark))

    def _style(self, tag: str, named: dict[str, str]) -> dict[str, str]:
        """What an element looks like: inherited, inline, and by its classes in the dark."""
        light = {"color": "#000000", "background": "#ffffff"}
        style = dict(self._open[-1][1]) if self._open else light | _in_the_dark(light)
        own = _declarations(named.get("style", ""))
        for name in ("color", "background", "display"):
            if name in own:
                style[name] = own[name]
                style[f"dark {name}"] = own[name]
        around = {one for classes in self._classes[:-1] for one in classes}
        for (one, inner), rule in self._dark.items():
            if one in (self._classes[-1] if not inner else around) and inner in {"", tag}:
                style |= _in_the_dark(rule)
        return style


def _in_the_dark(style: dict[str, str]) -> dict[str, str]:
    return {f"dark {name}": value for name, value in style.items()}


def _declarations(text: str) -> dict[str, str]:
    pairs = (one.partition(":") for one in text.split(";") if ":" in one)
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


def _dark_rules(html: str) -> dict[tuple[str, str], dict[str, str]]:
    """Rules in the dark: of a class, or of a tag inside it, in their order."""
    found = re.search(r"prefers-color-scheme: dark\) \{\n(.*?)\n\}", html, re.DOTALL)
    rules = re.findall(r"\.([a-z]+) ?([a-z]*) \{(.*?)\}", found[1]) if found else []
    return {(name, tag): _declarations(text) for name, tag, text in rules}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours. WCAG 2.2, relative luminance."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    assert re.fullmatch(r"#[0-9a-f]{6}", colour), f"{colour!r} isn't six digits"
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
