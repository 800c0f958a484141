"""What an application brings instead of a published template: checked, made durable as blobs, and referred to.

Nothing is accepted whose From isn't the tenant's to use, and nothing that couldn't be rendered: a template of its own
is compiled, raw MIME is read, before any id is given. DESIGN §3, "Large bodies are blobs".
"""

from __future__ import annotations

__all__ = (
    "AttachmentBrought",
    "Brought",
    "Injector",
    "brought_raw",
    "contact_of",
    "from_refusal",
)

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import getaddresses
from hashlib import blake2b
from typing import Any

import msgspec

from actors.worker.injected import Blobs
from actors.worker.rendering import Letterhead
from deliverability.compose.attaching import Assembled, Attachment, check_attachment
from deliverability.compose.composer import compile_template
from deliverability.compose.raw import RawMessage, prepare_raw
from deliverability.compose.template import Template
from deliverability.dkim.canonical import split_headers
from deliverability.injected import BLOB, MAIL, RAW, raw_variables
from engine.catalog import digest_of
from engine.config import Config, Tenant
from engine.errors import InputError, Place
from scenarios.sending import domain_of

_FROM_OCTETS_MAX = 10_000
_COMPILED_MAX = 1024
_FOLDS = re.compile(rb"\r\n[ \t]*")


class Brought(msgspec.Struct, frozen=True):
    """Content that is durable: the name that stands for its template, and what its envelope needs."""

    template: str
    variables: dict[str, Any] = {}


class AttachmentBrought(msgspec.Struct, frozen=True):
    """An attachment with its content."""

    name: str
    content_type: str
    content: bytes
    content_id: str = ""


