"""What may be shown of a session: commands and replies; no secrets, no content, no mailboxes. Pure.

< 220 mx.example.org ESMTP
> EHLO out.shop.example
> MAIL FROM:<…@bounce.shop.example> BODY=8BITMIME
> AUTH PLAIN …
> (content, 27612 octets)
"""

from __future__ import annotations

__all__ = ("Direction", "Redactor", "TraceLine")

import re
from typing import Literal

import msgspec

Direction = Literal["<", ">", "*"]
"""What the server said, what we said, what happened (TLS, close)."""

_LINE_MAX = 1000
_MAILBOX = re.compile(rb"(?i)[^\s<>@:\"]+(?=@[^\s>]+)")
_BDAT = re.compile(rb"(?i)BDAT (\d{1,18})")
_AUTH = re.compile(rb"(?i)AUTH( [!-~]{1,20})?")


class TraceLine(msgspec.Struct, frozen=True):
    """A line of a trace. `at_ms`: since the session began."""

    at_ms: int
    direction: Direction
    text: str


class Redactor:
    """Reads both directions of one session, and gives lines that may be shown.

    Content is told by its length; the line that ends it, by being alone. While AUTH goes on nothing of ours is shown.
    """

    def __init__(self) -> None:
        self._ours = b""
        self._theirs = b""
        self._data = False  # a DATA was written
        self._content = False  # its 354 came: what follows is content
        self._octets = 0
        self._chunk_left = 0
        self._auth = False

    def sent(self, data: bytes, at_ms: int) -> list[TraceLine]:
        """Take octets that we wrote."""
        lines: list[TraceLine] = []
        self._ours += data
        while self._ours and self._step(lines, at_ms):
            pass
        return lines

    def received(self, data: bytes, at_ms: int) -> list[TraceLine]:
        """Take octets that the server wrote."""
        lines: list[TraceLine] = []
        self._theirs = (self._theirs + data)[-65_536:]
        while b"\n" in self._theirs:
            line, _, self._theirs = self._theirs.partition(b"\n")
            line = line.rstrip(b"\r")
            last = line[3:4] != b"-"
            if self._data and line.startswith(b"354"):  # replies to MAIL and RCPT may come before
                self._data = False
                self._content = True
            if self._auth and last and not line.startswith(b"334"):
                self._auth = False
            shown = (
                b"334 \xe2\x80\xa6"
                if line.startswith(b"334")
                else _MAILBOX.sub(b"\xe2\x80\xa6", line)
            )
            lines.append(_line(at_ms, "<", shown))
        return lines

    def _step(self, lines: list[TraceLine], at_ms: int) -> bool:
        """Take one piece of what we wrote; False: more octets are needed."""
        if self._chunk_left:
            taken = min(self._chunk_left, len(self._ours))
            self._ours = self._ours[taken:]
            self._chunk_left -= taken
            return True
        if self._content:
            return self._take_content(lines, at_ms)
        line, found, rest = self._ours.partition(b"\n")
        if not found:
            return False
        self._ours = rest
        lines.append(_line(at_ms, ">", self._command(line.rstrip(b"\r"))))
        return True

    def _take_content(self, lines: list[TraceLine], at_ms: int) -> bool:
        ours = self._ours
        whole = self._octets == 0 and ours.startswith(b".\r\n")
        end = 0 if whole else ours.find(b"\r\n.\r\n")
        if end < 0:
            keep = min(len(ours), 4)  # the end may be cut in two
            self._octets += len(ours) - keep
            self._ours = ours[len(ours) - keep :]
            return False
        octets = self._octets + end + (0 if whole else 2)
        self._ours = ours[end + (3 if whole else 5) :]
        self._octets, self._content = 0, False
        lines.append(TraceLine(at_ms, ">", f"(content, {octets} octets)"))
        return True

    def _command(self, line: bytes) -> bytes:
        if self._auth:
            return b"\xe2\x80\xa6"
        auth = _AUTH.match(line)
        if auth:
            self._auth = True
            return auth.group() + b" \xe2\x80\xa6"
        chunk = _BDAT.match(line)
        if chunk:
            self._chunk_left = int(chunk.group(1))
        elif line.upper() == b"DATA":
            self._data = True
        return _MAILBOX.sub(b"\xe2\x80\xa6", line)


def _line(at_ms: int, direction: Direction, line: bytes) -> TraceLine:
    text = line[:_LINE_MAX].decode("utf-8", "replace")
    return TraceLine(at_ms, direction, "".join(c if c.isprintable() else "�" for c in text))
