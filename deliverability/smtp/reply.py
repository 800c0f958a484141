"""Replies: the type, and a parser that any bytes can be fed to. RFC 5321 §4.2, RFC 3463, RFC 2034.

The parser is strict where leniency would let one reply pass for two: a line ends with CRLF and with
nothing else, and the lines of one reply carry one code. It is lenient where nothing depends on it: text
may be missing, be longer than 512 octets, or hold octets outside ASCII. Control characters never get
through: they could forge lines in a log.
"""

from __future__ import annotations

__all__ = (
    "LINE_OCTETS_MAX",
    "REPLY_LINES_MAX",
    "REPLY_OCTETS_MAX",
    "Reply",
    "ReplyParser",
)

import re

import msgspec

LINE_OCTETS_MAX = 4_096
"""Longest reply line taken; RFC 5321 §4.5.3.1.5 asks for 512, real servers pass it."""
REPLY_LINES_MAX = 128
"""Most lines of one reply; the longest EHLO replies in the field have about 30."""
REPLY_OCTETS_MAX = 32_768
"""Most octets of one reply, all its lines together."""

_KNOWN_MAX = 16  # replies remembered per connection, so that "250 2.1.0 Ok" is parsed once
_KNOWN_OCTETS_MAX = 80

_LINE = re.compile(
    rb"([2-5][0-9][0-9])(?:([ -])(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z))?([^\r\n]*))?"
)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Reply(msgspec.Struct, frozen=True):
    """One reply of a server, as it was sent.

    `enhanced` is `class.subject.detail` of RFC 3463, or empty; it is not checked against `code`, since
    servers that contradict themselves exist and a rule may want to know. `lines` are without code,
    enhanced status code and line end; control and direction characters have become U+FFFD.
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = ("",)

    @property
    def text(self) -> str:
        """All lines, joined by newlines."""
        return "\n".join(self.lines)

    @property
    def positive(self) -> bool:
        """Whether the command succeeded: 2yz. RFC 5321 §4.2.1."""
        return 200 <= self.code < 300

    @property
    def intermediate(self) -> bool:
        """Whether the server waits for more: 3yz."""
        return 300 <= self.code < 400

    @property
    def transient(self) -> bool:
        """Whether the failure may pass: 4yz."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the failure will stay: 5yz."""
        return self.code >= 500

    def encode(self) -> bytes:
        """Bytes of the reply, for a server; the enhanced status code on each line. RFC 2034 §4."""
        enhanced = f"{self.enhanced} " if self.enhanced else ""
        last = len(self.lines) - 1
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{enhanced}{_safe(line)}\r\n".encode()
            for number, line in enumerate(self.lines)
        )

    def __str__(self) -> str:
        """One line: code, enhanced status code, text."""
        return " ".join(part for part in (str(self.code), self.enhanced, *self.lines) if part)


def _safe(text: str) -> str:
    return text if text.isprintable() else _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


class ReplyParser:
    """Incremental parser of replies: fed any bytes in any cuts, it gives replies or a violation.

    Invariant (fuzzed): no exception, memory below `REPLY_OCTETS_MAX` plus one chunk, and the same replies
    however the bytes were cut. Once `violation` says something, nothing more is parsed.
    """

    __slots__ = ("_code", "_enhanced", "_known", "_lines", "_octets", "rest", "violation")

    def __init__(self) -> None:
        self.violation = ""
        """What the peer did wrong; empty as long as it did nothing."""
        self.rest = b""
        """Octets of a line whose end is missing."""
        self._known: dict[bytes, Reply] = {}
        self.clear()

    def clear(self) -> None:
        """Forget what was received but not yet given out, and any violation. RFC 3207 §4.2."""
        self.violation = ""
        self.rest = b""
        self._code = 0
        self._enhanced = ""
        self._lines: list[str] = []
        self._octets = 0

    def receive(self, data: bytes) -> list[Reply]:
        """Parse the next bytes; give the replies that they complete, in order."""
        if self.violation != "":
            return []
        if self.rest:
            data = self.rest + data
        lines = data.split(b"\r\n")
        self.rest = rest = lines.pop()
        replies: list[Reply] = []
        known = self._known
        for line in lines:
            # Most replies of a connection are the same few lines, so they are looked up first.
            reply = known.get(line) if not self._lines else None
            if reply is None:
                reply = self._line(line)
                if reply is None:
                    if self.violation:
                        return replies
                    continue
            replies.append(reply)
        if rest:
            self._check_rest(rest)
        return replies

    def _check_rest(self, rest: bytes) -> None:
        if len(rest) > LINE_OCTETS_MAX:
            self._violate(f"a reply line is longer than {LINE_OCTETS_MAX} octets")
        elif b"\n" in rest or b"\r" in rest[:-1]:
            self._violate("a reply line holds a bare CR or LF")

    def _line(self, line: bytes) -> Reply | None:
        match = _LINE.fullmatch(line)
        if match is None or len(line) > LINE_OCTETS_MAX:
            self._violate(_complaint(line))
            return None
        digits, separator, enhanced_octets, octets = match.groups()
        code = int(digits)
        text = _safe(octets.decode("utf-8", "replace")) if octets else ""
        enhanced = enhanced_octets.decode("ascii") if enhanced_octets else ""
        if separator == b"-" or self._lines:
            return self._one_of_many(code, enhanced, text, more=separator == b"-")
        reply = Reply(code, enhanced, (text,))
        if len(line) <= _KNOWN_OCTETS_MAX:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[line] = reply
        return reply

    def _one_of_many(self, code: int, enhanced: str, text: str, *, more: bool) -> Reply | None:
        if self._lines and code != self._code:
            self._violate(f"a reply began with code {self._code} and goes on with {code}")
            return None
        self._code = code
        self._enhanced = self._enhanced or enhanced
        self._lines.append(text)
        self._octets += len(text) + 6
        if len(self._lines) > REPLY_LINES_MAX or self._octets > REPLY_OCTETS_MAX:
            self._violate(f"a reply has more than {REPLY_LINES_MAX} lines or is too long")
            return None
        if more:
            return None
        reply = Reply(code, self._enhanced, tuple(self._lines))
        self._lines = []
        self._enhanced = ""
        self._octets = 0
        return reply

    def _violate(self, complaint: str) -> None:
        self.violation = complaint
        self.rest = b""
        self._lines = []


def _complaint(line: bytes) -> str:
    if len(line) > LINE_OCTETS_MAX:
        return f"a reply line is longer than {LINE_OCTETS_MAX} octets"
    if b"\n" in line or b"\r" in line:
        return "a reply line holds a bare CR or LF"
    return f"not a reply line: {line[:40]!r}"
