"""Unpack gzip and zip within bounds: a bomb is noticed by its own numbers, before it takes memory.

Zip archives are read front to back by their local headers (APPNOTE §4.3.7), stored and deflated members only.
The standard library's `zipfile` raises eight kinds of exception for hostile archives, and reads directories of
any length.
"""

from __future__ import annotations

import struct
import zlib

from deliverability.feedback.limits import ARCHIVE_MEMBERS, RATIO, UNPACKED_BYTES

__all__ = ("is_packed", "unpack")

_MEGABYTE = 1024 * 1024
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED = 1
_STORED, _DEFLATED = 0, 8


def is_packed(data: bytes) -> bool:
    """Say whether the bytes begin as gzip or zip do."""
    return data.startswith((_GZIP, _ZIP))


def unpack(data: bytes) -> list[bytes]:
    """The contents of a gzip stream or of the first `ARCHIVE_MEMBERS` members of a zip archive.

    Empty if it is neither, broken, encrypted, or unpacks to more than the bounds allow; a stream that ends
    early gives what it has. What is packed inside is the caller's matter.
    """
    if data.startswith(_GZIP):
        content = _inflate(data, 31, _allowed(len(data)))
        return [content[0]] if content is not None else []
    return _unzip(data)


def _allowed(packed: int) -> int:
    return min(UNPACKED_BYTES, max(_MEGABYTE, packed * RATIO))


def _inflate(data: bytes, window_bits: int, allowed: int) -> tuple[bytes, int] | None:
    """The content of a stream and how many bytes it took; None if it is broken or too large."""
    stream = zlib.decompressobj(wbits=window_bits)
    try:
        content = stream.decompress(data, allowed + 1)
    except zlib.error:
        return None
    if len(content) > allowed:
        return None
    return content, len(data) - len(stream.unused_data)


def _unzip(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    at, left = 0, _allowed(len(data))
    for _ in range(ARCHIVE_MEMBERS):
        at = data.find(_ZIP, at)
        if at < 0 or at + _LOCAL_HEADER.size > len(data):
            break
        header = _LOCAL_HEADER.unpack_from(data, at)
        flags, method, packed, name_size, extra_size = (
            header[2],
            header[3],
            header[7],
            header[9],
            header[10],
        )
        start = at + _LOCAL_HEADER.size + name_size + extra_size
        at = start
        if flags & _ENCRYPTED:
            continue
        if method == _DEFLATED:
            inflated = _inflate(data[start:], -15, left)
            if inflated is None:
                continue
            content, used = inflated
        elif method == _STORED and packed <= left:
            content, used = data[start : start + packed], packed
        else:
            continue
        at, left = start + used, left - len(content)
        found.append(content)
    return found
