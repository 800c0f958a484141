"""Preflight of a campaign before it starts: its templates as they will be sent, against what providers demand.

`sample` composes and signs one letter of a template, as a message would be. `CampaignPreflight` examines the published
templates of a campaign and asks DNS; where something blocks, the campaign starts only with an operator's override,
which goes on record. In mode `twin`, where nothing leaves, nothing is asked.
"""

from __future__ import annotations

__all__ = ("CampaignPreflight", "Sample", "blocking", "override_words", "sample")

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from actors.worker.rendering import Letterhead
from deliverability.compose.composer import compile_template
from deliverability.compose.source import environment
from deliverability.compose.template import Letter, Template
from deliverability.dkim.signer import sign
from deliverability.dns.asking import Asking
from deliverability.preflight.examine import examine
from deliverability.preflight.findings import Report
from deliverability.preflight.message import author_of, read_mail
from deliverability.preflight.subject import Facts, Source, Stream, Subject
from engine.config import DEFAULT_STREAMS, Config, Tenant
from engine.errors import InputError, RefusedError, TransportError
from engine.store.catalog_files import CatalogFiles
from scenarios.campaign import Campaign

SHOWN_MAX = 5
_SAMPLE_ID = "00" * 16
_SAMPLE_READER = "reader@example.net"
_TLS = {"required": "required", "opportunistic": "opportunistic", "none": "never"}
_TEMPLATE = msgspec.json.Decoder(Template)

Resolve = Callable[[Asking[Report]], Awaitable[Report]]
"""Answers what an examination asks DNS."""


class Sample(msgspec.Struct, frozen=True):
    """A message as it would be sent, and the variables that nobody gave."""

    message: bytes
    made_up: tuple[str, ...]


def sample(
    template: Template,
    tenant: Tenant,
    head: Letterhead,
    stream: str,
    given: Mapping[str, object],
    now: int,
) -> Sample:
    """Compose and sign one letter; variables that nobody gives get their own name as value.

    Raises: InputError: the letter can't be composed.
    """
    made_up = {name: name for name in _undeclared(template) if name not in given}
    letter = Letter(
        message_id_hex=_SAMPLE_ID,
        tenant=tenant.name,
        recipient=_SAMPLE_READER,
        date_ms=now,
        variables={**made_up, **given},
        stream=stream,
        campaign="preflight",
        scenario=template.name,
    )
    composed = compile_template(template, head.profile).compose(letter)
    signatures = sign(composed, head.keys, now)
    raw = b"".join((signatures, composed.headers, b"\r\n", composed.body))
    return Sample(raw, tuple(sorted(made_up)))


class CampaignPreflight:
    """Examines campaigns.

    Args:
        config: of the instance.
        heads: of its tenants.
        resolve: asks DNS.
        now: wall time, ms.
    """

    def __init__(
        self,
        config: Config,
        heads: Mapping[str, Letterhead],
        resolve: Resolve,
        now: Callable[[], int],
    ) -> None:
        self._config = config
        self._heads = heads
        self._resolve = resolve
        self._now = now

    async def reports(self, tenant_name: str, campaign: Campaign) -> list[Report]:
        """Examine each template of a campaign once; none where nothing leaves.

        Raises: InputError: a template isn't published, or can't be composed. RefusedError: DNS can't be asked.
        """
        tenant = self._config.tenant_named(tenant_name)
        if tenant is None or self._config.delivery.mode == "twin":
            return []
        found = []
        for name in dict.fromkeys(campaign.templates().values()):
            subject = self._subject(tenant, name, campaign)
            try:
                found.append(await self._resolve(examine(subject, self._now())))
            except TransportError as error:
                mend = "this machine needs a resolver, or the campaign an override"
                raise RefusedError(f"preflight can't ask DNS: {error}", mend=mend) from error
        return found

    def _subject(self, tenant: Tenant, name: str, campaign: Campaign) -> Subject:
        config, head = self._config, self._heads[tenant.name]
        stream = campaign.send.stream
        made = sample(_published(config, tenant.name, name), tenant, head, stream, {}, self._now())
        domain = author_of(read_mail(made.message))[2]
        policy = config.stream(stream)
        relay = config.delivery.relay.starttls if config.delivery.mode == "relay" else ""
        selectors = tuple(key.selector for key in tenant.dkim)
        streams = tuple(
            Stream(one, domain, selectors) for one in sorted({*DEFAULT_STREAMS, *config.streams})
        )
        return Subject(
            target=f"campaign {campaign.name}, template {name}",
            kind="template",
            from_domain=domain,
            mail_from_domain=tenant.reverse_path_domain or domain,
            message=made.message,
            marketing=stream != "transactional",
            sources=tuple(
                Source(one.address, one.ehlo_name or config.delivery.ehlo_name)
                for one in config.source
                if one.address
            ),
            keys=tuple(head.keys),
            tls=_TLS.get(relay, ""),  # type: ignore[arg-type]  # the values of the table
            asks_consent=bool(policy.consent_topic) if policy else None,
            facts=Facts(stream=streams),
        )


def blocking(reports: list[Report]) -> list[str]:
    """Name what blocks, each once: check, subject, what was found and how to mend it."""
    said = [
        f"{one.check} ({one.subject}): {one.found}" + (f"; mend: {one.mend}" if one.mend else "")
        for report in reports
        for one in report.findings
        if one.verdict == "block"
    ]
    return list(dict.fromkeys(said))


def override_words(reports: list[Report], reason: str) -> str:
    """Say for the record what was overridden, and why."""
    checks = dict.fromkeys(
        one.check for report in reports for one in report.findings if one.verdict == "block"
    )
    return f"preflight overridden ({', '.join(checks)}): {reason}"


def _published(config: Config, tenant: str, name: str) -> Template:
    files = CatalogFiles(Path(config.data_dir) / "catalog")
    for item in files.head().items:
        if (item.section, item.tenant, item.name) == ("template", tenant, name):
            return _TEMPLATE.decode(files.objects.get(item.digest))
    raise InputError(f"there is no template {name!r}", mend="publish it")


def _undeclared(template: Template) -> set[str]:
    """Names that a template uses and nobody gives; what can't be parsed is told when it is compiled."""
    import minijinja

    env = environment()
    names: set[str] = set()
    for source in (template.subject, template.html, template.text or ""):
        try:
            names |= set(env.undeclared_variables_in_str(source))
        except minijinja.TemplateError:
            continue
    return names - {"unsubscribe_url", "message_id"} - set(env.globals)
