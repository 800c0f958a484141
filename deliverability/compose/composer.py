"""Compile a template to a `Skeleton`, and compose letters with it.

The hot path of §5 of the design.

Budget beside the signature: 110 µs a message of 27 KB HTML and text with twenty holes, 60 µs at 10
KB (`bench/`).
"""

from __future__ import annotations

__all__ = ("Skeleton", "compile_template")

import re
from collections.abc import Mapping
from hashlib import blake2b, sha256

import minijinja
import msgspec

from deliverability import tokens
from deliverability.compose.addresses import parse_domain, parse_mailbox
from deliverability.compose.fields import FieldWriter
from deliverability.compose.languages import language_of, languages_of, written_in
from deliverability.compose.lexer import lex
from deliverability.compose.plaintext import derive_text
from deliverability.compose.skeleton import BodySource, Filler, inline
from deliverability.compose.source import check_sources, environment, lines_of, located
from deliverability.compose.template import Composed, Letter, Profile, Template
from deliverability.compose.tracking import SCOPE, LetterLinks, track_html
from deliverability.compose.unsubscribe import Unsubscribe
from deliverability.compose.values import clean_variables
from engine.errors import InputError, Place

_SECTION = "\x1f"
_MAX_RENDERED = 4_000_000  # characters of dynamic text
_METHOD = re.compile(r"(?:<|&lt;)(?:built-in|bound) method \w+ of ")
_message_id = re.compile(r"[0-9a-f]{32}").fullmatch
_TEXT_HEAD = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML_HEAD = (
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)


class _Variant(msgspec.Struct, frozen=True):
    """The body of a skeleton, with links as they are or tracked."""

    name: str
    filler: Filler
    targets: tuple[tuple[int, str], ...] = ()


