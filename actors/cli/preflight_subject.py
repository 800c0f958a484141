"""What `veredus preflight` examines, put together from its target, the configuration and what is told besides.

A domain, a message (`.eml`), or a template (`NAME.toml` with its HTML beside it), which is rendered with given or
made-up values and signed with the tenant's keys, so that what is examined is what would be sent.
"""

from __future__ import annotations

__all__ = ("Told", "subject_of")

import os
import re
from pathlib import Path

import msgspec

from actors.config_file import DEFAULT_FILE, load
from actors.preflighting import sample
from actors.publishing import read_template
from actors.worker.assembly import secret_of
from actors.worker.rendering import Letterhead, letterheads
from deliverability.compose.addresses import parse_domain
from deliverability.dkim.foreign import sign_foreign
from deliverability.preflight.message import author_of, read_mail, wire_form
from deliverability.preflight.subject import Facts, Source, Stream, Subject
from engine.config import DEFAULT_STREAMS, Config, Tenant
from engine.errors import InputError, Place

_MESSAGE_MAX = 60_000_000
_SAMPLE_ID = "00" * 16
_SAMPLE_READER = "reader@example.net"
_TLS = {"required": "required", "opportunistic": "opportunistic", "none": "never"}
_return_path = re.compile(r"<[^<>@]*@([^<>@]+)>").fullmatch


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    target: str
    config: Path | None = None
    tenant: str = ""
    sources: tuple[str, ...] = ()
    mail_from: str = ""
    selectors: tuple[str, ...] = ()
    stream: str = ""
    facts: Path | None = None
    variables: Path | None = None


class _Sender(msgspec.Struct, frozen=True):
    """The tenant that sends, if there is a configuration."""

    config: Config | None
    tenant: Tenant
    head: Letterhead | None


def subject_of(told: Told, now: int) -> Subject:
    """Make the subject. Raises: InputError, ConfigError: a file, an option or a template has a mistake."""
    path = Path(told.target)
    if path.suffix == ".eml" or (path.is_file() and path.suffix != ".toml"):
        return _of_message(told, path, now)
    if path.suffix == ".toml":
        return _of_template(told, path, now)
    domain = parse_domain(told.target, "TARGET")
    sender = _sender(told, domain)
    return _finish(told, sender, Subject(target=told.target, kind="domain", from_domain=domain))


def _of_message(told: Told, path: Path, now: int) -> Subject:
    raw = wire_form(_read(path))
    mail = read_mail(raw)
    domain = author_of(mail)[2]
    sender = _sender(told, domain)
    notes: tuple[str, ...] = ()
    if not mail.all("dkim-signature") and sender.head and sender.head.keys and domain:
        headers, _, body = raw.partition(b"\r\n\r\n")
        raw = sign_foreign(headers, body, sender.head.keys, now) + raw
        notes = ("The message came unsigned, and was signed here as the tenant's mail is.",)
    found = _return_path(mail.first("return-path"))
    return _finish(
        told,
        sender,
        Subject(
            target=told.target,
            kind="message",
            from_domain=domain,
            mail_from_domain=found[1].lower() if found else "",
            message=raw,
            notes=notes,
        ),
    )


def _of_template(told: Told, path: Path, now: int) -> Subject:
    sender = _sender(told, "")
    if sender.config is None or sender.head is None:
        mend = "name it with --config; `veredus init` writes one"
        raise InputError("a template needs a configuration", Place(file=str(path)), mend)
    template = read_template(path, sender.tenant)
    given = _variables(told.variables)
    try:
        made = sample(template, sender.tenant, sender.head, _stream(told, sender), given, now)
    except InputError as error:
        if told.variables is None:
            mend = f"{error.mend}; " if error.mend else ""
            error.mend = f"{mend}give real values with --variables FILE.json"
        raise
    raw = made.message
    notes = (
        (f"Rendered with made-up values for {', '.join(made.made_up)}.",) if made.made_up else ()
    )
    return _finish(
        told,
        sender,
        Subject(
            target=told.target,
            kind="template",
            from_domain=author_of(read_mail(raw))[2],
            message=raw,
            notes=notes,
        ),
    )


