r"""Reply patterns: from the Rust dialect to Python's, and what can be proved about them without running them.

The reader here understands enough of a regular expression to answer three questions of `check`: which literal texts
must every match contain, what is a text that matches, and can matching take exponential time. What it doesn't
understand it treats as opaque, which only makes fewer things provable.
"""

from __future__ import annotations

__all__ = ("TEXT_CHARS_MAX", "Pattern", "compile_pattern", "covers")

import functools
import itertools
import re
import warnings

import msgspec

from engine.errors import InputError

PATTERN_CHARS_MAX = 1_000
TEXT_CHARS_MAX = 1_000  # of a reply; the rest can't be matched, which bounds backtracking
_OPEN_REPEATS_MAX = 4
_TIMES_SAFE = 4
_REPEAT_UNBOUNDED = 10**9
_DEPTH_MAX = 20

_POSIX = {
    "[:alpha:]": "a-zA-Z",
    "[:digit:]": "0-9",
    "[:alnum:]": "a-zA-Z0-9",
    "[:space:]": r"\s",
    "[:upper:]": "A-Z",
    "[:lower:]": "a-z",
    "[:punct:]": r"!-/:-@\[-`{-~",
    "[:xdigit:]": "0-9a-fA-F",
    "[:word:]": r"\w",
}
_CLASS_SAMPLE = {"d": "7", "w": "a", "s": " ", "D": "x", "W": "-", "S": "x", "h": "a"}
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


class _Node(msgspec.Struct, frozen=True):
    """A part of a pattern. `op`: lit, set, dot, seq, alt, rep, anchor, opaque."""

    op: str
    text: str = ""
    parts: tuple[_Node, ...] = ()
    low: int = 1
    high: int = 1


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that compiles here, and what is known of it.

    `required` has for each alternative the longest texts that each match contains; `samples` are texts that match
    (checked by running it); `floats` means that it matches anywhere in a text, without anchors or look-around.
    """

    source: str
    translated: str
    required: tuple[tuple[str, ...], ...]
    samples: tuple[str, ...]
    floats: bool
    wants_backslash: bool
    lone_star: str

    def compiled(self) -> re.Pattern[str]:
        """Return the compiled pattern; Python's own cache makes that cheap."""
        return re.compile(self.translated)

    def found_in(self, text: str) -> bool:
        """Tell whether a reply, cut to `TEXT_CHARS_MAX`, matches."""
        return self.compiled().search(text[:TEXT_CHARS_MAX]) is not None


