"""`POST /v1/messages`: what an item says, and how it becomes a request to send. Pure."""

from __future__ import annotations

__all__ = (
    "AttachmentIn",
    "DsnIn",
    "InlineIn",
    "MessageIn",
    "RecipientIn",
    "check_message",
    "key_of",
    "send_request",
    "template_of",
)

from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from actors.backend import Addressee, SendRequest
from actors.gateway.wire import (
    ADDRESS_PATTERN,
    REVERSE_PATH_PATTERN,
    Fault,
    FaultsError,
    Name,
    Time,
    ms_of,
    name_fault,
)
from actors.submission.content import Brought, contact_of
from deliverability.compose.template import ExtraHeader, Template
from deliverability.injected import envelope_variables, is_reference
from deliverability.smtp.envelope import DsnOptions, dsn_mistake
from engine.config import Config
from engine.ids import derive
from engine.keyspace import contact_key
from engine.settings_text import did_you_mean
from engine.vocabulary import TRANSACTIONAL, SendDirect

_LATER = b',"require_tls":false,"dsn":null}'
RECIPIENTS_MAX = 1000
ATTACHMENTS_MAX = 50

_Address = Annotated[str, Meta(max_length=320, pattern=ADDRESS_PATTERN)]
_Line = Annotated[str, Meta(max_length=1000)]
_Source = Annotated[str, Meta(max_length=2_000_000)]


class RecipientIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recipient. `contact` left out, it is made from the address; `variables` go over those of the message."""

    contact: Name | None = None
    address: _Address = ""
    variables: dict[str, Any] = {}


class InlineIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template of the message's own, in minijinja's language. `text` left out is derived from the HTML."""

    subject: _Line
    html: _Source = ""
    text: _Source | None = None
    from_address: _Address = ""
    from_name: _Line = ""
    reply_to: _Address = ""
    headers: dict[Annotated[str, Meta(max_length=40)], _Line] = {}


class AttachmentIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attachment: `content` in base64. With `content_id` the HTML may show it as `cid:…`."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    content: bytes
    type: Annotated[str, Meta(max_length=201)] = "application/octet-stream"
    content_id: Annotated[str, Meta(max_length=200)] = ""


class DsnIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which notifications the servers on the way are asked for (RFC 3461); they go to the reverse-path."""

    notify: list[Literal["success", "failure", "delay", "never"]] = []
    ret: Literal["", "full", "headers"] = ""
    envelope_id: Annotated[str, Meta(max_length=100)] = ""


class MessageIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message outside any scenario, to one recipient or to many.

    The recipient: `contact` or `address` or both (`address` left out, the contact's own is taken), or a list `to`. The
    content: one of `template` (published), `inline`, and `raw` (a whole MIME message in base64, sent as it is).
    `reverse_path` keeps one of yours for a raw message ("<>" the null one); left out, ours is used, which tells us
    of bounces. `require_tls`: to be sent only over TLS with a server that DANE or MTA-STS names, and that promises the
    same (RFC 8689); else it bounces. `dsn` is for raw messages.
    """

    idempotency_key: Name | None = None
    contact: Name | None = None
    address: _Address = ""
    to: Annotated[list[RecipientIn], Meta(max_length=RECIPIENTS_MAX)] = []
    template: Name | None = None
    inline: InlineIn | None = None
    raw: bytes | None = None
    attachments: Annotated[list[AttachmentIn], Meta(max_length=ATTACHMENTS_MAX)] = []
    variables: dict[str, Any] = {}
    stream: Name = TRANSACTIONAL
    pool: Annotated[str, Meta(max_length=63, pattern=r"^$|^[a-z0-9][a-z0-9_-]*$(?!\n)")] = ""
    campaign: Annotated[str, Meta(max_length=200)] = ""
    reverse_path: Annotated[str, Meta(max_length=254, pattern=REVERSE_PATH_PATTERN)] = ""
    send_at: Time = None
    expires_at: Time = None
    require_tls: bool = False
    dsn: DsnIn | None = None


def check_message(item: MessageIn, config: Config, now: int) -> None:
    """Check what no single field can say. Raises: FaultsError: the first mistake."""
    _check_content(item)
    _check_recipients(item)
    if config.stream(item.stream) is None:
        near = did_you_mean(item.stream, [*config.streams, "transactional", "marketing"])
        detail = f"there is no stream {item.stream!r}" + (f" ({near})" if near else "")
        raise FaultsError([Fault("stream", detail)])
    expires = ms_of(item.expires_at, 0)
    if expires and expires <= ms_of(item.send_at, now):
        raise FaultsError([Fault("expires_at", "it expires before it is due")])


