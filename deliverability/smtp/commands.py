"""Commands: parser of what a client says to a server. RFC 5321 §4.1."""

from __future__ import annotations

__all__ = (
    "PathArgument",
    "bdat_argument",
    "helo_argument",
    "login_answer",
    "path_argument",
    "plain_credentials",
)

import re
from base64 import b64decode
from binascii import Error as Base64Error

import msgspec

_LOCAL = rb'(?:[!#-;=?-~\x80-\xff]++|"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*+")*+'
# A space after the colon is no part of the grammar, but common.
_MAIL = re.compile(rb"(?i:FROM): ?<(" + _LOCAL + rb")>(?: +(.*))?", re.DOTALL)
_RCPT = re.compile(rb"(?i:TO): ?<(" + _LOCAL + rb")>(?: +(.*))?", re.DOTALL)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:=([!-<>-~\x80-\xff]+))?")
_HELO = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_BDAT = re.compile(rb"([0-9]{1,18})( +LAST)?", re.IGNORECASE)
_SOURCE_ROUTE = re.compile(rb"@[^:\"<>]*+:")
_PARAMETERS_MAX = 16


class PathArgument(msgspec.Struct, frozen=True):
    """The argument of MAIL or RCPT. Keywords are in capitals; a keyword without value has an empty one."""

    path: bytes
    parameters: dict[str, str]


_NO_PARAMETERS: dict[str, str] = {}


def path_argument(argument: bytes, *, mail: bool) -> PathArgument | None:
    """Parse what follows `MAIL` or `RCPT` and a space; None when it isn't well-formed.

    A source route is taken off, as RFC 5321 §4.1.1.3 allows.
    """
    match = (_MAIL if mail else _RCPT).fullmatch(argument)
    if match is None:
        return None
    path, words = match.groups()
    if path.startswith(b"@"):
        path = _SOURCE_ROUTE.sub(b"", path, count=1)
    if not words:
        return PathArgument(path, _NO_PARAMETERS)
    parameters: dict[str, str] = {}
    for word in words.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or len(parameters) == _PARAMETERS_MAX:
            return None
        value = parameter[2] or b""
        parameters[parameter[1].decode("ascii").upper()] = value.decode("utf-8", "replace")
    return PathArgument(path, parameters)


def helo_argument(argument: bytes) -> str | None:
    """Parse a domain or address literal; None when it isn't one."""
    name = argument.strip()
    return name.decode("ascii") if _HELO.fullmatch(name) else None


def bdat_argument(argument: bytes) -> tuple[int, bool] | None:
    """Parse the octets and whether the chunk is the last; None when it isn't well-formed. RFC 3030 §2."""
    match = _BDAT.fullmatch(argument.strip())
    return None if match is None else (int(match[1]), match[2] is not None)


def plain_credentials(response: bytes) -> tuple[str, str] | None:
    """Parse the response of AUTH PLAIN into user name and password. RFC 4616 §2."""
    try:
        parts = b64decode(response, validate=True).decode().split("\0")
    except (Base64Error, UnicodeDecodeError):
        return None
    return (parts[1], parts[2]) if len(parts) == 3 else None


def login_answer(response: bytes) -> str | None:
    """Parse one answer of AUTH LOGIN; None when it isn't base64 of UTF-8."""
    try:
        return b64decode(response, validate=True).decode()
    except (Base64Error, UnicodeDecodeError):
        return None