class _Reader:
    """Reads a (translated) pattern into nodes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.depth = 0

    def read(self) -> _Node:
        node = self._alternatives()
        return node if self.at >= len(self.source) else _Node("opaque")

    def _peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def _alternatives(self) -> _Node:
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise InputError("a pattern may nest groups 20 deep", mend="simplify the pattern")
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        self.depth -= 1
        return branches[0] if len(branches) == 1 else _Node("alt", parts=tuple(branches))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return _Node("seq", parts=tuple(parts))

    def _repeated(self, node: _Node) -> _Node:
        char = self._peek()
        bounds = {"*": (0, _REPEAT_UNBOUNDED), "+": (1, _REPEAT_UNBOUNDED), "?": (0, 1)}.get(char)
        braces = re.compile(r"\{(\d*)(,?)(\d*)\}").match(self.source, self.at)
        if bounds is not None:
            self.at += 1
        elif braces is not None and (braces[1] or braces[3]):
            low = int(braces[1] or 0)
            high = int(braces[3]) if braces[3] else (_REPEAT_UNBOUNDED if braces[2] else low)
            bounds, self.at = (low, high), braces.end()
        else:
            return node
        if self._peek() in ("?", "+"):
            self.at += 1  # lazy and possessive match the same texts as far as we ask
        return _Node("rep", parts=(node,), low=bounds[0], high=bounds[1])

    def _atom(self) -> _Node:
        char = self._peek()
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._character_set()
        if char == "(":
            return self._group()
        self.at += 1
        if char in "^$":
            return _Node("anchor", char)
        return _Node("dot") if char == "." else _Node("lit", char)

    def _escape(self) -> _Node:
        char = self.source[self.at + 1 : self.at + 2]
        self.at += 2
        if char in _CLASS_SAMPLE:
            return _Node("set", _CLASS_SAMPLE[char])
        if char in "bBAZzG":
            return _Node("anchor", char)
        if char == "x":
            found = re.compile(r"[0-9a-fA-F]{2}").match(self.source, self.at)
            self.at += 2
            return _Node("lit", chr(int(found[0], 16))) if found else _Node("opaque")
        if char.isdigit() or (char.isalpha() and char not in _CONTROL):
            return _Node("opaque")
        return _Node("lit", _CONTROL.get(char, char))

    def _character_set(self) -> _Node:
        begin = self.at
        self.at += 2 if self.source.startswith("[^", self.at) else 1
        if self._peek() == "]":
            self.at += 1
        while self._peek() not in ("", "]"):
            self.at += 2 if self._peek() == "\\" else 1
        self.at += 1
        body = self.source[begin : self.at]
        candidates = "1a A-.[]:," + body
        sample = next((c for c in candidates if re.fullmatch(body, c)), "")
        return _Node("set", sample) if sample else _Node("opaque")

    def _group(self) -> _Node:
        head = re.compile(r"\((\?(?:P?<\w+>|:|>|[aiLmsux-]+[:)]|<?[=!]|P=|#))?").match(
            self.source, self.at
        )
        assert head is not None  # the caller saw the bracket
        self.at = head.end()
        kind = head[1] or ""
        if kind.startswith("?") and kind.endswith(")"):
            return _Node("seq")
        inside = self._alternatives()
        self.at += 1
        if kind in ("?=", "?!", "?<=", "?<!"):
            return _Node("anchor", kind)
        return _Node("opaque") if kind in ("?P=", "?#") else inside


def _runs(node: _Node) -> list[str]:
    """Return the literal texts that each match contains, in order; an empty text breaks a run."""
    if node.op == "lit":
        return [node.text]
    if node.op == "seq":
        runs = [""]
        for part in node.parts:
            inner = _runs(part) if part.op in ("lit", "seq", "rep") else ["", ""]
            runs[-1] += inner[0]
            runs.extend(inner[1:])
        return runs
    if node.op == "rep" and node.low >= 1:
        inner = _runs(node.parts[0])
        if node.low == node.high and len(inner) == 1:
            return [inner[0] * min(node.low, 100)]
        return [inner[0], inner[-1]] if len(inner) == 1 else [*inner, ""]
    return ["", ""]


def _branches(node: _Node) -> list[_Node]:
    """Split a pattern into its alternatives, expanding small ones inside a sequence (32 at most)."""
    if node.op == "alt":
        return [leaf for part in node.parts for leaf in _branches(part)][:64]
    if node.op == "rep" and node.low == 0 and node.high == 1:
        return [_Node("seq"), *_branches(node.parts[0])]
    if node.op != "seq":
        return [node]
    expanded: list[tuple[_Node, ...]] = [()]
    for part in node.parts:
        choices = _branches(part)
        if len(choices) * len(expanded) > 32:
            choices = [part]
        expanded = [(*head, choice) for head in expanded for choice in choices]
    return [_Node("seq", parts=parts) for parts in expanded]


def _sample(node: _Node) -> str:
    """Build a text that matches; the caller checks it by running the pattern."""
    match node.op:
        case "lit" | "set":
            return node.text
        case "dot":
            return "x"
        case "seq":
            return "".join(_sample(part) for part in node.parts)
        case "alt":
            return _sample(node.parts[0])
        case "rep":
            return _sample(node.parts[0]) * min(max(node.low, 1 if node.high else 0), 60)
        case _:
            return ""


def _walk(node: _Node) -> list[_Node]:
    return [node, *(inner for part in node.parts for inner in _walk(part))]


def _is_open(node: _Node) -> bool:
    return node.op == "rep" and node.high >= 100


def _is_fixed(node: _Node) -> bool:
    """Tell whether a part can match a given text in one way only: no choice, no optional or open repeat."""
    if node.op in ("alt", "opaque"):
        return False
    return (node.op != "rep" or node.low == node.high) and all(map(_is_fixed, node.parts))


def _explodes(node: _Node) -> bool:
    """Tell whether something that can match in several ways is repeated, as in `(a+)+` or `(a|ab)*`."""
    repeated = node.op == "rep" and node.high > _TIMES_SAFE
    if repeated and not _is_fixed(node.parts[0]):
        return True
    return any(map(_explodes, node.parts))


def _lone_star(node: _Node) -> str:
    """Find a star on a single letter, as in `SPM*`, which was most likely meant as `SPM.*`."""
    for inner in _walk(node):
        parts = inner.parts if inner.op == "seq" else ()
        for before, part in itertools.pairwise(parts):
            starred = part.op == "rep" and part.low == 0 and part.high == _REPEAT_UNBOUNDED
            if starred and before.op == "lit" and before.text.isalnum():
                letter = part.parts[0]
                if letter.op == "lit" and letter.text.isalnum():
                    return f"{before.text}{letter.text}*"
    return ""


def _translate(source: str) -> str:
    """Turn what Rust writes differently into Python's form."""
    text = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", source)
    text = re.sub(r"\\z(?![a-z])", r"\\Z", text)
    text = re.sub(r"\\x\{([0-9a-fA-F]{2})\}", r"\\x\1", text)
    for name, body in _POSIX.items():
        text = text.replace(name, body)
    return text


