"""The whole of it: all checks on one subject, in one pass that asks DNS as it goes."""

from __future__ import annotations

__all__ = ("examine",)

from collections.abc import Sequence
from email.utils import getaddresses

from deliverability.compose.addresses import parse_mailbox
from deliverability.dns.asking import Asking
from deliverability.policy.dkim_signature import SignatureVerdict
from deliverability.preflight.authorship import check_alignment, check_dmarc, check_domains
from deliverability.preflight.findings import Notes, Report
from deliverability.preflight.form import check_form
from deliverability.preflight.keys import check_keys, check_signatures
from deliverability.preflight.links import check_links
from deliverability.preflight.message import Mail, author_of, read_mail
from deliverability.preflight.names import check_names
from deliverability.preflight.page import read_page
from deliverability.preflight.parts import check_parts
from deliverability.preflight.sending import check_sending
from deliverability.preflight.sources import check_sources
from deliverability.preflight.subject import Subject
from deliverability.preflight.unsubscribing import (
    check_endpoint,
    check_one_click,
    check_visible_link,
)
from engine.errors import InputError


def examine(subject: Subject, now: int) -> Asking[Report]:
    """Examine a subject. Never raises for what DNS or the message hold; `now` in ms."""
    notes = Notes()
    mail = read_mail(subject.message) if subject.message else None
    if (
        not subject.from_domain
    ):  # a message without an author: its form says so, and nothing else can be asked
        if mail is not None:
            check_form(subject.message, mail, notes)
        return notes.report(subject.target, subject.kind, now, subject.notes)
    yield from check_sources(subject, notes)
    yield from check_keys(subject, notes)
    verdicts: list[SignatureVerdict] = []
    if mail is not None:
        verdicts = yield from check_signatures(subject, mail, notes, now)
    author = yield from check_dmarc(subject, notes)
    yield from check_alignment(subject, author, _signers(subject, mail, verdicts), notes)
    yield from check_domains(subject, author, _reply_domains(mail), notes)
    check_sending(subject, mail, notes)
    if mail is not None:
        yield from _examine_mail(subject, mail, verdicts, notes)
    return notes.report(subject.target, subject.kind, now, subject.notes)


def _examine_mail(
    subject: Subject, mail: Mail, verdicts: Sequence[SignatureVerdict], notes: Notes
) -> Asking[None]:
    """What only a message can show."""
    page = read_page(mail.html) if mail.html is not None else None
    check_form(subject.message, mail, notes)
    check_one_click(subject, mail, verdicts, notes)
    check_endpoint(subject, mail, notes)
    check_visible_link(subject, mail, page, notes)
    check_parts(mail, page, notes)
    if page is not None:
        yield from check_links(subject, page, notes)
    yield from check_names(author_of(mail)[0], subject.from_domain, notes)


def _signers(
    subject: Subject, mail: Mail | None, verdicts: Sequence[SignatureVerdict]
) -> tuple[str, ...]:
    """Domains that DKIM speaks for: of signatures that verify, or without a message of the keys."""
    if mail is not None:
        return tuple(one.signature.domain for one in verdicts if one.passes)
    return (*(key.domain for key in subject.keys), *(domain for _, domain in subject.selectors))


def _reply_domains(mail: Mail | None) -> tuple[str, ...]:
    domains = []
    for _, address in getaddresses([mail.first("reply-to")])[:5] if mail else ():
        try:
            domains.append(parse_mailbox(address).domain)
        except InputError:
            continue  # its form is another check's
    return tuple(domains)
