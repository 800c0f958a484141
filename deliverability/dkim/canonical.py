"""Canonicalisation, RFC 6376 §3.4, in time linear in the input whatever it is.

For messages that others made. What `compose` makes is in relaxed form already.
"""

from __future__ import annotations

__all__ = ("relaxed_body", "relaxed_header", "simple_body", "split_headers")

import re

_RUNS = re.compile(rb"[ \t]{2,}|\t")


def relaxed_header(name: bytes, value: bytes) -> bytes:
    """§3.4.2: name in lower case, unfolded, white space in a row to one space, none at either end.

    Without CRLF.
    """
    unfolded = value.replace(b"\r\n", b"")
    return name.strip(b" \t").lower() + b":" + _RUNS.sub(b" ", unfolded).strip(b" ")


def relaxed_body(body: bytes) -> bytes:
    """§3.4.4.

    No white space at line ends, runs of it to one space, no empty lines at the end, CRLF at the
    end.

    `body` has CRLF as line ends. An empty body stays empty.
    """
    # most bodies have nothing to reduce, and to see that takes a hundredth of what the expression does
    reduced = _RUNS.sub(b" ", body) if b"\t" in body or b"  " in body else body
    if b" \r\n" in reduced:
        reduced = reduced.replace(b" \r\n", b"\r\n")
    reduced = reduced.removesuffix(b" ")
    return _one_end(reduced, b"")


def simple_body(body: bytes) -> bytes:
    """§3.4.3: no empty lines at the end; an empty body becomes one CRLF."""
    return _one_end(body, b"\r\n")


def split_headers(headers: bytes) -> list[tuple[bytes, bytes]]:
    """Split a header section (CRLF) into names, as they stand, and values with their folds, without the last CRLF."""
    fields: list[tuple[bytes, bytes]] = []
    start = 0
    while start < len(headers):
        end = start
        while True:
            end = headers.find(b"\r\n", end)
            if end < 0:
                end = len(headers)
                break
            if headers[end + 2 : end + 3] not in (b" ", b"\t"):
                break
            end += 2
        name, _, value = headers[start:end].partition(b":")
        fields.append((name, value))
        start = end + 2
    return fields


def _one_end(body: bytes, empty: bytes) -> bytes:
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[:end] + b"\r\n" if end else empty
