"""Row 7: the form of a message. RFC 5322 §2.1 (lines), §3.6 (fields and how often each may stand)."""

from __future__ import annotations

__all__ = ("check_form",)

import re
from email.utils import getaddresses, parsedate_to_datetime

from deliverability.compose.addresses import parse_mailbox
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.message import Mail, has_lone_line_end
from engine.errors import InputError

_LINE_MAX = 998  # RFC 5322 §2.1.1
_HEADER_MAX = 64 * 1024  # no RFC's figure; servers refuse header sections of 64 to 256 KB
_SIZE_MAX = 25_000_000  # the smallest limit among the large providers
_ONCE = (
    *("date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to"),
    *("references", "subject", "mime-version", "content-type", "content-transfer-encoding"),
    *("list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id"),
)
_NEEDED = ("from", "date", "message-id")
_message_id = re.compile(r"<[^<>@\s]+@[^<>@\s]+>").fullmatch
_field_name = re.compile(rb"[!-9;-~]+[ \t]*").fullmatch


def check_form(raw: bytes, mail: Mail, notes: Notes) -> None:
    """Check lines and fields; each fault is a finding of its own."""
    faults = [*_lines(raw), *_fields(mail), *_values(mail)]
    for found, mend in faults:
        notes.failed("form", "the message", found, mend)
    if not faults:
        found = f"{len(mail.fields)} fields, {len(raw):,} octets"
        notes.passed("form", "the message", found)
    if len(raw) > _SIZE_MAX:
        mend = "send a link instead of what makes it so large"
        notes.failed("weight", "the message", f"{len(raw):,} octets", mend, Verdict.BLOCK)


def _lines(raw: bytes) -> list[tuple[str, str]]:
    faults = []
    if has_lone_line_end(raw):
        faults.append(("a bare CR or LF", "end each line in CRLF"))
    if b"\x00" in raw:
        faults.append(("a NUL character", "encode the part: base64 or quoted-printable"))
    longest = max((len(line) for line in raw.split(b"\r\n")), default=0)
    if longest > _LINE_MAX:
        faults.append(
            (
                f"a line of {longest:,} octets",
                f"at most {_LINE_MAX}: encode the part, fold the field",
            )
        )
    if len(raw.partition(b"\r\n\r\n")[0]) > _HEADER_MAX:
        faults.append((f"a header of more than {_HEADER_MAX:,} octets", "make it shorter"))
    return faults


def _fields(mail: Mail) -> list[tuple[str, str]]:
    faults = []
    for name in _ONCE:
        times = len(mail.all(name))
        if times > 1:
            faults.append((f"{name} stands {times} times", "leave one (RFC 5322 §3.6)"))
        elif not times and name in _NEEDED:
            faults.append((f"there is no {name}", "add it (RFC 5322 §3.6)"))
    for line in mail.headers.split(b"\r\n"):
        label, colon, _ = line.partition(b":")
        if line[:1] not in (b" ", b"\t", b"") and not (colon and _field_name(label)):
            faults.append(
                (f"not a field: {line[:60].decode('latin-1')!r}", "`Name: value` is expected")
            )
            break
    if not mail.headers.isascii():
        mend = "write it in encoded words (RFC 2047), or every server on the way needs SMTPUTF8"
        faults.append(("a field has characters that aren't ASCII", mend))
    return faults


def _values(mail: Mail) -> list[tuple[str, str]]:
    faults = []
    if mail.all("from"):
        faults += _author(mail)
    if mail.all("message-id") and not _message_id(mail.first("message-id")):
        found = f"Message-ID is {mail.first('message-id')[:80]!r}"
        faults.append((found, "one <left@right> is expected (RFC 5322 §3.6.4)"))
    if mail.all("date") and not _is_date(mail.first("date")):
        found = f"Date is {mail.first('date')[:80]!r}"
        faults.append((found, "such as: Mon, 23 Nov 2026 09:00:00 +0000 (RFC 5322 §3.3)"))
    return faults


def _author(mail: Mail) -> list[tuple[str, str]]:
    authors = getaddresses([mail.first("from")])
    if len(authors) > 1:
        return [
            (
                f"From has {len(authors)} authors",
                "one address: DMARC checks no more (RFC 9989 §5.3.1)",
            )
        ]
    try:
        parse_mailbox(authors[0][1] if authors else "")
    except InputError as error:
        return [(f"From {mail.first('from')[:80]!r} is {error.message}", "give one address")]
    return []


def _is_date(value: str) -> bool:
    try:
        parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return True
