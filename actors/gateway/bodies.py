"""From the bytes of a request to typed items: one JSON value, an array, or lines (NDJSON). Pure.

All of a request is checked before any of it is taken; mistakes are told item by item, each with its path
(`items[3].at`), up to a bound.
"""

from __future__ import annotations

__all__ = (
    "Items",
    "TooLargeError",
    "UnsupportedTypeError",
    "decode_items",
    "decode_one",
    "fault_of",
)

import ast
import re
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from actors.gateway.wire import FORMS, QUICK, Fault, FaultsError

_T = TypeVar("_T")

FAULTS_MAX = 20
"""More mistakes than this in one request are not listed."""

DEPTH_MAX = 32
"""Deeper nesting of an item is refused: whatever later walks it has a stack, too."""

JSON_TYPES = frozenset({"application/json"})
LINE_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

_PATH = re.compile(r"^(.*?)(?: - at `(key` in `)?\$([^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_TYPES = {"array": "an array", "bool": "true or false", "object": "an object", "str": "a string"}

_raws = msgspec.json.Decoder(list[msgspec.Raw])

_SHAPES = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * 19
_POWERS = (b"0e000", b"0e+000")
"""What such a number looks like, all digits taken for zeros: no others are outside -2^63 … 2^64-1 or ±1.8e308."""


class UnsupportedTypeError(Exception):
    """The Content-Type isn't one that the endpoint reads."""


class TooLargeError(Exception):
    """A request is larger than its limit, which the message names."""


class Items(msgspec.Struct, Generic[_T]):
    """Typed items with the bytes that each came from, in the order of the request."""

    items: list[_T]
    raws: list[bytes]
    listed: bool = False  # they stood in an array, or one a line


def decode_items(
    body: bytes, content_type: str, decoder: msgspec.json.Decoder[_T], items_max: int
) -> Items[_T]:
    """Decode one item, an array of them, or one a line.

    Hot path of POST /v1/events, `bench/` case `events`: about 3.5 µs an event of 400 bytes.

    Raises:
        UnsupportedTypeError: neither JSON nor NDJSON by its content type.
        TooLargeError: more than `items_max`.
        FaultsError: something isn't what it must be; nothing may be taken.
    """
    pieces, listed = _pieces(body, content_type)
    if len(pieces) > items_max:
        raise TooLargeError(f"at most {items_max} items in one request")
    try:
        items = _decoded(body, pieces, decoder)
        raws = [bytes(piece) for piece in pieces]
        if not _too_deep(raws):
            return Items(items, raws, listed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
        pass  # the slow way finds all of them
    raise _faults(pieces, decoder, listed)


def _decoded(
    body: bytes, pieces: Sequence[bytes | msgspec.Raw], decoder: msgspec.json.Decoder[_T]
) -> list[_T]:
    """Decode all items, in their quick form where they have one: both ways refuse the same items.

    Patterns of names took 4.3 of 6.7 µs an event, decoding its data another 2.1; a quick form has neither.

    Raises: OverflowError: a number can't be stored; and what the decoder raises.
    """
    quick = QUICK.get(decoder.type)
    if quick is None:
        items = [decoder.decode(piece) for piece in pieces]
        msgspec.msgpack.encode(items)
        return items
    body.decode()  # the decoder doesn't look at text that stays text
    items = [quick.decode(piece) for piece in pieces]
    escaped = b"\\" in body or b"\x7f" in body  # else no string holds a control character
    if not all(quick.fine(item, escaped=escaped) for item in items):
        return [decoder.decode(piece) for piece in pieces]
    if _is_extreme(body):
        strict = [decoder.decode(piece) for piece in pieces if _is_extreme(bytes(piece))]
        msgspec.msgpack.encode(strict)
    return items


def _is_extreme(text: bytes) -> bool:
    """Tell whether JSON may hold a number that fits neither 64 bits nor a float, which text doesn't show by itself."""
    shapes = text.translate(_SHAPES)
    if _LONG in shapes:
        return True
    return b"0e" in shapes and any(shape in shapes for shape in _POWERS)


def decode_one(body: bytes, content_type: str, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Decode a request of one item; an empty body is an empty object.

    Raises:
        UnsupportedTypeError: it isn't JSON by its content type.
        FaultsError: it isn't what it must be.
    """
    if body and _media_type(content_type) not in JSON_TYPES:
        raise UnsupportedTypeError(content_type)
    piece = body or b"{}"
    fault = fault_of(piece, decoder, "")
    if fault:
        raise FaultsError([fault])
    return decoder.decode(piece)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _pieces(body: bytes, content_type: str) -> tuple[Sequence[bytes | msgspec.Raw], bool]:
    """Cut a body into the JSON of its items; tells also whether they stand in a list."""
    media_type = _media_type(content_type)
    if media_type in LINE_TYPES:
        return [line for line in body.split(b"\n") if line.strip()], True
    if media_type not in JSON_TYPES:
        raise UnsupportedTypeError(content_type)
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body], False
    try:
        return _raws.decode(body), True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FaultsError([Fault("", _text(error))]) from None


def _too_deep(raws: list[bytes]) -> bool:
    """Tell whether an item nests too deep."""
    return any(
        raw.count(b"{") + raw.count(b"[") > DEPTH_MAX and _depth(raw) > DEPTH_MAX for raw in raws
    )


def _depth(raw: bytes) -> int:
    """Measure how deep valid JSON nests."""
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw)
    depth = deepest = 0
    for byte in re.findall(rb"[\[\]{}]", bare):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _faults(
    pieces: Sequence[bytes | msgspec.Raw], decoder: msgspec.json.Decoder[_T], listed: bool
) -> FaultsError:
    found = []
    for index, piece in enumerate(pieces):
        fault = fault_of(bytes(piece), decoder, f"items[{index}]" if listed else "")
        if fault:
            found.append(fault)
        if len(found) > FAULTS_MAX:
            return FaultsError(found[:FAULTS_MAX], more=True)
    return FaultsError(found)


def fault_of(piece: bytes, decoder: msgspec.json.Decoder[_T], prefix: str) -> Fault | None:
    """Check one item; both ways, fast and slow, refuse the same items."""
    try:
        item = decoder.decode(piece)
    except msgspec.ValidationError as error:
        return _located(str(error), prefix)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Fault(prefix, _text(error))
    if _depth(piece) > DEPTH_MAX:
        return Fault(prefix, f"nested deeper than {DEPTH_MAX}")
    try:
        msgspec.msgpack.encode(item)
    except OverflowError:
        return Fault(prefix, "a number is outside -2^63 … 2^64-1: send it as a string")
    return None


def _located(message: str, prefix: str) -> Fault:
    """Split msgspec's message in path and detail, and name the field itself where it names what is around it."""
    found = _PATH.match(message)
    detail, path = (found[1], found[3] or "") if found else (message, "")
    unknown, missing = _UNKNOWN.fullmatch(detail), _MISSING.fullmatch(detail)
    if unknown:
        path, detail = f"{path}.{unknown[1]}", "unknown field"
    elif missing:
        path, detail = f"{path}.{missing[1]}", "missing"
    else:
        detail = _wanted(detail)
    path = f"{prefix}{path}" if prefix else path.lstrip(".")
    return Fault(path, detail)


def _wanted(detail: str) -> str:
    _, regex, pattern = detail.partition(" matching regex ")
    if regex:
        return f"expected {FORMS.get(_unquoted(pattern), 'another form')}"
    if detail.startswith("Expected `int` >="):
        return (
            f"{_lower(detail)} (a time is in milliseconds)"
            if "100000000000" in detail
            else _lower(detail)
        )
    return _lower(detail)


def _unquoted(pattern: str) -> str:
    """Undo how msgspec shows a pattern: as the literal of a Python string."""
    try:
        return str(ast.literal_eval(pattern))
    except (ValueError, SyntaxError):
        return pattern


def _lower(text: str) -> str:
    text = re.sub(r"`([a-z]+)`", lambda found: _TYPES.get(found[1], found[1]), text)
    return text[:1].lower() + text[1:].replace("`", "")


def _text(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {DEPTH_MAX}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return _lower(str(error))
