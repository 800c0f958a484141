"""Preflight before a campaign starts and when a scenario is published: templates as they will be sent, against demands.

`sample` composes and signs one letter of a template, as a message would be. `Preflight` examines the published
templates of a campaign or scenario and asks DNS; where something blocks, a campaign starts only with an operator's
override, which goes on record, and a scenario is published as `[preflight] at_publish` says. In mode `twin`, where
nothing leaves, nothing is asked.
"""

from __future__ import annotations

__all__ = (
    "Preflight",
    "PreflightLine",
    "Resolve",
    "Sample",
    "blocking",
    "lines_of",
    "override_words",
    "sample",
)

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from actors.worker.rendering import Letterhead
from deliverability.compose.composer import compile_template
from deliverability.compose.samples import paths_of, sample_variables
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
from scenarios.model import Scenario, Send, walk

SHOWN_MAX = 5
_SAMPLE_ID = "00" * 16
_SAMPLE_READER = "reader@example.net"
_TLS = {"required": "required", "opportunistic": "opportunistic", "none": "never"}
_TEMPLATE = msgspec.json.Decoder(Template)

Resolve = Callable[[Asking[list[Report]]], Awaitable[list[Report]]]
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
    """Compose and sign one letter; what a template uses and nobody gives is made up, as for `veredus preview`.

    Raises: InputError: the letter can't be composed.
    """
    made_up = tuple(path for path in sorted(paths_of(template)) if not _is_given(given, path))
    letter = Letter(
        message_id_hex=_SAMPLE_ID,
        tenant=tenant.name,
        recipient=_SAMPLE_READER,
        date_ms=now,
        variables=_joined(sample_variables(template), given),
        stream=stream,
        campaign="preflight",
        scenario=template.name,
    )
    composed = compile_template(template, head.profile).compose(letter)
    signatures = sign(composed, head.keys, now)
    raw = b"".join((signatures, composed.headers, b"\r\n", composed.body))
    return Sample(raw, made_up)


def _is_given(given: object, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(given, Mapping) or name not in given:
            return False
        given = given[name]
    return True


def _joined(made: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """Put what is given over what is made up, field by field."""
    joined = {**made, **given}
    for name, value in made.items():
        over = given.get(name)
        if isinstance(value, Mapping) and isinstance(over, Mapping):
            joined[name] = _joined(value, over)
    return joined


class PreflightLine(msgspec.Struct, frozen=True):
    """What one check says against a template: `block` or `warn`, what was looked at, what was found, how to mend it."""

    template: str
    verdict: str
    check: str
    subject: str
    found: str
    mend: str = ""


class Preflight:
    """Examines what campaigns and scenarios send.

    Args:
        config: of the instance.
        heads: of its tenants.
        resolve: asks DNS, for one examination: an answer that is kept longer would hide what was just mended.
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

    @property
    def at_publish(self) -> str:
        """What a scenario's publication does with what is found; `off` where nothing leaves."""
        leaves = self._config.delivery.mode != "twin"
        return self._config.preflight.at_publish if leaves else "off"

    async def reports(self, tenant_name: str, campaign: Campaign) -> list[Report]:
        """Examine each template of a campaign once; none where nothing leaves.

        Raises: InputError: a template isn't published, or can't be composed. RefusedError: DNS can't be asked.
        """
        sends = [(name, campaign.send.stream) for name in campaign.templates().values()]
        subjects, mistakes = self._subjects(tenant_name, f"campaign {campaign.name}", sends)
        if mistakes:
            raise mistakes[0]
        return await self._examined(subjects)

    async def reports_of_scenario(
        self, tenant_name: str, scenario: Scenario
    ) -> tuple[list[Report], list[str]]:
        """Examine each template that a scenario sends, once a stream; and say which can't be composed.

        Raises: RefusedError: DNS can't be asked.
        """
        sends = [(s.template, s.stream) for s in walk(scenario.steps) if isinstance(s, Send)]
        subjects, mistakes = self._subjects(tenant_name, f"scenario {scenario.name}", sends)
        said = dict.fromkeys(str(mistake) for mistake in mistakes)
        return await self._examined(subjects), list(said)

    def _subjects(
        self, tenant_name: str, target: str, sends: Iterable[tuple[str, str]]
    ) -> tuple[list[Subject], list[InputError]]:
        tenant = self._config.tenant_named(tenant_name)
        subjects: list[Subject] = []
        mistakes: list[InputError] = []
        if tenant is None or self._config.delivery.mode == "twin":
            return subjects, mistakes
        for name, stream in dict.fromkeys(sends):
            try:
                about = f"{target}, template {name}"
                subjects.append(self._subject(tenant, name, stream, about))
            except InputError as mistake:
                mistakes.append(mistake)
        return subjects, mistakes

    async def _examined(self, subjects: list[Subject]) -> list[Report]:
        if not subjects:
            return []
        try:
            return await self._resolve(_examine_all(subjects, self._now()))
        except TransportError as error:
            mend = "this machine needs a resolver, or an override and its reason"
            raise RefusedError(f"preflight can't ask DNS: {error}", mend=mend) from error

    def _subject(self, tenant: Tenant, name: str, stream: str, target: str) -> Subject:
        config, head = self._config, self._heads[tenant.name]
        made = sample(_published(config, tenant.name, name), tenant, head, stream, {}, self._now())
        domain = author_of(read_mail(made.message))[2]
        policy = config.stream(stream)
        relay = config.delivery.relay.starttls if config.delivery.mode == "relay" else ""
        selectors = tuple(key.selector for key in head.keys)
        streams = tuple(
            Stream(one, domain, selectors) for one in sorted({*DEFAULT_STREAMS, *config.streams})
        )
        return Subject(
            target=target,
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


def _examine_all(subjects: Iterable[Subject], now: int) -> Asking[list[Report]]:
    """One after the other in one run, so that what they ask DNS alike is asked once."""
    reports = []
    for subject in subjects:
        report = yield from examine(subject, now)
        reports.append(report)
    return reports


def lines_of(reports: list[Report]) -> list[PreflightLine]:
    """What blocks, then what warns; each once, with the first template that it was found in."""
    lines: dict[tuple[str, str, str], PreflightLine] = {}
    for verdict in ("block", "warn"):
        for report in reports:
            template = report.target.rpartition("template ")[2]
            for one in report.findings:
                if one.verdict == verdict:
                    line = PreflightLine(
                        template, verdict, one.check, one.subject, one.found, one.mend
                    )
                    lines.setdefault((one.check, one.subject, one.found), line)
    return list(lines.values())


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
