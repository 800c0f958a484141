"""Templates, letters and readers that several tests of this package use."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import minijinja
import msgspec

from deliverability.compose.composer import Skeleton
from deliverability.compose.template import Composed, Letter, Profile, Template

NOW = 1_700_000_000_000
ID = "00112233445566778899aabbccddeeff"


def letter(**changes: object) -> Letter:
    return msgspec.structs.replace(Letter(ID, "acme", "ann@receiver.example", NOW), **changes)


def template(html: str, text: str | None = None, subject: str = "News") -> Template:
    return Template("letter@1", subject, html, "news@sender.example", text=text)


def compose(made: Template, profile: Profile | None = None, **changes: object) -> Composed:
    return Skeleton(made, profile or Profile()).compose(letter(**changes))


def parse(composed: Composed) -> EmailMessage:
    raw = composed.headers + b"\r\n" + composed.body
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def parts(composed: Composed) -> dict[str, str]:
    """The decoded text of each part by its type, with LF."""
    found = {}
    for part in parse(composed).walk():
        if not part.is_multipart():
            raw = part.get_payload(decode=True)
            assert isinstance(raw, bytes)
            found[part.get_content_type()] = raw.decode().replace("\r\n", "\n")
    return found


def reference(source: str, name: str, **context: object) -> str:
    """What minijinja itself makes of a source."""
    env = minijinja.Environment(undefined_behavior="strict")
    return env.render_str(source, name, **context)
