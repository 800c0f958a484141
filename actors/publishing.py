"""Publishing into the catalog: scenarios, templates, stream policies and settings, with a record of who and why.

Everything is compiled before it is published, so that what stands in the catalog can be used.

A template is a file `NAME.toml` (subject, and if it likes from_address, from_name, reply_to, language, texts) with
`NAME.html` or `NAME.mjml` and, if it likes, `NAME.txt` beside it, all in minijinja's language.
"""

from __future__ import annotations

__all__ = (
    "Publication",
    "missing_endpoints",
    "missing_templates",
    "publish",
    "read_template",
    "templates_beside",
)

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec

from actors.endpoint_uses import endpoint_mistakes
from actors.template_uses import template_mistakes
from actors.worker.assembly import catalog_compilers
from actors.worker.rendering import Letterhead
from deliverability.compose.mjml import compile_mjml
from deliverability.compose.template import Template
from deliverability.lines import BULK
from deliverability.message.stream_policy import StreamPolicy
from engine.catalog import Head, digest_of
from engine.config import DEFAULT_STREAMS, Config, Tenant
from engine.control_log import Change
from engine.errors import InputError, Place
from engine.store.catalog_files import CatalogFiles
from engine.store.control_file import ControlFile
from scenarios.checking import load
from scenarios.migration import Migration
from scenarios.model import Send, walk
from scenarios.settings import ContactSettings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class TemplateHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a template's TOML file holds."""

    subject: str
    from_address: str = ""
    from_name: str = ""
    reply_to: str = ""
    language: str = ""
    texts: dict[str, dict[str, str]] = {}


class Publication(msgspec.Struct, frozen=True):
    """What is published together for one tenant: scenario texts by file name, templates by name."""

    tenant: str
    scenarios: Mapping[str, str]
    templates: Mapping[str, Template]


def publish(
    config: Config,
    heads: Mapping[str, Letterhead],
    publications: Iterable[Publication],
    *,
    now: int,
    actor: str,
    reason: str,
    calls: Literal["posted", "assumed"] = "posted",
) -> Head:
    """Publish everything, or nothing. Raises: InputError: something of it can't be used, with its place.

    `calls` of scenarios to systems outside: "assumed" where nobody posts them, as in a replay.
    """
    contents: list[tuple[str, str, str, bytes]] = []
    for tenant in config.tenant:
        contents += _settings(config, tenant, calls)
    tenants = {tenant.name: tenant for tenant in config.tenant}
    for publication in publications:
        _check_from(publication, heads[publication.tenant])
        if calls == "posted":
            _check_endpoints(publication, tenants[publication.tenant])
        contents += _contents(publication)
    compilers = catalog_compilers(heads)
    for section, tenant_name, name, content in contents:
        if section in compilers:
            compilers[section](tenant_name, name, content)
    folder = Path(config.data_dir)
    files = CatalogFiles(folder / "catalog")
    before = {(i.section, i.tenant, i.name): i.digest for i in files.head().items}
    contents += _stays(contents, before)
    log = ControlFile(folder / "control.log")
    for section, tenant_name, name, content in contents:
        digest = digest_of(content)
        old = before.get((section, tenant_name, name), "")
        if old != digest:
            change = Change(
                actor=actor,
                action="publish",
                subject=f"{section} {tenant_name}/{name}",
                tenant=tenant_name,
                reason=reason,
                before=bytes.fromhex(old),
                after=bytes.fromhex(digest),
            )
            log.append(now, change)
    return files.publish(contents)


def _stays(
    contents: Iterable[tuple[str, str, str, bytes]], before: Mapping[tuple[str, str, str], str]
) -> list[tuple[str, str, str, bytes]]:
    """What an earlier version chose for journeys under way isn't about a new one: they stay on theirs."""
    stay = msgspec.json.encode(Migration())
    return [
        ("migration", tenant, name, stay)
        for section, tenant, name, content in contents
        if section == "scenario"
        if before.get((section, tenant, name)) != digest_of(content)
        if ("migration", tenant, name) in before
    ]


def _settings(
    config: Config, tenant: Tenant, calls: Literal["posted", "assumed"]
) -> list[tuple[str, str, str, bytes]]:
    streams = {**DEFAULT_STREAMS, **config.streams}
    free = tuple(sorted(name for name, stream in streams.items() if not stream.consent_topic))
    made = [
        (
            "setting",
            tenant.name,
            "contact",
            msgspec.json.encode(
                msgspec.structs.replace(_contact_settings(tenant, free), webhooks=calls)
            ),
        )
    ]
    for name, stream in sorted(streams.items()):
        policy = StreamPolicy(
            in_doubt=stream.in_doubt,
            expires_ms=(stream.expires_s or config.delivery.expires_s) * 1000,
            retention_ms=config.store.retention_days * DAY_MS,
            lead_ms=_lead_ms(config) if stream.message_class == BULK else 0,
        )
        made.append(("stream", tenant.name, name, msgspec.json.encode(policy)))
    return made


def _lead_ms(config: Config) -> int:
    """So much earlier eager readers stand in line: only where a source is warmed up, whose volume is scarce."""
    return config.pacing.engaged_first_hours * HOUR_MS if config.pacing.warmup else 0


