"""A message taken to pieces for examination: fields, text, HTML, attachments. Bounded, for any bytes."""

from __future__ import annotations

__all__ = ("Attachment", "Mail", "author_of", "has_lone_line_end", "read_mail", "wire_form")

import re
from email.utils import getaddresses
from urllib.parse import unquote

import msgspec

from deliverability.compose.addresses import parse_mailbox
from deliverability.dkim.canonical import split_headers
from deliverability.feedback.mime import Part, decode_words, normal_newlines, split, walk
from engine.errors import InputError

_TEXT_MAX = 2_000_000
_ATTACHMENT_MAX = 40_000_000
_HEAD = 16
_FIELD_MAX = 8_000
_lone = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_charset_value = re.compile(r"^[\w.:-]+'[\w-]*'(.*)$", re.DOTALL)


class Attachment(msgspec.Struct, frozen=True):
    """A part that isn't the text: its name as people see it, its type, its decoded size and first octets."""

    name: str
    kind: str
    size: int
    head: bytes


class Mail(msgspec.Struct, frozen=True):
    """A message. `fields` are (name in lower case, value, unfolded); `headers` and `body` as on the wire.

    `html` and `text` are None where there is no such part; `html_size` is in octets, as Gmail counts.
    """

    headers: bytes
    body: bytes
    fields: tuple[tuple[str, str], ...]
    html: str | None
    html_size: int
    text: str | None
    attachments: tuple[Attachment, ...]

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for held, value in self.fields if held == name]

    def first(self, name: str) -> str:
        """The first value of a field, or ""."""
        return next(iter(self.all(name)), "")


def wire_form(data: bytes) -> bytes:
    """Give a file's message with CRLF: where it has no CRLF at all, its LFs are line ends. Else it stays as it is."""
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


def read_mail(raw: bytes) -> Mail:
    """Take a message to pieces; never raises. `raw` with CRLF."""
    headers, _, body = raw.partition(b"\r\n\r\n")
    if raw.startswith(b"\r\n"):
        headers, body = b"", raw[2:]
    fields = tuple(
        (
            name.strip().decode("latin-1").lower(),
            value[:_FIELD_MAX].replace(b"\r\n", b"").decode("utf-8", "replace").strip(),
        )
        for name, value in split_headers(headers)
    )
    html: str | None = None
    text: str | None = None
    html_size = 0
    attachments: list[Attachment] = []
    for part in walk(split(normal_newlines(raw))):
        if part.kind.startswith("multipart/"):
            continue
        attached = part.header.get("content-disposition").lower().startswith("attachment")
        if part.kind == "text/html" and html is None and not attached:
            html, html_size = _decoded(part), len(part.decoded(_TEXT_MAX))
        elif part.kind == "text/plain" and text is None and not attached:
            text = _decoded(part)
        else:
            attachments.append(_attachment(part))
    return Mail(headers, body, fields, html, html_size, text, tuple(attachments))


def author_of(mail: Mail) -> tuple[str, str, str]:
    """Give (display name, address, domain as A-labels) of From; what can't be read is ""."""
    found = getaddresses([mail.first("from")])
    name, address = found[0] if found else ("", "")
    try:
        domain = parse_mailbox(address).domain
    except InputError:
        domain = ""
    return decode_words(name), address, domain


def has_lone_line_end(raw: bytes) -> bool:
    """Tell whether there is a CR or LF that isn't half of a CRLF."""
    return _lone.search(raw) is not None


def _decoded(part: Part) -> str:
    raw = part.decoded(_TEXT_MAX)
    try:
        return raw.decode(part.parameters.get("charset", "") or "utf-8", "replace")
    except (LookupError, ValueError):
        return raw.decode("utf-8", "replace")


def _attachment(part: Part) -> Attachment:
    name = decode_words(part.filename())
    encoded = _charset_value.match(name)
    shown = unquote(encoded[1]) if encoded else name
    content = part.decoded(_ATTACHMENT_MAX)
    return Attachment(shown, part.kind, len(content), content[:_HEAD])
