"""What goes in and what comes out.

Templates, the profile of a tenant, letters, composed messages.
"""

from __future__ import annotations

__all__ = ("Composed", "ExtraHeader", "Letter", "Profile", "Template", "Tracking", "Variable")

from collections.abc import Mapping

import msgspec

from deliverability.tokens import KeyRing


class Variable(msgspec.Struct, frozen=True):
    """A variable that a template declares.

    Without a fallback it is required, and a letter without it is refused.
    """

    name: str
    fallback: str | int | float | bool | None = None


class ExtraHeader(msgspec.Struct, frozen=True):
    """A header field of the template's own.

    The value is a template too (unstructured text, RFC 5322 §2.2.1).
    """

    name: str
    value: str


class Template(msgspec.Struct, frozen=True):
    """One version of a template, immutable.

    Everything but addresses and names is in minijinja's language.

    HTML is escaped automatically, subject and text are not. `text` None is derived from the HTML;
    `html` "" makes a message of text alone. `variables` None declares nothing: any variable may be
    used, and a missing one refuses the letter. `track_clicks` and `track_opens` need a tracking
    domain in the profile, and a letter that allows it. `texts` by language and key stand where
    `{{ t.key }}` is; `language` ("": English) is that of who has none of theirs, and of plurals.
    """

    name: str
    subject: str
    html: str
    from_address: str
    text: str | None = None
    from_name: str = ""
    reply_to: str = ""
    headers: tuple[ExtraHeader, ...] = ()
    variables: tuple[Variable, ...] | None = None
    track_clicks: bool = True
    track_opens: bool = True
    language: str = ""
    texts: Mapping[str, Mapping[str, str]] = {}


class Tracking(msgspec.Struct, frozen=True):
    """Where links and the open pixel lead: `https://<domain>/c/<token>` and `/o/<token>`.

    Opt-out by stream.
    """

    domain: str
    streams: tuple[str, ...] = ("marketing",)
    ttl_days: int = 400


class Profile(msgspec.Struct, frozen=True):
    """What a tenant's messages have in common.

    `message_id_domain` "" takes the domain of the From address. `feedback_sender` is the last part
    of Feedback-ID, by which Google groups; "" takes the From domain. `unsubscribe_url`
    ("https://…/u/", a token follows) and `unsubscribe_mailto` (an address, a token becomes its
    subject) serve letters that bring none of their own. `keys` sign tokens.
    """

    message_id_domain: str = ""
    feedback_sender: str = ""
    unsubscribe_streams: tuple[str, ...] = ("marketing",)
    unsubscribe_url: str = ""
    unsubscribe_mailto: str = ""
    unsubscribe_ttl_days: int = 400
    keys: KeyRing | None = None
    tracking: Tracking | None = None


class Letter(msgspec.Struct, frozen=True):
    """One message to one recipient.

    The same letter and version of a template give the same bytes, always.

    `message_id_hex` is the id (16 bytes) in hexadecimal; `date_ms` becomes the Date (UTC, ms).
    `reverse_path` is for the envelope and comes back in `Composed`. `track` False (no consent)
    leaves links and pixel alone. `contact` and `topic` are sealed into the unsubscribe token.
    """

    message_id_hex: str
    tenant: str
    recipient: str
    date_ms: int
    variables: Mapping[str, object] = {}
    display_name: str = ""
    reverse_path: str = ""
    stream: str = "transactional"
    campaign: str = ""
    scenario: str = ""
    unsubscribe_url: str = ""
    unsubscribe_mailto: str = ""
    track: bool = True
    contact: str = ""
    topic: str = ""


class Composed(msgspec.Struct, frozen=True):
    """A message ready to be signed and sent.

    `headers` are lines with CRLF, without the empty line that ends them; `body` is a fixed point of
    relaxed canonicalisation, hence `body_hash` (SHA-256) is the `bh=` of RFC 6376. `canonical` are
    the same headers in relaxed form, and `fields` their names in that order, with colons between.
    `dot_free`: no line begins with a dot, so nothing needs RFC 5321 §4.5.2. `smtputf8`: an address
    needs RFC 6531. All is 7-bit unless `smtputf8`.
    """

    headers: bytes
    body: bytes
    canonical: bytes
    fields: str
    body_hash: bytes
    recipient: str = ""
    reverse_path: str = ""
    smtputf8: bool = False
    dot_free: bool = True
