"""A mail taken apart for people to read: header fields, parts, text, and HTML that can do no harm.

Hostile mail is bounded: so many header fields, parts and octets are shown, the rest is named as
left out. Nothing here raises on what a mail contains.
"""

from __future__ import annotations

__all__ = ("HeaderSummary", "Part", "Readable", "read", "summarize")

import base64
import binascii
import re
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import TypeAlias

import msgspec

from actors.twin.record import header_of, message_id_of

PARTS_MAX = 200
"""Parts of a mail that are looked at."""
FIELDS_MAX = 500
"""Header fields that are shown."""
TEXT_OCTETS_MAX = 2 * 1024 * 1024
"""Octets of one text part that are shown."""
_INLINE_OCTETS_MAX = 5 * 1024 * 1024
_VALUE_CHARS_MAX = 20_000
_Leaf: TypeAlias = "Message[str, str]"

_CID = re.compile(r"cid:([^\s\"'()<>]{1,500})", re.IGNORECASE)
_FIELD = re.compile(
    rb"^(subject|from)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class HeaderSummary(msgspec.Struct, frozen=True):
    """What a list needs of a header, decoded."""

    subject: str
    sender: str
    message_id: str


class Part(msgspec.Struct, frozen=True):
    """One leaf of the MIME tree."""

    content_type: str
    file_name: str
    size: int
    inline: bool


class Readable(msgspec.Struct, frozen=True):
    """A mail, readable. `html` and `text` are None where there is no such part."""

    fields: tuple[tuple[str, str], ...]
    html: str | None
    text: str | None
    parts: tuple[Part, ...]
    left_out: tuple[str, ...]
    """What was too much to show, in words."""


def summarize(content: bytes) -> HeaderSummary:
    """Read subject, From and Message-ID from the beginning of a mail."""
    header = header_of(content)
    found: dict[bytes, str] = {}
    for name, value in _FIELD.findall(header):
        found.setdefault(name.lower(), _decoded(value.decode("utf-8", "replace")))
    return HeaderSummary(found.get(b"subject", ""), found.get(b"from", ""), message_id_of(header))


def read(content: bytes) -> Readable:
    """Take a mail apart."""
    left_out: list[str] = []
    try:
        message = BytesParser(policy=compat32).parsebytes(content)
        leaves = _leaves(message, left_out)
    except RecursionError:
        return Readable((), None, None, (), ("its parts are nested too deeply to be taken apart",))
    html = next((leaf for leaf in leaves if _shown(leaf, "text/html")), None)
    text = next((leaf for leaf in leaves if _shown(leaf, "text/plain")), None)
    return Readable(
        fields=_fields(message, left_out),
        html=None if html is None else _with_images(_text(html, left_out), leaves),
        text=None if text is None else _text(text, left_out),
        parts=tuple(_part(leaf) for leaf in leaves),
        left_out=tuple(left_out),
    )


def _leaves(message: _Leaf, left_out: list[str]) -> list[_Leaf]:
    leaves: list[_Leaf] = []
    pending: list[_Leaf] = [message]
    seen = 0
    while pending:
        part = pending.pop(0)
        seen += 1
        if seen > PARTS_MAX:
            left_out.append(f"parts beyond the first {PARTS_MAX}")
            break
        children = part.get_payload() if part.is_multipart() else None
        if isinstance(children, list):
            pending[:0] = [child for child in children if isinstance(child, Message)]
        else:
            leaves.append(part)
    return leaves


def _shown(leaf: _Leaf, content_type: str) -> bool:
    return leaf.get_content_type() == content_type and not leaf.get_filename()


def _payload(leaf: _Leaf) -> bytes:
    try:
        payload = leaf.get_payload(decode=True)
    except (ValueError, binascii.Error):
        return b""
    return payload if isinstance(payload, bytes) else b""


def _text(leaf: _Leaf, left_out: list[str]) -> str:
    octets = _payload(leaf)
    if len(octets) > TEXT_OCTETS_MAX:
        left_out.append(f"all of a {leaf.get_content_type()} part but its first 2 MiB")
        octets = octets[:TEXT_OCTETS_MAX]
    return _in_charset(octets, str(leaf.get_content_charset() or "utf-8"))


def _in_charset(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):  # an unknown name, or one that isn't of characters
        return octets.decode("utf-8", "replace")


def _with_images(html: str, leaves: list[_Leaf]) -> str:
    """Put images that the mail brings with it in the place of their `cid:` addresses. RFC 2392."""
    images: dict[str, str] = {}
    room = _INLINE_OCTETS_MAX
    for leaf in leaves:
        cid = str(leaf.get("Content-ID", "")).strip().strip("<>")
        kind = leaf.get_content_type()
        if not cid or not re.fullmatch(r"image/(png|jpeg|gif|webp|svg\+xml)", kind):
            continue
        octets = _payload(leaf)
        room -= len(octets)
        if room >= 0:
            images[cid] = f"data:{kind};base64,{base64.b64encode(octets).decode()}"
    if not images:
        return html
    return _CID.sub(lambda match: images.get(match[1], match[0]), html)


def _fields(message: _Leaf, left_out: list[str]) -> tuple[tuple[str, str], ...]:
    items = message.items()
    if len(items) > FIELDS_MAX:
        left_out.append(f"header fields beyond the first {FIELDS_MAX}")
    return tuple((name, _decoded(str(value))) for name, value in items[:FIELDS_MAX])


def _part(leaf: _Leaf) -> Part:
    name = leaf.get_filename() or ""
    return Part(
        content_type=leaf.get_content_type(),
        file_name=_decoded(str(name))[:200],
        size=len(_payload(leaf)),
        inline=leaf.get_content_disposition() != "attachment",
    )


def _decoded(value: str) -> str:
    """Decode encoded words and unfold; control and direction characters can't disguise anything."""
    value = " ".join(value[:_VALUE_CHARS_MAX].split())
    try:
        chunks = decode_header(value) if "=?" in value else [(value, None)]
    except (HeaderParseError, ValueError, binascii.Error):
        chunks = [(value, None)]
    text = "".join(
        chunk if isinstance(chunk, str) else _in_charset(chunk, charset or "utf-8")
        for chunk, charset in chunks
    )
    # Octets above 127 come from the parser as surrogates.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