class Skeleton:
    """A template version, compiled for a tenant's profile.

    Pure: holds no clock and no state between letters.

    Not to be pickled: each process compiles its own (some ms), keyed by the template's version.
    """

    def __init__(self, template: Template, profile: Profile) -> None:
        self._by_language: Mapping[str, Skeleton] = {}
        if template.texts:
            own, *others = languages_of(template)
            self._by_language = {
                one: Skeleton(written_in(template, one), profile) for one in others
            }
            template = written_in(template, own)
        self.template = template
        self.profile = profile
        self._sources = lines_of(template)
        check_sources(template, self._sources)
        _check_profile(profile)
        self._boundary = _boundary(template)
        self._env = environment(template.language)
        self._headers = FieldWriter(template, profile, self._boundary)
        self._plain = self._variant("plain.html", tracked=False)
        self._tracked = self._plain
        if _tracks(template, profile):
            self._tracked = self._variant("tracked.html", tracked=True)
        declared = template.variables or ()
        self._fallbacks = [(v.name, v.fallback) for v in declared if v.fallback is not None]
        self._required = [v.name for v in declared if v.fallback is None]
        self._unsubscribe = Unsubscribe(profile)

    def compose(self, letter: Letter) -> Composed:
        """Compose one letter; deterministic. Hot path.

        Raises: InputError: the letter can't be composed: an address that isn't one, a variable
        missing or not JSON, an expression that fails on these values. Nothing else is raised,
        whatever the values are.
        """
        if self._by_language:
            known = (self.template.language, *self._by_language)
            other = self._by_language.get(language_of(letter.variables, known))
            if other is not None:
                return other.compose(letter)
        if not _message_id(letter.message_id_hex):
            raise InputError("a message id is 32 hexadecimal digits", Place(path="message_id_hex"))
        mailbox = parse_mailbox(letter.recipient, "recipient")
        leave = self._unsubscribe.of(letter)
        sections, body, digest = self._body(letter, leave.url)
        wire, canonical, fields = self._headers.write(letter, mailbox, sections, leave)
        return Composed(
            headers=wire.encode(),
            body=body,
            canonical=canonical.encode(),
            fields=fields,
            body_hash=digest,
            recipient=str(mailbox),
            reverse_path=letter.reverse_path,
            smtputf8=mailbox.smtputf8 or self._headers.smtputf8,
        )

    def _body(self, letter: Letter, unsubscribe_url: str) -> tuple[list[str], bytes, bytes]:
        """Render; give the header sections, the body and its hash."""
        variant, context = self._plain, self._context(letter, unsubscribe_url)
        if self._tracked is not self._plain and self._may_track(letter):
            variant = self._tracked
            context[SCOPE] = self._links(letter, variant)
        *sections, rendered = self._render(variant, context)
        try:
            body = variant.filler.fill(rendered)
        except KeyError:
            raise InputError("a literal holds control characters", self._place()) from None
        if self.template.html:
            return sections, body, variant.filler.digest(body)
        return sections, *_lone_text(body)

    def _context(self, letter: Letter, unsubscribe_url: str) -> dict[str, object]:
        context = clean_variables(letter.variables)
        journey = context.get("journey")
        if isinstance(journey, dict) and "event" in context:
            journey.setdefault("event", context["event"])  # the message carries it once
        context["message_id"] = letter.message_id_hex
        if unsubscribe_url:
            context["unsubscribe_url"] = unsubscribe_url
        for name, fallback in self._fallbacks:
            if context.get(name) is None:
                context[name] = fallback
        for name in self._required:
            if context.get(name) is None:
                raise InputError(
                    f"the variable {name!r} is missing",
                    self._place(),
                    "give it, or declare a fallback",
                )
        return context

    def _render(self, variant: _Variant, context: Mapping[str, object]) -> list[str]:
        try:
            rendered = self._env.render_template(variant.name, **context)
        except minijinja.TemplateError as error:
            raise self._mistake(error, context) from None
        except InputError as error:  # of a function of ours, which doesn't know where it stands
            error.place = self._place()
            raise
        if len(rendered) > _MAX_RENDERED:
            raise InputError(f"renders more than {_MAX_RENDERED} characters", self._place())
        if " object at 0x" in rendered and _METHOD.search(rendered):
            raise InputError("prints a method", self._place(), "call it: `x.items()`, or `x|items`")
        sections = rendered.replace("\r", "").split(_SECTION)
        if len(sections) != self._headers.sections + 1:
            raise InputError("a literal holds control characters", self._place())
        return sections

    def _mistake(self, error: minijinja.TemplateError, context: Mapping[str, object]) -> InputError:
        """Find the part and line that fail, by rendering the parts as their author wrote them."""
        for part, source in self._sources.items():
            try:
                self._env.render_str(source, part, **context)
            except minijinja.TemplateError as found:
                return located(found, self.template.name, part, source)
        return InputError(error.detail or error.kind, self._place())

    def _variant(self, name: str, *, tracked: bool) -> _Variant:
        source, filler, targets = self._compile_body(tracked=tracked)
        headers = _SECTION.join(
            f"{{% with %}}{inline(lex(self._sources[part]))}{{% endwith %}}"
            for part in self._headers.rendered
        )
        text = f"{{% autoescape false %}}{headers}{_SECTION}{source}"
        try:
            self._env.add_template(name, text)
        except minijinja.TemplateError as error:
            raise InputError(
                f"no text can be derived from the HTML ({error.detail or error.kind})",
                self._place(),
                "give the text part",
            ) from None
        return _Variant(name, filler, targets)

    def _compile_body(self, *, tracked: bool) -> tuple[str, Filler, tuple[tuple[int, str], ...]]:
        html = lex(self._sources.get("html", ""))
        written = self._sources.get("text")
        text = derive_text(html) if written is None else lex(written)
        targets: tuple[tuple[int, str], ...] = ()
        if tracked:
            found = track_html(html, self.template.track_clicks, self.template.track_opens)
            html, targets = found.tokens, found.targets
        edge = b"--" + self._boundary.encode()
        body = BodySource(edge + b"\r\n" + _TEXT_HEAD if self.template.html else b"")
        body.plain("{% with %}")
        body.template(text)
        body.plain("{% endwith %}{% endautoescape %}")
        if self.template.html:
            body.structure(b"\r\n" + edge + b"\r\n" + _HTML_HEAD)
            body.template(html)
            body.structure(b"\r\n" + edge + b"--\r\n")
        source, filler = body.finish()
        return source, filler, targets

    def _may_track(self, letter: Letter) -> bool:
        tracking = self.profile.tracking
        return letter.track and tracking is not None and letter.stream in tracking.streams

    def _links(self, letter: Letter, variant: _Variant) -> LetterLinks:
        tracking, ring = self.profile.tracking, self.profile.keys
        assert tracking is not None, "tracked only with a domain"
        assert ring is not None, "tracked only with keys"
        stamp = tokens.Stamp(
            tokens.tenant_tag(letter.tenant),
            bytes.fromhex(letter.message_id_hex),
            tokens.last_day(letter.date_ms, tracking.ttl_days),
            ring,
        )
        return LetterLinks(variant.targets, tracking.domain, stamp)

    def _place(self) -> Place:
        return Place(file=self.template.name)


def compile_template(template: Template, profile: Profile) -> Skeleton:
    """Compile a template once a version.

    Raises:
        InputError: the first mistake of the template or the profile, with part, line and column.
    """
    return Skeleton(template, profile)


def _tracks(template: Template, profile: Profile) -> bool:
    return bool(
        profile.tracking
        and profile.keys
        and template.html
        and (template.track_clicks or template.track_opens)
    )


def _check_profile(profile: Profile) -> None:
    """What needs signed tokens needs keys."""
    tracking = profile.tracking
    if tracking:
        host, _, port = tracking.domain.partition(":")
        parse_domain(host, "profile.tracking.domain")
        if port and not (port.isascii() and port.isdigit()):
            raise InputError("not a port", Place(path="profile.tracking.domain"))
    if profile.keys is None and (tracking or profile.unsubscribe_url or profile.unsubscribe_mailto):
        raise InputError(
            "tracking and unsubscribe addresses need keys to sign tokens",
            Place(path="profile.keys"),
        )


def _boundary(template: Template) -> str:
    """RFC 2045 §6.7.

    `=_` can't occur in quoted-printable text, hence no line can be taken for a boundary.
    """
    return "=_" + blake2b(template.name.encode(), digest_size=9).hexdigest()


def _lone_text(body: bytes) -> tuple[bytes, bytes]:
    """A body of text alone ends in one CRLF: RFC 6376 §3.4.4 ignores empty lines at the end."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    body = body[:end] + b"\r\n" if end else b""
    return body, sha256(body).digest()
