"""The form in which changes of the list are told and kept: frames, each whole or not at all.

    frame    length of the body (4) + CRC-32 of the body (4) + body: MessagePack [version, changes]

A frame's CRC is its *stamp* too: version and stamp together name a place in one history of the list, so that a copy
of another history (a list restored from a backup, say) is told from one that is only behind.
"""

from __future__ import annotations

__all__ = ("FRAME_BYTES_MAX", "Frame", "frame_of", "frames")

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from deliverability.suppression.machine import Change

FRAME_BYTES_MAX = 64 << 20
_HEAD_BYTES = 8
_BODY = msgspec.msgpack.Decoder(tuple[int, list[Change]])
_encode = msgspec.msgpack.Encoder().encode


class Frame(NamedTuple):
    """A frame that was read. `end`: where it ends in what was read."""

    end: int
    version: int
    stamp: int
    changes: list[Change]


def frame_of(version: int, changes: Sequence[Change]) -> bytes:
    """Write the changes of a version as a frame."""
    body = _encode((version, list(changes)))
    return b"".join((len(body).to_bytes(4), zlib.crc32(body).to_bytes(4), body))


def frames(raw: bytes) -> Iterator[Frame]:
    """Read whole frames. Stops before one that is cut off or isn't whole."""
    at = 0
    while at + _HEAD_BYTES <= len(raw):
        length, stamp = int.from_bytes(raw[at : at + 4]), int.from_bytes(raw[at + 4 : at + 8])
        end = at + _HEAD_BYTES + length
        body = raw[at + _HEAD_BYTES : end]
        if end > len(raw) or length > FRAME_BYTES_MAX or zlib.crc32(body) != stamp:
            return
        try:
            version, changes = _BODY.decode(body)
        except msgspec.MsgspecError:
            return
        yield Frame(end, version, stamp, changes)
        at = end
