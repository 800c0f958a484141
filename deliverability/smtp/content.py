"""Content: the mail object as it travels, with dots stuffed and line ends that hide nothing.

RFC 5321 §4.5.2 (transparency), §2.3.8 (lines end with CRLF alone). A bare CR or LF is how a second
message is smuggled into the first: one server takes `LF . LF` for the end of the content, the next does
not. So neither end of ours sends or takes one in `DATA`.

Hot path: see `bench/`; budget 5 µs for 10 KB of content that the composer has checked.
"""

from __future__ import annotations

__all__ = (
    "END_OF_CONTENT",
    "Abort",
    "Content",
    "DataReceiver",
    "dot_stuffed",
    "dot_unstuffed",
    "only_crlf",
)

from io import IncrementalNewlineDecoder

import msgspec

END_OF_CONTENT = b".\r\n"
"""The dot, on a line of its own; the CRLF before it ends the last line of the content."""
_FULL_END = b"\r\n.\r\n"


class Content(msgspec.Struct, frozen=True):
    """What is sent after `DATA` or `BDAT`: header, empty line and body, not dot-stuffed.

    `dot_free`: the caller vouches that no line begins with a dot, so that the content is passed on
    without being searched. `checked`: the caller vouches that lines end with CRLF alone, the last one too.
    """

    data: bytes
    dot_free: bool = False
    checked: bool = False


class Abort(msgspec.Struct, frozen=True):
    """The answer in place of content: the message must not be sent after all."""

    reason: str = ""


def only_crlf(data: bytes) -> bool:
    """Whether each CR is followed by a LF and each LF preceded by a CR."""
    # The newline decoder notes which line ends it has seen: 4 µs for 10 KB, where counting CR, LF and
    # CRLF takes 15 and a regular expression 190. It decodes nothing here and does no I/O.
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(data.decode("latin-1"), final=True)
    return decoder.newlines is None or decoder.newlines == "\r\n"


def dot_stuffed(data: bytes) -> bytes:
    """Double the dot of each line that begins with one. RFC 5321 §4.5.2."""
    if b"\r\n." in data:
        data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data


def dot_unstuffed(data: bytes) -> bytes:
    """Drop the first dot of each line that begins with one. RFC 5321 §4.5.2."""
    if b"\r\n." in data:
        data = data.replace(b"\r\n.", b"\r\n")
    return data[1:] if data.startswith(b".") else data


class DataReceiver:
    """The receiving side of one `DATA`: bytes in any cuts, until CRLF . CRLF.

    Linear in the octets received, however they are cut. What passes `octets_max` is counted and dropped.
    `content` is complete, and unstuffed, once `receive` has given a position.
    """

    __slots__ = ("_octets_max", "_parts", "_tail", "content", "octets")

    def __init__(self, octets_max: int) -> None:
        self.content = b""
        self.octets = 0
        self._octets_max = octets_max
        self._parts: list[bytes] = []
        # The CRLF of the DATA command counts as the one before the dot. RFC 5321 §4.1.1.4
        self._tail = b"\r\n"

    @property
    def too_large(self) -> bool:
        """Whether more than `octets_max` octets came; `content` is empty then."""
        return self.octets > self._octets_max

    def receive(self, data: bytes, start: int) -> int:
        """Take content from `data[start:]`; give the position after its end, or -1 when more is to come."""
        if not self.octets and self._tail == b"\r\n":
            end = self._receive_whole(data, start)
            if end >= 0:
                return end
        tail_octets = len(self._tail)
        window = self._tail + data[start:]
        end = window.find(_FULL_END)
        if end < 0:
            self._keep(window[:-4])
            self._tail = window[-4:]
            return -1
        self._keep(window[: end + 2])
        self._finish()
        return start + end + len(_FULL_END) - tail_octets

    def _receive_whole(self, data: bytes, start: int) -> int:
        """Take content that lies in one piece and has no dot to unstuff: one search, one copy."""
        dot = data.find(b"\r\n.", start)
        if dot < 0 or data[dot + 3 : dot + 5] != b"\r\n" or data[start : start + 1] == b".":
            return -1
        self.octets = dot + 2 - start
        if not self.too_large:
            self.content = data[start : dot + 2]
        return dot + 5

    def _keep(self, part: bytes) -> None:
        self.octets += len(part)
        if self.octets - 2 > self._octets_max:
            self._parts.clear()
        else:
            self._parts.append(part)

    def _finish(self) -> None:
        self.octets -= 2  # the CRLF of the command
        if not self.too_large:
            self.content = dot_unstuffed(b"".join(self._parts)[2:])
        self._parts.clear()
