"""Attachments: what a template composed becomes the first part of a multipart message.

    multipart/mixed                      or, with attachments that have a Content-ID,
      what was composed                    multipart/related around what was composed
      attachments

Names and types come from strangers; each is checked or encoded, so that no value ends its field (RFC 5322 §2.2,
RFC 2183, RFC 2231 for names outside ASCII). Content is always base64, in lines of 76.
"""

from __future__ import annotations

__all__ = ("Assembled", "Attachment", "assemble", "check_attachment", "encode_content")

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote

import msgspec

from deliverability.compose.template import Composed, Template
from engine.errors import InputError, Place

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]{1,60}")
_LINE = 76
_SEGMENT = 54  # of an encoded name: `\r\n filename*12=` and it stay below 78


class Attachment(msgspec.Struct, frozen=True):
    """One attachment; its content is the blob `digest`. With a `content_id` the HTML may show it (RFC 2392)."""

    name: str
    content_type: str
    digest: str
    content_id: str = ""


class Assembled(msgspec.Struct, frozen=True):
    """A message of a template with attachments: `template` is one of its own, or `named` one of the catalog."""

    attachments: tuple[Attachment, ...]
    named: str = ""
    template: Template | None = None


def check_attachment(one: Attachment, path: str) -> None:
    """Check type, name and Content-ID. Raises: InputError: with its path."""
    if not _TYPE.fullmatch(one.content_type):
        raise InputError("expected a media type such as image/png", Place(path=f"{path}.type"))
    if one.content_type.lower().startswith(("multipart/", "message/")):
        # RFC 2046 §5.1, §5.2.1: neither may be base64
        raise InputError("neither multipart nor message", Place(path=f"{path}.type"), "use raw")
    if one.content_id and not _CONTENT_ID.fullmatch(one.content_id):
        raise InputError("expected letters, digits and .@-_", Place(path=f"{path}.content_id"))
    if not one.name or not one.name.isprintable() or len(one.name) > 200:
        raise InputError("expected 1 to 200 printable characters", Place(path=f"{path}.name"))


def encode_content(content: bytes) -> bytes:
    """Encode in lines of 76, each with CRLF. RFC 2045 §6.8."""
    text = b64encode(content)
    return b"".join(text[at : at + _LINE] + b"\r\n" for at in range(0, len(text), _LINE))


def assemble(
    composed: Composed, attachments: Sequence[Attachment], encoded: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Put attachments behind what was composed. Returns headers (without the empty line) and body.

    Args:
        composed: the message without them; its Content fields become those of the first part.
        attachments: what to say of each.
        encoded: the content of each, by `encode_content`.
    """
    headers, inner = _parted(composed.headers)
    shown = [pair for pair in zip(attachments, encoded, strict=True) if pair[0].content_id]
    apart = [pair for pair in zip(attachments, encoded, strict=True) if not pair[0].content_id]
    part = inner + b"\r\n" + composed.body
    for kind, pairs in (("related", shown), ("mixed", apart)):
        if pairs:
            boundary = _boundary(kind, attachments)
            part = _multipart(kind, boundary, part, pairs)
    head, _, body = part.partition(b"\r\n\r\n")
    return headers + head + b"\r\n", body


def _parted(headers: bytes) -> tuple[bytes, bytes]:
    """Take the Content fields out of a header section that we composed."""
    kept: list[bytes] = []
    taken: list[bytes] = []
    into = kept
    for line in headers.splitlines(keepends=True):
        if not line.startswith((b" ", b"\t")):
            into = taken if line.lower().startswith(b"content-") else kept
        into.append(line)
    return b"".join(kept), b"".join(taken)


def _multipart(
    kind: str, boundary: bytes, first: bytes, pairs: Sequence[tuple[Attachment, bytes]]
) -> bytes:
    """Make a part (with its fields) of a first part and attachments. RFC 2046 §5.1, RFC 2387."""
    pieces = [f"Content-Type: multipart/{kind};\r\n".encode()]
    pieces.append(b' boundary="' + boundary + b'"\r\n\r\n--' + boundary + b"\r\n" + first)
    for attachment, encoded in pairs:
        pieces += [b"\r\n--", boundary, b"\r\n", _fields(attachment), b"\r\n", encoded]
    pieces += [b"\r\n--", boundary, b"--\r\n"]
    return b"".join(pieces)


def _fields(one: Attachment) -> bytes:
    disposition = "inline" if one.content_id else "attachment"
    lines = [f"Content-Type: {one.content_type}", "Content-Transfer-Encoding: base64"]
    lines.append(f"Content-Disposition: {disposition};\r\n {_name(one.name)}")
    if one.content_id:
        lines.append(f"Content-ID: <{one.content_id}>")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _name(name: str) -> str:
    """Give the parameter `filename`: quoted, or in the segments of RFC 2231 §4.1."""
    if _QUOTABLE.fullmatch(name):
        return f'filename="{name}"'
    encoded = quote(name, safe="")
    segments: list[str] = []
    while encoded:
        end = _SEGMENT
        while "%" in encoded[max(end - 2, 0) : end] and end < len(encoded):
            end -= 1  # no segment ends within an encoded octet
        segments.append(encoded[:end])
        encoded = encoded[end:]
    if len(segments) == 1:
        return f"filename*=utf-8''{segments[0]}"
    first = f"filename*0*=utf-8''{segments[0]}"
    return ";\r\n ".join(
        [first, *(f"filename*{n}*={text}" for n, text in enumerate(segments[1:], 1))]
    )


def _boundary(kind: str, attachments: Sequence[Attachment]) -> bytes:
    """`=_` stands in no quoted-printable or base64 line. RFC 2045 §6.7."""
    told = "\0".join((kind, *(one.digest for one in attachments)))
    return b"=_" + blake2b(told.encode(), digest_size=9).hexdigest().encode()
