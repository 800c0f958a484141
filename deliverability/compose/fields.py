"""The header section of composed messages.

Which fields, in which order, as sent and in relaxed canonical form.

What a template fixes is written when it is compiled, both ways; a letter adds To, Subject, Date,
Message-ID and what its stream asks for. Order: From, To, Subject, Date, Message-ID, MIME-Version,
Content-Type, Reply-To, Feedback-ID, the template's own, List-Unsubscribe, List-Unsubscribe-Post.
"""

from __future__ import annotations

__all__ = ("FieldWriter",)

import re
from functools import lru_cache

from deliverability.compose.addresses import Mailbox, parse_domain, parse_mailbox
from deliverability.compose.headers import (
    canonical,
    check_field_name,
    date,
    phrase,
    unstructured,
)
from deliverability.compose.template import Letter, Profile, Template
from deliverability.compose.unsubscribe import Leave
from engine.errors import InputError, Place

_RESERVED = frozenset(
    (
        *("from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "sender"),
        *("reply-to", "return-path", "received", "dkim-signature", "authentication-results"),
        *("feedback-id", "list-unsubscribe", "list-unsubscribe-post", "arc-seal"),
        *("arc-message-signature", "arc-authentication-results", "delivered-to"),
    )
)
_RESERVED_STARTS = ("content-", "resent-")
_NOT_IN_FEEDBACK = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_FEEDBACK_PART = 64
_MAX_VALUES = 10_000
_LINE = 76
_POST = "List-Unsubscribe=One-Click"

_date = lru_cache(maxsize=64)(date)  # many letters share a second; a pure function of it


class FieldWriter:
    """Writes the header section for one template and profile.

    Raises:
        InputError: an address, domain or field name isn't one.
    """

    def __init__(self, template: Template, profile: Profile, boundary: str) -> None:
        self._from = parse_mailbox(template.from_address, "from_address")
        self._reply_to = parse_mailbox(template.reply_to, "reply_to") if template.reply_to else None
        self.smtputf8 = self._from.smtputf8 or bool(self._reply_to and self._reply_to.smtputf8)
        domain = profile.message_id_domain
        self._id_end = (
            f"@{parse_domain(domain, 'message_id_domain') if domain else self._from.domain}>\r\n"
        )
        self._extra = [header.name for header in template.headers]
        _check_names(template)
        self.rendered = ("subject", "from_name", *(f"headers.{name}" for name in self._extra))
        self.sections = len(self.rendered)
        self._fixed = _fixed(template, boundary, self._reply_to)
        self._fixed_canonical = "".join(f"{n.lower()}:{canonical(v)}\r\n" for n, v in self._fixed)
        self._fixed_wire = "".join(f"{n}: {v}\r\n" for n, v in self._fixed)
        self._fixed_names = "".join(f":{n.lower()}" for n, _ in self._fixed)
        self._sender = _NOT_IN_FEEDBACK.sub("-", profile.feedback_sender or self._from.domain)
        self._feedback = lru_cache(maxsize=256)(self._feedback_id)

    def write(
        self, letter: Letter, mailbox: Mailbox, sections: list[str], leave: Leave
    ) -> tuple[str, str, str]:
        """Give the lines as sent, their relaxed canonical form, and the names in order.

        Hot path.
        """
        if len(letter.display_name) + sum(map(len, sections)) > _MAX_VALUES:
            raise InputError(
                f"names, subject and own fields have more than {_MAX_VALUES} characters",
                Place(path="headers"),
            )
        sender = _named(sections[1], str(self._from), 6) if sections[1] else f"<{self._from}>"
        to = _named(letter.display_name, str(mailbox), 4) if letter.display_name else f"<{mailbox}>"
        subject = unstructured(sections[0], 9)
        when = _date(letter.date_ms // 1000)
        tail, tail_canonical, names = self._tail(letter, sections, leave)
        wire = (
            f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {when}\r\n"
            f"Message-ID: <{letter.message_id_hex}{self._id_end}{self._fixed_wire}{tail}"
        )
        relaxed = (
            f"from:{canonical(sender)}\r\nto:{canonical(to)}\r\nsubject:{canonical(subject)}\r\n"
            f"date:{when}\r\nmessage-id:<{letter.message_id_hex}{self._id_end}"
            f"{self._fixed_canonical}{tail_canonical}"
        )
        return wire, relaxed, f"from:to:subject:date:message-id{self._fixed_names}{names}"

    def _tail(self, letter: Letter, sections: list[str], leave: Leave) -> tuple[str, str, str]:
        fields: list[tuple[str, str]] = []
        for name, value in zip(self._extra, sections[2:], strict=True):
            field = unstructured(value, len(name) + 2)
            if field:
                fields.append((name, field))
        wire, relaxed, names = self._feedback(
            letter.campaign or letter.scenario, letter.tenant, letter.stream
        )
        if leave.value:
            fields.append(("List-Unsubscribe", leave.value))
            if leave.one_click:
                fields.append(("List-Unsubscribe-Post", _POST))
        if not fields:
            return wire, relaxed, names
        return (
            wire + "".join([f"{n}: {v}\r\n" for n, v in fields]),
            relaxed + "".join([f"{n.lower()}:{canonical(v)}\r\n" for n, v in fields]),
            names + "".join([f":{n.lower()}" for n, _ in fields]),
        )

    def _feedback_id(self, campaign: str, tenant: str, stream: str) -> tuple[str, str, str]:
        """Feedback-ID as Google's Postmaster Tools read it.

        Three parts of our own, then the sender's.
        """
        parts = (
            _NOT_IN_FEEDBACK.sub("-", part)[:_MAX_FEEDBACK_PART]
            for part in (campaign, tenant, stream)
        )
        value = ":".join((*parts, self._sender[:_MAX_FEEDBACK_PART]))
        return f"Feedback-ID: {value}\r\n", f"feedback-id:{value}\r\n", ":feedback-id"


def _named(name: str, address: str, used: int) -> str:
    """A mailbox with display name, RFC 5322 §3.4.

    The address on a line of its own where it must.
    """
    shown = phrase(name, used)
    if not shown:
        return f"<{address}>"
    line = len(shown) - shown.rfind("\n") - 1 + (0 if "\n" in shown else used)
    fold = " " if line + len(address) + 3 <= _LINE else "\r\n "
    return f"{shown}{fold}<{address}>"


def _fixed(template: Template, boundary: str, reply_to: Mailbox | None) -> list[tuple[str, str]]:
    fields = [("MIME-Version", "1.0")]
    if template.html:
        fields.append(("Content-Type", f'multipart/alternative;\r\n boundary="{boundary}"'))
    else:
        fields.append(("Content-Type", "text/plain; charset=utf-8"))
        fields.append(("Content-Transfer-Encoding", "quoted-printable"))
    if reply_to:
        fields.append(("Reply-To", f"<{reply_to}>"))
    return fields


def _check_names(template: Template) -> None:
    seen: set[str] = set()
    for header in template.headers:
        place = Place(file=template.name, path=f"headers.{header.name}")
        check_field_name(header.name, place)
        name = header.name.lower()
        if name in _RESERVED or name.startswith(_RESERVED_STARTS) or name in seen:
            raise InputError(
                "this field is written by Veredus, or given twice", place, "leave it out"
            )
        seen.add(name)