def _check_content(item: MessageIn) -> None:
    given = [
        name
        for name, value in (
            ("template", item.template),
            ("inline", item.inline),
            ("raw", item.raw),
        )
        if value is not None
    ]
    if len(given) != 1:
        told = " and ".join(given) or "none"
        detail = f"expected one of template, inline and raw, got {told}"
        raise FaultsError([Fault(given[1] if given else "template", detail)])
    if item.template is not None and is_reference(item.template):
        raise FaultsError([Fault("template", "no template is named so: expected a published one")])
    if item.raw is not None and item.attachments:
        raise FaultsError([Fault("attachments", "a raw message brings its own")])
    if item.raw is None and item.reverse_path:
        raise FaultsError([Fault("reverse_path", "only a raw message may keep one of yours")])
    if item.dsn is not None:
        if item.raw is None:
            raise FaultsError([Fault("dsn", "only a raw message may ask for notifications")])
        wrong = dsn_mistake(dsn_options(item.dsn))
        if wrong:
            raise FaultsError([Fault("dsn", wrong)])


def _check_recipients(item: MessageIn) -> None:
    alone = item.contact is not None or bool(item.address)
    if alone and item.to:
        raise FaultsError([Fault("to", "give either `to`, or `contact` and `address`")])
    if not alone and not item.to:
        raise FaultsError(
            [Fault("contact", "missing: a recipient is `contact`, `address` or `to`")]
        )
    for number, recipient in enumerate(item.to):
        if recipient.contact is None and not recipient.address:
            raise FaultsError([Fault(f"to[{number}].contact", "missing, and no address is given")])


def template_of(inline: InlineIn) -> Template:
    """Make the template that a message brings."""
    return Template(
        name="inline",
        subject=inline.subject,
        html=inline.html,
        text=inline.text if inline.html or inline.text is not None else "",
        from_address=inline.from_address,
        from_name=inline.from_name,
        reply_to=inline.reply_to,
        headers=tuple(ExtraHeader(name, value) for name, value in inline.headers.items()),
    )


def dsn_options(asked: DsnIn) -> DsnOptions:
    """Put what was asked into the words of an envelope."""
    ret: dict[str, Literal["", "FULL", "HDRS"]] = {"": "", "full": "FULL", "headers": "HDRS"}
    notify = ",".join(dict.fromkeys(one.upper() for one in asked.notify))
    return DsnOptions(ret=ret[asked.ret], envelope_id=asked.envelope_id, notify=notify)


def send_request(
    item: MessageIn, content: Brought, tenant: str, key: str, now: int, config: Config
) -> SendRequest:
    """Make the request; a message's id is derived from its contact, the idempotency key and its number.

    `item` was checked; `content` stands for what it brings, or names a published template.
    """
    stream = config.stream(item.stream)
    assert stream is not None, "checked"
    recipients = item.to or [RecipientIn(contact=item.contact, address=item.address)]
    due, expires = ms_of(item.send_at, now), ms_of(item.expires_at, 0)
    dsn = dsn_options(item.dsn) if item.dsn is not None else None
    envelope = envelope_variables(require_tls=item.require_tls, dsn=dsn)
    items = []
    for number, recipient in enumerate(recipients):
        contact = recipient.contact or contact_of(recipient.address)
        parts = (str(number),) if number else ()
        body = SendDirect(
            message_id=derive(contact_key(tenant, contact), b"direct", tenant, key, *parts),
            template=content.template,
            variables=(content.variables or {**item.variables, **recipient.variables}) | envelope,
            stream=item.stream,
            address=recipient.address,
            message_class=stream.message_class,
            due=due,
            expires=expires,
            pool=item.pool,
            campaign=item.campaign,
        )
        items.append(Addressee(contact, body))
    return SendRequest(tenant, key, _digest(item), tuple(items))


def key_of(item: MessageIn, header_key: str | None, number: int | None) -> str:
    """Give the idempotency key: of the item, or of the request's header (with the item's number in a list).

    Raises: FaultsError: there is none, or there are two.
    """
    if header_key is not None:
        fault = name_fault(header_key)
        if fault:
            raise FaultsError([Fault("Idempotency-Key", fault)])
    if number is None:
        if header_key and item.idempotency_key and header_key != item.idempotency_key:
            raise FaultsError([Fault("idempotency_key", "differs from the header Idempotency-Key")])
        key = header_key or item.idempotency_key
    else:
        key = item.idempotency_key or (f"{header_key}\x1f{number}" if header_key else None)
    if not key:
        detail = (
            "give it here or in the header Idempotency-Key, so that a repeat sends nothing twice"
        )
        raise FaultsError([Fault("idempotency_key", detail)])
    return key


def _digest(item: MessageIn) -> bytes:
    """Hash what was asked for, whatever the order of its fields and wherever the key stood."""
    asked = msgspec.structs.replace(item, idempotency_key=None)
    told = msgspec.json.encode(asked, order="deterministic")
    if told.endswith(_LATER):  # what doesn't ask for what came later is what it was
        told = told.removesuffix(_LATER) + b"}"
    return sha256(told).digest()
