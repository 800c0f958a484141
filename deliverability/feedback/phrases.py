"""The phrase language of the rules: readable patterns, compiled to guarded regular expressions.

A phrase is lower-case text in which

    " … "      is up to 60 characters between words       mailbox … full
    (a|b|)     is one of the alternatives                  (mailbox|account) is full
    {name}     is an alternative list of the rule file     {box} full
    *          continues a word                            suspend*
    #          is a number                                 [bl#]
    ^          at the start is the start of the text

and everything else is itself, with its accents or without them: many hosts write `przepelniona` for `przepełniona`,
`verfuegbar` or `verfugbar` for `verfügbar`. A phrase begins and ends at word borders. `Phrase.literals` are strings of
which at least one occurs in every text that the phrase matches, so that most phrases are dismissed without a search.
Gaps and continuations are bounded, so a search takes time linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

import msgspec

__all__ = ("Phrase", "compile_phrase", "normalise")

_COMPILED = 16_384
"""More than the shipped rules have phrases."""
_GAP = r"(?!\w).{0,60}?(?<!\w)"
_OPEN_GAP = r".{0,60}?"
_CONTINUED = re.compile(
    r"(?<![\d.])[245]\d\d-(?:#?[245]\.\d{1,3}\.\d{1,3}(?!\d))?| [245]\d\d [245]\.\d{1,3}\.\d{1,3}(?= )"
)
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
_NAME = re.compile(r"\{(\w+)\}")


class Phrase(msgspec.Struct, frozen=True):
    """One phrase as a regular expression, and a text that it must match (first alternatives, short gaps)."""

    source: str
    sample: str
    expression: str
    literals: tuple[str, ...]

    @property
    def pattern(self) -> re.Pattern[str]:
        """The expression, compiled when a text first asks for it: most never are, and all of them take 0.4 s."""
        return _compiled(self.expression)


def normalise(text: str) -> str:
    """Lower case, single spaces, plain quotes, and the codes that continue a reply (RFC 5321 §4.2.1) taken out."""
    text = text.translate(_QUOTES).lower()
    text = _CONTINUED.sub(" ", text)
    return " ".join(text.split()).replace("(s)", "s").strip()


def compile_phrase(source: str, words: Mapping[str, str]) -> Phrase:
    """Compile one phrase.

    Raises:
        ValueError: an unknown {name}, an unbalanced parenthesis, or nothing fixed to search for.
    """
    expanded = _expand(source, words)
    if expanded.count("(") != expanded.count(")"):
        raise ValueError(f"phrase {source!r}: parentheses are not balanced")
    spellings = _spellings(expanded)
    literals = [_literals(spelling) for spelling in spellings]
    if not all(literals):
        raise ValueError(f"phrase {source!r}: has no fixed text of two characters or more")
    return Phrase(
        source=source,
        sample=_sample(expanded).strip(),
        expression="|".join(_pattern(spelling) for spelling in spellings),
        literals=tuple(dict.fromkeys(literal for some in literals for literal in some)),
    )


def _spellings(text: str) -> list[str]:
    """A text as it stands, without its accents, and as German and Nordic writers spell it without them."""
    if text.isascii():
        return [text]
    plain = "".join(_WITHOUT.get(char, char) for char in text)
    spelt = "".join(_SPELT.get(char, _WITHOUT.get(char, char)) for char in text)
    return list(dict.fromkeys((text, plain, spelt)))


def _without_accents() -> dict[str, str]:
    """Latin letters by what is left of them; those of other scripts are letters of their own (but ё)."""
    found = {"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe"}
    found |= {"\u0131": "i", "\u0451": "\u0435"}  # dotless i; Cyrillic io
    for number in range(0xC0, 0x250):
        char = chr(number)
        base = unicodedata.normalize("NFD", char)[0]
        if base.isascii() and base.islower():
            found[char] = base
    return found


_WITHOUT = _without_accents()
_SPELT = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"}


@lru_cache(maxsize=_COMPILED)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def _expand(source: str, words: Mapping[str, str]) -> str:
    def named(match: re.Match[str]) -> str:
        if match.group(1) not in words:
            raise ValueError(f"phrase {source!r}: no words are called {match.group(1)!r}")
        return words[match.group(1)]

    return _NAME.sub(named, _NAME.sub(named, source))


def _pattern(expanded: str) -> str:
    begins = expanded.startswith("^")
    body = expanded.removeprefix("^")
    out = body.replace(" … ", "\0").replace(" …", "\0").replace("… ", "\0").replace("…", "\0")
    bordered = not _has_no_borders(body)
    made = "".join(_character(c, _GAP if bordered else _OPEN_GAP) for c in out)
    first, last = body[:1], body[-1:]
    head = r"\A" if begins else r"(?<!\w)" if bordered and (first.isalnum() or first == "(") else ""
    tail = r"(?!\w)" if bordered and (last.isalnum() or last == ")") else ""
    return head + made + tail


def _has_no_borders(text: str) -> bool:
    """Say whether a text is in a script without spaces between words (kana, Han, Hangul)."""
    return any("\u3040" <= char <= "\ud7af" for char in text)


def _character(char: str, gap: str) -> str:
    match char:
        case "\0":
            return gap
        case "(":
            return "(?:"
        case ")" | "|":
            return char
        case "*":
            return r"\S{0,30}"
        case "#":
            return r"[0-9]{1,12}"
    return re.escape(char)


def _literals(expanded: str) -> tuple[str, ...]:
    """The longest fixed run outside groups, or the fixed runs of the alternatives of one group."""
    best: tuple[str, ...] = ()
    for kind, piece in _top_level(expanded.removeprefix("^")):
        if kind == "text":
            runs = [run.strip() for run in re.split(r"[…*#]", piece)]
            run = max(runs, key=len, default="")
            found: tuple[str, ...] = (run,) if len(run) >= 2 else ()
        else:
            options = [_literals(option) for option in _options(piece)]
            found = tuple(dict.fromkeys(x for o in options for x in o)) if all(options) else ()
        if found and (not best or _weight(found) > _weight(best)):
            best = found
    return best


def _weight(literals: tuple[str, ...]) -> float:
    return min(len(literal) for literal in literals) - 2.0 * (len(literals) - 1)


def _top_level(text: str) -> list[tuple[str, str]]:
    """Split into fixed text and groups (without their outer parentheses)."""
    pieces: list[tuple[str, str]] = []
    depth, start = 0, 0
    for at, char in enumerate(text):
        if char == "(":
            if depth == 0:
                pieces.append(("text", text[start:at]))
                start = at + 1
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                pieces.append(("group", text[start:at]))
                start = at + 1
    pieces.append(("text", text[start:]))
    return [piece for piece in pieces if piece[1]]


def _options(group: str) -> list[str]:
    options, depth, start = [], 0, 0
    for at, char in enumerate(group):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            options.append(group[start:at])
            start = at + 1
    return [*options, group[start:]]


def _sample(text: str) -> str:
    out = []
    for kind, piece in _top_level(text.removeprefix("^")):
        if kind == "group":
            out.append(_sample(_options(piece)[0]))
        else:
            out.append(piece.replace("…", "xx").replace("*", "").replace("#", "12"))
    return "".join(out)
