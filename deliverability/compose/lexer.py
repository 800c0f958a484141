"""A minijinja template as a list of static stretches and tags, with white space control already applied.

The skeleton takes static stretches out of a template and puts markers in their place. That is only
sound if nobody looks at the stretch again afterwards, so this module does beforehand what minijinja
would do to its text: `{%-` and `-%}` strip, `{# #}` goes, `{% raw %}` becomes text. The tags that
remain carry no sign of strip any more.

The source has passed minijinja's own parser before it comes here (`source.check_sources`), so an
unclosed tag is an assertion. One pass, linear in the length of the source.
"""

from __future__ import annotations

__all__ = ("Data", "Tag", "Token", "lex", "normal_source", "to_source")

import re

import msgspec

_OPEN = re.compile(r"\{[{%#]")
_INSIDE = re.compile(r"""(?:"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[(\[{]|[)\]}%+-])""", re.DOTALL)
_END_RAW = re.compile(r"\{%([-+]?)\s*endraw\s*([-+]?)%\}")
_KEYWORD = re.compile(r"\{%\s*(\w+)")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BRACE = re.compile(r"\{(?=[{%#]|\Z)")


class Data(msgspec.Struct, frozen=True):
    """A stretch of static text, as it will stand in the output."""

    text: str


class Tag(msgspec.Struct, frozen=True):
    """A tag with its braces; `keyword` is the block's name, or "" for an output `{{ … }}`."""

    source: str
    keyword: str = ""


Token = Data | Tag


def normal_source(source: str) -> str:
    """Bring a source to the form that all of this package works on.

    LF, no control characters, no final newline.

    Control characters go because the skeleton uses them as marks; one newline at the end goes
    because minijinja (as Jinja) drops it by default.
    """
    text = _CONTROLS.sub("", source.replace("\r\n", "\n").replace("\r", "\n"))
    return text.removesuffix("\n")


def lex(source: str) -> list[Token]:
    """Split a source, already `normal_source`, into static stretches and tags.

    Neighbouring stretches are joined.
    """
    tokens: list[Token] = []
    data: list[str] = []
    at, strip = 0, False
    while found := _OPEN.search(source, at):
        text = source[at : found.start()]
        text = text.lstrip() if strip else text
        kind = source[found.start() + 1]
        end = (
            source.index("#}", found.end()) + 2 if kind == "#" else _end(source, found.end(), kind)
        )
        tag = source[found.start() : end]
        _add(data, text.rstrip() if tag[2] == "-" else text)
        at, strip = end, tag[-3] == "-"
        if kind == "#":
            continue
        plain = _without_signs(tag)
        keyword = _keyword(plain) if kind == "%" else ""
        if keyword == "raw":
            at, strip = _raw(source, at, strip, data)
            continue
        _flush(data, tokens)
        tokens.append(Tag(plain, keyword))
    rest = source[at:]
    _add(data, rest.lstrip() if strip else rest)
    _flush(data, tokens)
    return tokens


def to_source(text: str) -> str:
    """Write static text so that minijinja gives it back as it is, also beside a tag that follows."""
    return _BRACE.sub('{{ "{" }}', text) if "{" in text else text


def _end(source: str, at: int, kind: str) -> int:
    """Find where a tag ends: the first closing pair outside strings and brackets."""
    close = "}}" if kind == "{" else "%}"
    depth = 0
    while found := _INSIDE.search(source, at):
        char = found[0]
        if depth == 0 and source.startswith(close, found.start()):
            return found.start() + 2
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        at = found.end()
    raise AssertionError("a tag that minijinja took as closed isn't")


def _without_signs(tag: str) -> str:
    start = 3 if tag[2] in "-+" else 2
    stop = -3 if tag[-3] in "-+" and len(tag) - 3 >= start else -2
    return f"{tag[:2]} {tag[start:stop].strip()} {tag[-2:]}"


def _keyword(tag: str) -> str:
    found = _KEYWORD.match(tag)
    assert found, "a block without a name"
    return found[1]


def _raw(source: str, at: int, strip: bool, data: list[str]) -> tuple[int, bool]:
    """Take the text up to `endraw`; return where it ends and whether what follows is stripped."""
    found = _END_RAW.search(source, at)
    assert found, "raw without endraw"
    text = source[at : found.start()]
    text = text.lstrip() if strip else text
    _add(data, text.rstrip() if found[1] == "-" else text)
    return found.end(), found[2] == "-"


def _add(data: list[str], text: str) -> None:
    if text:
        data.append(text)


def _flush(data: list[str], tokens: list[Token]) -> None:
    if data:
        tokens.append(Data("".join(data)))
        data.clear()
