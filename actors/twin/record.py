"""What a twin took, on record: a line for each mail and recipient, and the newest mails themselves.

In the folder of a twin:

    received.ndjson         a line for each mail and recipient: {"message_id", "at", "reverse_path",
                            "forward_path", "provider", "size"}, "signature" where it was verified
    mails-000000000001.dat  mails one after the other: a line of JSON (`MailHead`), then the content
    mails-000000000001.idx  16 bytes a mail: offset, length of the head, length of the content

The number in a name is that of the first mail in it. Appending a mail is two buffered writes; when
`keep` would be passed, the oldest segment is removed whole, so that three quarters of `keep` or
more stay.
"""

from __future__ import annotations

__all__ = (
    "INDEX_ENTRY",
    "MailHead",
    "Received",
    "Recorder",
    "RecorderOptions",
    "Segment",
    "header_of",
    "message_id_of",
    "segments",
    "signed",
)

import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

INDEX_ENTRY = struct.Struct("<QII")
_SEGMENTS = 4
_HEADER_OCTETS_MAX = 65_536
_BUFFER_OCTETS = 1 << 20
_NAME = re.compile(r"mails-(\d{12})\.dat")
# The bracketed form of RFC 5322 §3.6.4 first, whatever else there is next; the line may be folded.
_MESSAGE_ID = re.compile(
    rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(?:<([^<>\r\n]{1,990})>|([^\r\n]{0,990}))",
    re.IGNORECASE | re.MULTILINE,
)
_SIGNED = re.compile(rb"^dkim-signature[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Received(msgspec.Struct, frozen=True):
    """One line of `received.ndjson`. `at` is the twin's time in ms.

    `signature` is absent where it wasn't verified, else `none`, `pass`, `fail`, or `unknown` (no
    key).
    """

    message_id: str
    at: int
    reverse_path: str
    forward_path: str
    provider: str
    size: int
    signature: str | msgspec.UnsetType = msgspec.UNSET


class MailHead(msgspec.Struct, frozen=True):
    """What stands before a kept mail: the envelope as it was taken."""

    at: int
    reverse_path: str
    recipients: tuple[tuple[str, str], ...]
    """Forward-path and provider."""
    tls: bool = False
    source: str = ""


class RecorderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept. Every mail is in `received.ndjson`, whatever these say."""

    keep: int = 2000
    """Newest mails whose content is kept; 0 keeps none."""
    keep_every: int = 1
    """Keep each nth mail alone."""
    fresh: bool = False
    """Begin with an empty `received.ndjson` instead of going on with the one there is."""


class Segment(NamedTuple):
    """A file of kept mails and the number of its first mail."""

    first: int
    path: Path

    @property
    def index_path(self) -> Path:
        """The index beside it."""
        return self.path.with_suffix(".idx")

    def mails(self) -> int:
        """Count the mails that are whole."""
        try:
            return self.index_path.stat().st_size // INDEX_ENTRY.size
        except FileNotFoundError:
            return 0


def segments(folder: Path) -> list[Segment]:
    """List the segments of a twin's folder, oldest first."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("mails-*.dat"))
    return sorted(
        Segment(int(match[1]), folder / match.string) for match in found if match is not None
    )


def header_of(content: bytes) -> bytes:
    """Give the header section, or as much of it as is looked at."""
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS_MAX)
    return content[: end if end >= 0 else _HEADER_OCTETS_MAX]


def message_id_of(header: bytes) -> str:
    """Find the Message-ID without its brackets; "" where there is none. RFC 5322 §3.6.4."""
    match = _MESSAGE_ID.search(header)
    if match is None:
        return ""
    return (match[1] or match[2] or b"").strip().decode("utf-8", "replace")


def signed(header: bytes) -> bool:
    """Tell whether there is a DKIM-Signature field. RFC 6376 §3.5."""
    return _SIGNED.search(header) is not None


class Recorder:
    """Writes the record. Lines and mails are buffered until `flush`; `close` leaves nothing out.

    One recorder to a folder at a time; `received` puts the lines into a file elsewhere.

    Raises:
        OSError: from any method, where the files can't be written.
    """

    def __init__(
        self, folder: Path, options: RecorderOptions | None = None, received: Path | None = None
    ) -> None:
        self._folder = folder
        self._options = options or RecorderOptions()
        folder.mkdir(parents=True, exist_ok=True)
        mode = "wb" if self._options.fresh else "ab"
        self._lines = (received or folder / "received.ndjson").open(mode, _BUFFER_OCTETS)
        self._encode = msgspec.json.Encoder().encode
        kept = segments(folder)
        self._old = [segment for segment in kept if segment.mails()]
        for segment in kept:
            if not segment.mails():
                _remove(segment)
        self._next = self._old[-1].first + self._old[-1].mails() if self._old else 1
        self._seen = 0
        self._offset = 0
        self._in_segment = 0
        self._mails: BinaryIO | None = None
        self._index: BinaryIO | None = None
        self.lines = 0
        """Lines written by this recorder."""
        self.kept = 0
        """Mails whose content this recorder wrote."""

    def line(self, received: Received) -> None:
        """Put one mail for one recipient on record."""
        self._lines.write(self._encode(received) + b"\n")
        self.lines += 1

    def mail(self, head: MailHead, content: bytes) -> None:
        """Keep a mail, if it is one to be kept."""
        options = self._options
        self._seen += 1
        if options.keep <= 0 or (self._seen - 1) % options.keep_every:
            return
        if self._mails is None or self._in_segment >= max(1, options.keep // _SEGMENTS):
            self._begin_segment()
        assert self._mails is not None
        assert self._index is not None
        raw = self._encode(head) + b"\n"
        self._index.write(INDEX_ENTRY.pack(self._offset, len(raw), len(content)))
        self._mails.write(raw)
        self._mails.write(content)
        self._offset += len(raw) + len(content)
        self._in_segment += 1
        self._next += 1
        self.kept += 1

    def flush(self) -> None:
        """Let readers see all that was written so far; the index last, it never points at nothing."""
        self._lines.flush()
        if self._mails is not None and self._index is not None:
            self._mails.flush()
            self._index.flush()

    def close(self) -> None:
        """Write the rest and close the files. A second call does nothing."""
        self._lines.close()
        self._end_segment()

    def _begin_segment(self) -> None:
        self._end_segment()
        path = self._folder / f"mails-{self._next:012d}.dat"
        segment = Segment(self._next, path)
        # The index is held back by its buffer until `flush`, which writes the mails before it.
        self._mails = path.open("wb", _BUFFER_OCTETS)
        self._index = segment.index_path.open("wb", _BUFFER_OCTETS)
        self._offset = 0
        self._in_segment = 0
        self._old.append(segment)
        self._drop_old()

    def _drop_old(self) -> None:
        """Drop the oldest segments, so that with a full new one no more than `keep` are left."""
        share = max(1, self._options.keep // _SEGMENTS)
        counts = [segment.mails() for segment in self._old[:-1]]
        while counts and sum(counts) + share > self._options.keep:
            counts.pop(0)
            _remove(self._old.pop(0))

    def _end_segment(self) -> None:
        if self._mails is not None and self._index is not None:
            self._mails.close()
            self._index.close()
            self._mails = self._index = None


def _remove(segment: Segment) -> None:
    segment.index_path.unlink(missing_ok=True)
    segment.path.unlink(missing_ok=True)