class Injector:
    """Takes content of applications for all tenants of a deployment.

    Args:
        config: whose domains are whose.
        heads: what the mail of each tenant has in common.
        blobs: where content becomes durable.
        clock_ms: wall time, for the Date of raw mail that has none.
    """

    def __init__(
        self,
        config: Config,
        heads: Mapping[str, Letterhead],
        blobs: Blobs,
        clock_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._heads = heads
        self._blobs = blobs
        self._clock_ms = clock_ms
        self._compiled: dict[tuple[str, str], None] = {}
        self._writing = asyncio.Lock()

    async def template(
        self, tenant: str, template: Template, attachments: Sequence[AttachmentBrought] = ()
    ) -> Brought:
        """Take a template of the message's own, with attachments if it likes.

        Raises: InputError: the first mistake, with its path; StoreError: it isn't durable.
        """
        owner = self._tenant(tenant)
        template = _with_sender(template, owner)
        refusal = from_refusal(owner, self._config, [domain_of(template.from_address)])
        if refusal:
            raise InputError(refusal, Place(path="from_address"))
        made = msgspec.json.encode(template)
        self._compile(tenant, template, digest_of(made))
        if attachments:
            return await self.attached(tenant, "", template, attachments)
        return Brought(BLOB + await asyncio.to_thread(self._blobs.objects.put, made))

    async def attached(
        self,
        tenant: str,
        named: str,
        template: Template | None,
        attachments: Sequence[AttachmentBrought],
    ) -> Brought:
        """Take attachments to a template, published (`named`) or of the message's own.

        Raises: InputError; StoreError.
        """
        self._tenant(tenant)
        told = []
        for number, one in enumerate(attachments):
            about = Attachment(one.name, one.content_type, digest_of(one.content), one.content_id)
            check_attachment(about, f"attachments[{number}]")
            told.append(about)
        mail = msgspec.json.encode(Assembled(tuple(told), named, template))

        def put() -> str:
            for one in attachments:
                self._blobs.objects.put(one.content)
            return self._blobs.objects.put(mail)

        return Brought(MAIL + await asyncio.to_thread(put))

    def read_raw(self, tenant: str, raw: bytes) -> RawMessage:
        """Check a whole MIME message and complete it. Pure but for the clock.

        Raises: InputError: it can't be sent, or its From isn't the tenant's to use.
        """
        owner = self._tenant(tenant)
        domain = owner.from_address.rpartition("@")[2] or "localhost"
        message = prepare_raw(
            raw, self._clock_ms(), f"{digest_of(raw)}@{domain}", owner.from_address
        )
        refusal = from_refusal(owner, self._config, _from_domains(message.headers))
        if refusal:
            raise InputError(refusal, Place(path="raw.From"))
        return message

    def check_reverse_path(self, tenant: str, reverse_path: str | None) -> None:
        """Check a reverse-path that is to be kept: it is null, or of a domain of the tenant's. Raises: InputError."""
        if reverse_path:
            refusal = from_refusal(self._tenant(tenant), self._config, [domain_of(reverse_path)])
            if refusal:
                told = refusal.replace("From domain", "reverse-path's domain")
                raise InputError(told, Place(path="reverse_path"))

    async def keep_raw(self, messages: Sequence[RawMessage]) -> list[str]:
        """Make raw messages durable, all with one sync. Returns their references.

        Raises: StoreError: none may be referred to.
        """
        blobs = [message.headers + b"\r\n" + message.body for message in messages]
        async with self._writing:  # a segment has one writer
            references = await asyncio.to_thread(self._blobs.segments.put, blobs)
        return [RAW + reference for reference in references]

    async def raw(self, tenant: str, raw: bytes, reverse_path: str | None = None) -> Brought:
        """Take one whole MIME message. Raises: InputError; StoreError."""
        message = self.read_raw(tenant, raw)
        (template,) = await self.keep_raw([message])
        return brought_raw(template, message, reverse_path)

    def _tenant(self, name: str) -> Tenant:
        found = self._config.tenant_named(name)
        assert found is not None, "the edge has authenticated the tenant"
        return found

    def _compile(self, tenant: str, template: Template, digest: str) -> None:
        """Compile it once, to find its mistakes."""
        if (tenant, digest) in self._compiled:
            return
        compile_template(template, self._heads[tenant].profile)
        if len(self._compiled) >= _COMPILED_MAX:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[tenant, digest] = None


def brought_raw(template: str, message: RawMessage, reverse_path: str | None) -> Brought:
    """Say what stands for a raw message that is durable."""
    variables = raw_variables(
        reverse_path=reverse_path, eight_bit=message.eight_bit, smtputf8=message.smtputf8
    )
    return Brought(template, variables)


def contact_of(address: str) -> str:
    """Make a contact's id from an address, without containing it."""
    return f"address-{blake2b(address.lower().encode(), digest_size=10).hexdigest()}"


def from_refusal(tenant: Tenant, config: Config, domains: Sequence[str]) -> str:
    """Say why From may not be of these domains; empty: it may.

    Without any `from_domains` a tenant may write as anybody, to a twin.
    """
    if not domains or not all(domains):
        return "From has no address"
    if not tenant.from_domains and config.delivery.mode == "twin":
        return ""
    for domain in domains:
        if domain not in tenant.from_domains:
            return f"the From domain {domain[:255]!r} is not among the tenant's from_domains"
    return ""


def _with_sender(template: Template, tenant: Tenant) -> Template:
    if template.from_address:
        return template
    if not tenant.from_address:
        raise InputError("missing", Place(path="from_address"), "or set the tenant's from_address")
    return msgspec.structs.replace(
        template,
        from_address=tenant.from_address,
        from_name=template.from_name or tenant.from_name,
    )


def _from_domains(headers: bytes) -> list[str]:
    """Give the domains of all mailboxes in From. RFC 5322 §3.6.2."""
    for name, value in split_headers(headers):
        if name.strip(b" \t").lower() == b"from":
            if len(value) > _FROM_OCTETS_MAX:
                return []
            text = _FOLDS.sub(b" ", value).decode("utf-8", "replace")
            return [domain_of(address) for _, address in getaddresses([text])]
    return []