def _finish(told: Told, sender: _Sender, subject: Subject) -> Subject:
    """Add what is told and what the configuration says."""
    facts = _facts(told.facts)
    config, head = sender.config, sender.head
    mail_from = told.mail_from or subject.mail_from_domain
    if not mail_from and head is not None:
        mail_from = sender.tenant.reverse_path_domain or subject.from_domain
    stream = _stream(told, sender)
    policy = config.stream(stream) if config else None
    if not facts.stream and config is not None:
        streams = _streams(config, sender, subject.from_domain)
        facts = msgspec.structs.replace(facts, stream=streams)
    relay = config.delivery.relay.starttls if config and config.delivery.mode == "relay" else ""
    return msgspec.structs.replace(
        subject,
        mail_from_domain=parse_domain(mail_from, "--mail-from") if mail_from else "",
        marketing=stream != "transactional",
        sources=(*(_source(text, config) for text in told.sources), *facts.source),
        keys=tuple(key for key in head.keys) if head else (),
        selectors=tuple(_selector(text, subject.from_domain) for text in told.selectors),
        tls=_TLS.get(relay, ""),
        asks_consent=bool(policy.consent_topic) if policy else None,
        facts=facts,
    )


def _sender(told: Told, domain: str) -> _Sender:
    """Find the tenant: named, else the one that has the domain, else the first."""
    if told.config is None and not DEFAULT_FILE.exists():
        return _Sender(None, Tenant(), None)
    config = load(told.config, os.environ)
    tenant = config.tenant_named(told.tenant) if told.tenant else None
    if told.tenant and tenant is None:
        raise InputError(f"there is no tenant {told.tenant!r}", Place(path="--tenant"))
    if tenant is None:
        fitting = [one for one in config.tenant if domain in one.from_domains]
        tenant = next(iter(fitting or config.tenant))
    return _Sender(config, tenant, letterheads(config, secret_of)[tenant.name])


def _stream(told: Told, sender: _Sender) -> str:
    return told.stream or sender.tenant.stream


def _streams(config: Config, sender: _Sender, domain: str) -> tuple[Stream, ...]:
    """The streams of a tenant as the configuration has them: one domain and one set of keys for all."""
    selectors = tuple(key.selector for key in sender.tenant.dkim)
    names = sorted({*DEFAULT_STREAMS, *config.streams})
    return tuple(Stream(name, domain, selectors) for name in names)


def _source(text: str, config: Config | None) -> Source:
    address, _, ehlo = text.partition("=")
    from ipaddress import ip_address

    try:
        shown = str(ip_address(address))
    except ValueError:
        place = Place(path="--source")
        raise InputError(f"{address!r} isn't an IP address", place, "IP or IP=EHLO-NAME") from None
    configured = config.delivery.ehlo_name if config else "localhost"
    return Source(shown, ehlo or ("" if configured == "localhost" else configured))


def _selector(text: str, domain: str) -> tuple[str, str]:
    selector, _, named = text.partition("@")
    return parse_domain(selector, "--selector"), parse_domain(named or domain, "--selector")


def _facts(path: Path | None) -> Facts:
    if path is None:
        return Facts()
    try:
        return msgspec.toml.decode(_read(path), type=Facts)
    except (msgspec.MsgspecError, ValueError) as error:
        mend = "docs/preflight.md has an example"
        raise InputError(str(error), Place(file=str(path)), mend) from error


def _variables(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(_read(path), type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), Place(file=str(path)), "one JSON object") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            raw = opened.read(_MESSAGE_MAX + 1)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(file=str(path))) from None
    if len(raw) > _MESSAGE_MAX:
        raise InputError(f"more than {_MESSAGE_MAX:,} octets", Place(file=str(path)))
    return raw
