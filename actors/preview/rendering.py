"""Compose a preview as a worker would compose the mail: same skeleton, same profile, same signatures."""

from __future__ import annotations

__all__ = ("Given", "Hint", "Link", "Preview", "View", "preview")

from email.header import decode_header, make_header
from typing import Any, Literal

import msgspec

from actors.preview.reading import Sender, Subject
from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.languages import language_of, languages_of
from deliverability.compose.samples import sample_variables
from deliverability.compose.template import Letter, Profile
from deliverability.dkim.signer import sign
from deliverability.preflight.findings import Notes
from deliverability.preflight.form import check_form
from deliverability.preflight.message import Mail, author_of, read_mail
from deliverability.preflight.page import Page, read_page
from deliverability.preflight.parts import check_parts
from deliverability.preflight.subject import Subject as Examined
from deliverability.preflight.unsubscribing import check_visible_link
from deliverability.preflight.wording import subject_hints
from deliverability.tokens import KeyRing
from scenarios.state import JourneySend
from scenarios.variables import template_variables

_ID = bytes(16)
_PROFILE = Profile(unsubscribe_url="https://example.net/u/", keys=KeyRing(0, {0: bytes(32)}))
"""Of a sender that isn't configured: links to unsubscribe lead to nobody."""


class Given(msgspec.Struct, frozen=True):
    """What is known of the contact and of the event that opened the journey; None: it is made up."""

    contact: dict[str, Any] | None = None
    event: dict[str, Any] | None = None
    others: dict[str, Any] = {}


class Link(msgspec.Struct, frozen=True):
    """A link of the HTML; `hidden`: nobody sees it."""

    text: str
    href: str
    hidden: bool = False


class Hint(msgspec.Struct, frozen=True):
    """What could cost readers or the inbox; the checks are those of `veredus preflight` that need no DNS."""

    weight: Literal["block", "warn"]
    found: str
    mend: str


class View(msgspec.Struct, frozen=True):
    """A mail in one language. Sizes in octets: of the whole message as sent, of the HTML as Gmail counts (102 KiB)."""

    language: str
    subject: str
    sender: str
    to: str
    headers: list[tuple[str, str]]
    size: int
    html_size: int
    html: str | None
    text: str | None
    links: list[Link]
    hints: list[Hint]


class Preview(msgspec.Struct, frozen=True):
    """What would be sent; `made_up` names the variables whose values nobody gave."""

    template: str
    scenario: str
    version: str
    step: str
    stream: str
    topic: str
    made_up: list[str]
    views: list[View]


def preview(
    subject: Subject, sender: Sender, given: Given, languages: list[str], now: int
) -> Preview:
    """Compose in each language: those asked for, else the contact's, else all that the template has.

    Raises: InputError: the template has a mistake, or a value is missing that the mail needs.
    """
    template, step = subject.template, subject.step
    skeleton = compile_template(template, sender.head.profile if sender.head else _PROFILE)
    variables, made_up = _variables(subject, given)
    known = languages_of(template)
    if not languages:
        told = language_of(variables, known) or known[0]
        languages = [told] if given.contact is not None else list(known)
    return Preview(
        template.name,
        subject.scenario,
        subject.version,
        step.id if step else "",
        step.stream if step else "marketing",
        step.topic if step else "",
        made_up,
        [_view(skeleton, subject, sender, _spoken(variables, one), one, now) for one in languages],
    )


def _variables(subject: Subject, given: Given) -> tuple[dict[str, Any], list[str]]:
    """Give the variables, and the names of those that are made up."""
    samples = sample_variables(subject.template)
    step = subject.step
    contact = samples.pop("contact", {}) if given.contact is None else given.contact
    event = samples.pop("event", {}) if given.event is None else given.event
    caught = samples.pop("journey", {})
    sending = JourneySend(
        _ID,
        subject.scenario or "preview",
        subject.version,
        step.id if step else "preview",
        1,
        0,
        0,
        event,
        caught=caught,
    )
    made_up = [
        *(f"contact.{name}" for name in contact if given.contact is None),
        *(f"event.{name}" for name in event if given.event is None),
        *(f"journey.{name}" for name in caught if name not in _OF_JOURNEY),
        *(name for name in samples if name not in {*given.others, "contact", "event"}),
    ]
    samples = {name: value for name, value in samples.items() if name not in {"contact", "event"}}
    variables = {**samples, **template_variables(contact, sending), **given.others}
    return variables, sorted(made_up)


_OF_JOURNEY = frozenset({"id", "scenario", "version", "step", "visit", "opened_at", "key", "event"})


def _spoken(variables: dict[str, Any], language: str) -> dict[str, Any]:
    """Let the contact speak a language."""
    contact = variables.get("contact")
    contact = contact if isinstance(contact, dict) else {}
    return {**variables, "contact": {**contact, "language": language}}


def _view(
    skeleton: Skeleton,
    subject: Subject,
    sender: Sender,
    variables: dict[str, Any],
    language: str,
    now: int,
) -> View:
    contact = variables["contact"]
    address = contact.get("email")
    letter = Letter(
        message_id_hex=_ID.hex(),
        tenant=sender.tenant.name,
        recipient=address if isinstance(address, str) and address else "ann@example.net",
        date_ms=now,
        variables=variables,
        stream=subject.step.stream if subject.step else "marketing",
        campaign=subject.step.id if subject.step else "preview",
        scenario=subject.scenario or "preview",
        track=False,
    )
    composed = skeleton.compose(letter)
    signatures = sign(composed, sender.head.keys, now) if sender.head and sender.head.keys else b""
    raw = b"".join((signatures, composed.headers, b"\r\n", composed.body))
    mail = read_mail(raw)
    page = read_page(mail.html) if mail.html is not None else None
    return View(
        language,
        _decoded(mail),
        mail.first("from"),
        mail.first("to"),
        list(mail.fields),
        len(raw),
        mail.html_size,
        mail.html,
        mail.text,
        [Link(one.text, one.href, one.hidden) for one in page.links] if page else [],
        _hints(raw, mail, page, letter),
    )


def _hints(raw: bytes, mail: Mail, page: Page | None, letter: Letter) -> list[Hint]:
    notes = Notes()
    examined = Examined(
        target=letter.scenario,
        kind="template",
        from_domain=author_of(mail)[2],
        message=raw,
        marketing=letter.stream != "transactional",
    )
    check_form(raw, mail, notes)
    check_visible_link(examined, mail, page, notes)
    check_parts(mail, page, notes)
    report = notes.report(letter.scenario, "template", letter.date_ms)
    found = [
        Hint("block" if one.verdict == "block" else "warn", f"{one.title}: {one.found}", one.mend)
        for one in report.findings
        if one.verdict != "pass"
    ]
    return [*found, *(Hint("warn", *one) for one in subject_hints(_decoded(mail)))]


def _decoded(mail: Mail) -> str:
    """Give the subject as its reader sees it, its encoded words decoded."""
    return str(make_header(decode_header(mail.first("subject"))))
