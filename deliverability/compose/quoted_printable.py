"""Quoted-printable (RFC 2045 §6.7) whose output is a fixed point of relaxed body canonicalisation.

RFC 6376 §3.4.4 reduces runs of white space to one space, drops white space at line ends and empty
lines at the end of the body. Text encoded here has no tab, no two spaces side by side and no space
before CRLF, so a signer may hash what is sent. No line starts with a dot (RFC 5321 §4.5.2 would
double it) or with `From ` (an mbox would quote it), and no line is longer than 76 octets.

`binascii.b2a_qp` does the work in C. Where its output would not do, a control character that can't
occur in the text stands for what must be encoded, so that b2a_qp counts its three octets, and is
renamed afterwards: `=1C` → `=20`.
"""

from __future__ import annotations

__all__ = ("MARK", "encode_static", "encode_with_marks")

import re
from binascii import b2a_qp

MARK = "\x1e"  # comes out as `=1E`; at the end of a line it makes room for a soft break

_LINE_START = re.compile(rb"\n(\.|F(?=rom ))([^\n]*)")
_HEX = {b".": b"\n=2E", b"F": b"\n=46"}
_ROOM = 73  # what fits on a line beside `=2E`
_CUT = 60


def encode_static(text: str, *, soft: bool = True) -> bytes:
    """Encode a stretch that begins on a new line, with CRLF.

    With `soft` it ends in a line break: soft, or its own.
    """
    if not soft or text.endswith("\n"):
        return encode_with_marks("\n" + text)[1:].replace(b"\n", b"\r\n")
    encoded = encode_with_marks("\n" + text + MARK)
    assert encoded.endswith(b"=1E"), "the mark is the last thing encoded"
    return (encoded[1:-2] + b"\n").replace(b"\n", b"\r\n")


def encode_with_marks(text: str) -> bytes:
    r"""Encode text with LF line ends, in which controls but tab and LF only stand for themselves.

    The result has LF.

    Text must begin with LF for its first line to be guarded as a line start.
    """
    blanks = "  " in text or " \n" in text or "\t" in text or text.endswith(" ")
    if blanks:
        text = text.replace("  ", " \x1c").replace(" \n", "\x1c\n").replace("\t", "\x1d")
        if text.endswith(
            " "
        ):  # b2a_qp encodes spaces at line ends too, but then counts them as one octet
            text = text[:-1] + "\x1c"
    out = b2a_qp(text.encode(), istext=True)
    if blanks:
        out = out.replace(b"=1C", b"=20").replace(b"=1D", b"=09")
    if b"\n." in out or b"\nFrom " in out:
        out = _LINE_START.sub(_guard, out)
    return out


def _guard(line: re.Match[bytes]) -> bytes:
    """Encode the first octet of a line, and break the line again if it has grown too long."""
    head, rest = _HEX[line[1]], line[2]
    if len(rest) <= _ROOM:
        return head + rest
    cut = _CUT
    if rest[cut - 1 : cut] == b"=":
        cut -= 1
    elif rest[cut - 2 : cut - 1] == b"=":
        cut -= 2
    return head + rest[:cut] + b"=" + (_guard_tail(rest[cut:]))


def _guard_tail(rest: bytes) -> bytes:
    """A line break and what follows it; short, so that no further break is needed."""
    if rest.startswith(b"."):
        return b"\n=2E" + rest[1:]
    return b"\n=46" + rest[1:] if rest.startswith(b"From ") else b"\n" + rest