def _contact_settings(tenant: Tenant, free: tuple[str, ...]) -> ContactSettings:
    """Read what the tenant says about its contacts; which streams need no consent, the streams say."""
    settings = ContactSettings()
    if tenant.contact_file:
        place = Place(file=tenant.contact_file)
        try:
            raw = Path(tenant.contact_file).read_bytes()
            settings = msgspec.toml.decode(raw, type=ContactSettings)
        except OSError as error:
            raise InputError(f"can't be read: {error.strerror}", place) from error
        except msgspec.MsgspecError as error:
            raise InputError(str(error), place, "docs/scenarios.md has the fields") from error
    return msgspec.structs.replace(
        settings, streams_without_consent=free, endpoints=tuple(sorted(tenant.endpoint))
    )


def _check_from(publication: Publication, head: Letterhead) -> None:
    for name, template in publication.templates.items():
        refusal = head.guard.from_refusal(template.from_address.rpartition("@")[2])
        if refusal:
            raise InputError(
                f"template {name}: {refusal}", mend="add it to from_domains, if it is yours to use"
            )


def _check_endpoints(publication: Publication, tenant: Tenant) -> None:
    for file, text in publication.scenarios.items():
        for mistake in endpoint_mistakes(text, file, tenant.endpoint):
            raise mistake.error()


def missing_endpoints(config: Config) -> list[str]:
    """Say which published scenarios call endpoints that the configuration hasn't any more: nobody posts their calls."""
    files = CatalogFiles(Path(config.data_dir) / "catalog")
    known = {tenant.name: tenant.endpoint for tenant in config.tenant}
    found = []
    for item in files.head().items:
        if item.section == "scenario" and item.tenant in known:
            text = files.objects.get(item.digest).decode()
            for mistake in endpoint_mistakes(text, item.name, known[item.tenant]):
                told = "its calls aren't made, and journeys take `else` when their time is out"
                found.append(f"scenario {item.name}: {mistake.message}: {told} ({mistake.mend})")
    return found


def missing_templates(publication: Publication) -> list[str]:
    """Say which scenarios send templates that aren't published with them: such mail would be skipped."""
    found = []
    for file, text in publication.scenarios.items():
        sends = {step.template for step in walk(load(text, file).steps) if isinstance(step, Send)}
        for name in sorted(sends - publication.templates.keys()):
            near = get_close_matches(name, publication.templates, n=1)
            mend = f"did you mean `{near[0]}`?" if near else "put it into the templates' folder"
            found.append(f"{file}: there is no template `{name}` ({mend})")
    return found


def _contents(publication: Publication) -> list[tuple[str, str, str, bytes]]:
    contents = []
    for file, text in publication.scenarios.items():
        scenario = load(text, file)
        for mistake in template_mistakes(text, file, publication.templates):
            raise mistake.error()
        raw = text.encode()
        contents.append(("scenario", publication.tenant, scenario.name, raw))
        version = f"{scenario.name}@{scenario.version}"
        contents.append(("scenario-version", publication.tenant, version, raw))
    for name, template in publication.templates.items():
        contents.append(("template", publication.tenant, name, msgspec.json.encode(template)))
    return contents


def read_template(path: Path, tenant: Tenant) -> Template:
    """Read `NAME.toml` with its HTML and text. Raises: InputError: with file and key."""
    place = Place(file=str(path))
    try:
        head = msgspec.toml.decode(path.read_bytes(), type=TemplateHead)
    except msgspec.MsgspecError as error:
        raise InputError(str(error), place, "a template has a subject") from error
    html, text = path.with_suffix(".html"), path.with_suffix(".txt")
    page = _page(path.with_suffix(".mjml"), html)
    if not page and not text.exists():
        raise InputError(f"neither {html.name} nor {text.name} stands beside it", place)
    return Template(
        name=path.stem,
        subject=head.subject,
        html=page,
        text=text.read_text("utf-8") if text.exists() else None,
        from_address=head.from_address or tenant.from_address,
        from_name=head.from_name or tenant.from_name,
        reply_to=head.reply_to,
        language=head.language,
        texts=head.texts,
    )


def _page(mjml: Path, html: Path) -> str:
    """Read the HTML of a template, or compile its MJML."""
    if mjml.exists():
        if html.exists():
            mend = f"remove {html.name}: it is made of the MJML"
            raise InputError(f"{html.name} stands beside it too", Place(str(mjml)), mend)
        return compile_mjml(mjml.read_text("utf-8"), str(mjml))
    return html.read_text("utf-8") if html.exists() else ""


def templates_beside(
    scenario_files: Iterable[Path], folder: Path | None, tenant: Tenant
) -> dict[str, Template]:
    """Read all templates of a folder, or of the folders `templates` beside the scenarios and beside their folder."""
    folders = [folder] if folder is not None else []
    if folder is None:
        for file in scenario_files:
            folders += [file.parent / "templates", file.parent.parent / "templates"]
    found: dict[str, Template] = {}
    for place in dict.fromkeys(folders):
        for path in sorted(place.glob("*.toml")):
            found[path.stem] = read_template(path, tenant)
    return found
