"""How a message becomes signed bytes: template from the catalog, letter, skeleton, signatures.

What belongs to a tenant (keys, From, reverse-path domain) is made once; what belongs to a template version once a
version.
"""

from __future__ import annotations

__all__ = ("Letterhead", "MailRenderer", "compile_template_object", "letterheads", "load_keys")

import os
from collections.abc import Callable, Mapping

import msgspec

from actors.dkim_state import configured_keys, read_pem, signing_keys
from actors.worker.injected import Blobs, InjectedRenderer
from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.template import Letter, Profile, Template, Tracking
from deliverability.dkim.keys import SigningKey, load_key
from deliverability.dkim.signer import sign
from deliverability.guard import Guard
from deliverability.injected import BLOB, MAIL, RAW, caller_reverse_path
from deliverability.reverse_path import make as make_reverse_path
from deliverability.tokens import KeyRing, tenant_tag
from deliverability.transport.target import Rendered
from engine.config import Config, Tenant
from engine.errors import InputError, RefusedError
from engine.keyspace import name_of
from engine.machine import CatalogView
from engine.vocabulary import Message

_TEMPLATE = msgspec.json.Decoder(Template)


class Letterhead(msgspec.Struct, frozen=True):
    """What all mail of a tenant has in common. `keys` changes in place when other keys sign (`actors.dkim_watch`)."""

    profile: Profile
    keys: list[SigningKey]
    ring: KeyRing
    tag: int
    reverse_path_domain: str
    guard: Guard


def letterheads(config: Config, secret_of: Callable[[Tenant], bytes]) -> Mapping[str, Letterhead]:
    """Make the letterheads of a deployment. `secret_of` gives the bytes that sign reverse-paths and links."""
    return {tenant.name: _letterhead(config, tenant, secret_of(tenant)) for tenant in config.tenant}


def _letterhead(config: Config, tenant: Tenant, secret: bytes) -> Letterhead:
    domain = tenant.from_address.rpartition("@")[2] or next(iter(tenant.from_domains), "localhost")
    ring = KeyRing(0, {0: secret})
    keys = load_keys(config, tenant)
    profile = Profile(
        message_id_domain=domain,
        feedback_sender=tenant.name,
        unsubscribe_url=f"{tenant.public_url}/u/" if tenant.public_url else "",
        unsubscribe_mailto=f"unsubscribe@{tenant.reverse_path_domain or domain}",
        tracking=_tracking(tenant),
        keys=ring,
    )
    return Letterhead(
        profile,
        keys,
        ring,
        tenant_tag(tenant.name),
        tenant.reverse_path_domain or domain,
        Guard(config.delivery.mode, config.delivery.allow, tenant.from_domains),
    )


def load_keys(config: Config, tenant: Tenant) -> list[SigningKey]:
    """Load the keys that sign a tenant's mail now. Raises: ConfigError, InputError: one can't be used."""
    # a rotation that has switched is on record in the data directory; see `veredus dkim rotate`
    return [
        load_key(
            read_pem(key, os.environ), key.domain, key.selector, key.key_file or f"${key.key_env}"
        )
        for key in signing_keys(config, configured_keys(config, tenant))
    ]


def _tracking(tenant: Tenant) -> Tracking | None:
    scheme, _, host = tenant.public_url.partition("://")
    if tenant.tracking == "none" or scheme != "https":
        return None
    return Tracking(domain=host)


def compile_template_object(
    heads: Mapping[str, Letterhead],
) -> Callable[[str, str, bytes], Skeleton]:
    """Give the catalog's compiler of templates."""

    def compile_object(tenant: str, name: str, content: bytes) -> Skeleton:
        head = heads.get(tenant)
        if head is None:
            raise InputError(f"template {name} is of an unknown tenant {tenant!r}")
        return compile_template(_TEMPLATE.decode(content), head.profile)

    return compile_object


class MailRenderer:
    """Renders and signs for the egress of one worker.

    Args:
        heads: letterhead by tenant.
        catalog: gives the catalog in use.
        blobs: where content lies that came with its message.
    """

    def __init__(
        self,
        heads: Mapping[str, Letterhead],
        catalog: Callable[[], CatalogView],
        blobs: Blobs,
    ) -> None:
        self._heads = heads
        self._catalog = catalog
        self._injected = InjectedRenderer(blobs, compile_template_object(heads), self._published)

    def reverse_path(self, message: Message) -> bytes:
        """Give the signed reverse-path. Raises: RefusedError: the recipient isn't one of those allowed."""
        head = self._heads[message.tenant]
        refusal = head.guard.recipient_refusal(message.address)
        if refusal:
            raise RefusedError(
                refusal, mend="allow it in the configuration, or use the mode `twin`"
            )
        kept = caller_reverse_path(message)
        if kept is not None:
            return kept.encode()
        local = make_reverse_path(head.tag, message.message_id, head.ring, message.date)
        return f"{local}@{head.reverse_path_domain}".encode()

    def render(self, message: Message) -> Rendered:
        """Render and sign. The same message gives the same bytes, at every attempt."""
        head = self._heads[message.tenant]
        letter = Letter(
            message_id_hex=message.message_id.hex(),
            tenant=message.tenant,
            recipient=message.address,
            date_ms=message.date,
            variables=message.variables,
            display_name=message.display_name,
            stream=message.stream,
            scenario=message.scenario,
            campaign=message.step,
            contact=name_of(message.contact).decode() if message.contact else "",
            topic=message.topic,
        )
        if message.template.startswith((RAW, MAIL)):
            return self._injected.render(message, letter, head.keys)
        composed = self._skeleton(message).compose(letter)
        signatures = sign(composed, head.keys, message.date)
        content = b"".join((signatures, composed.headers, b"\r\n", composed.body))
        return Rendered(content, dot_free=composed.dot_free)

    def _skeleton(self, message: Message) -> Skeleton:
        name = message.template
        if name.startswith(BLOB):
            return self._injected.skeleton(message.tenant, name)
        return self._published(message.tenant, name)

    def _published(self, tenant: str, name: str) -> Skeleton:
        found = self._catalog().find("template", tenant, name)
        if isinstance(found, Skeleton):
            return found
        raise InputError(
            f"there is no template {name!r}", mend="publish it, or mend the scenario's `send`"
        )
