"""Variables of a message, made safe for the renderer: JSON values of its own, without control characters.

The skeleton tells its markers from text by control characters; so values lose theirs before they are rendered (TAB and
LF stay, CRLF and CR become LF). Encoding to JSON shows whether there are any, for they come out escaped; only then is
the tree walked. Decoding gives the renderer a copy: a template may call methods of lists and objects (`x.pop()`), and
the same letter must compose the same octets a second time. Both are msgspec's, in C, and cost some microseconds.
"""

from __future__ import annotations

__all__ = ("clean_text", "clean_variables")

import re
from collections.abc import Mapping

import msgspec

from engine.errors import InputError, Place

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode
_suspicious = re.compile(rb'\\[^nt"\\]').search
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MAX_DEPTH = 40


def clean_variables(variables: Mapping[str, object]) -> dict[str, object]:
    """Return a copy of the variables that holds JSON values only, without control characters.

    What msgspec writes as JSON text (dates, decimals, UUIDs, bytes) becomes text. Hot path.

    Raises:
        InputError: a value can't be written as JSON, or is nested too deep.
    """
    try:
        encoded = _encode(variables)
        if not _suspicious(encoded):
            return _decode(encoded)
    except (TypeError, ValueError, RecursionError):
        pass  # told below, with the place
    return {clean_text(k): _clean(v, f"variables.{k}", 1) for k, v in variables.items()}


def clean_text(text: str) -> str:
    """Drop control characters but TAB and LF; CRLF and CR become LF.

    Half surrogates become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _clean(value: object, path: str, depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise InputError("nested too deep", Place(path=path), f"at most {_MAX_DEPTH} levels")
    match value:
        case str():
            return clean_text(str.__str__(value))
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {
                clean_text(str(k)): _clean(v, f"{path}.{k}", depth + 1) for k, v in value.items()
            }
        case list() | tuple():
            return [_clean(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
        case _:
            raise InputError(
                f"a value of type {type(value).__name__} can't be rendered",
                Place(path=path),
                "give text, numbers, booleans, lists or objects, as in JSON",
            )