@functools.lru_cache(maxsize=20_000)
def compile_pattern(source: str) -> Pattern:
    """Compile a pattern of the Rust dialect and find out what can be known of it.

    Raises:
        InputError: it is too long, isn't a regular expression, or could take exponential time.
    """
    if len(source) > PATTERN_CHARS_MAX:
        raise InputError(
            f"a pattern has at most {PATTERN_CHARS_MAX} characters, this one has {len(source)}",
            mend="split it into a list of patterns",
        )
    translated = _translate(source)
    try:
        with warnings.catch_warnings():  # Rust's set operations, which Python would read otherwise
            warnings.simplefilter("error", FutureWarning)
            compiled = re.compile(translated)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise InputError(
            f"not a regular expression: {error}", mend="escape special characters with a backslash"
        ) from error
    node = _Reader(translated).read()
    nodes = _walk(node)
    _refuse_slow(node, nodes)
    branches = _branches(node)
    samples = tuple(text for text in map(_sample, branches[:16]) if compiled.search(text))
    return Pattern(
        source=source,
        translated=translated,
        required=tuple(tuple(run for run in _runs(branch) if run) for branch in branches),
        samples=samples,
        floats=all(each.op not in ("anchor", "opaque") for each in nodes),
        wants_backslash=any(run for branch in branches for run in _runs(branch) if "\\" in run),
        lone_star=_lone_star(node),
    )


def _refuse_slow(node: _Node, nodes: list[_Node]) -> None:
    if _explodes(node):
        raise InputError(
            "repeating a group with repeats or choices in it, such as (a+)+, can take exponential time",
            mend="repeat a character set, such as [a-z.]+, or remove the inner or the outer repeat",
        )
    wide = [each for each in nodes if _is_open(each) and each.parts[0].op in ("dot", "set")]
    if len(wide) > _OPEN_REPEATS_MAX:
        raise InputError(
            f"more than {_OPEN_REPEATS_MAX} open repeats such as .* in one pattern can take very long",
            mend="use a list of patterns, or name what comes between",
        )


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Tell whether each text that `narrow` matches is proved to match `wide` too.

    Proved means: the patterns are the same, or `wide` matches inside a text that each match of `narrow` must
    contain. False means only that nothing was proved.
    """
    if wide.translated == narrow.translated:
        return True
    if not wide.floats or not narrow.required:
        return False
    compiled = wide.compiled()
    return all(any(compiled.search(run) for run in branch) for branch in narrow.required)
