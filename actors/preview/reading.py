"""What `veredus preview` looks at: a template, or a `send` step of a scenario, from files or from what is published."""

from __future__ import annotations

__all__ = ("Sender", "Subject", "find_sender", "find_subject")

import os
from pathlib import Path

import msgspec

from actors.cli.proving import library, scenario_file
from actors.config_file import DEFAULT_FILE, load
from actors.planning.versions import VersionDesk
from actors.publishing import read_template, templates_beside
from actors.text_file import read_text
from actors.worker.assembly import secret_of
from actors.worker.rendering import Letterhead, letterheads
from deliverability.compose.template import Template
from engine.config import Tenant
from engine.errors import InputError, Place
from engine.store.catalog_files import CatalogFiles
from scenarios.checking import load as load_scenario
from scenarios.mistakes import did_you_mean
from scenarios.model import Scenario, Send, walk

_NOBODY = Tenant(from_address="news@example.net", from_name="Example")


class Sender(msgspec.Struct, frozen=True):
    """The tenant that sends; without a configuration a made-up one, without keys."""

    tenant: Tenant
    head: Letterhead | None


class Subject(msgspec.Struct, frozen=True):
    """A template, and the step that sends it (None: it is looked at alone)."""

    template: Template
    step: Send | None = None
    scenario: str = ""
    version: str = ""


def find_sender(config: Path | None, tenant: str) -> Sender:
    """Read the configuration, if there is one. Raises: InputError, ConfigError: it has mistakes, or no such tenant."""
    if config is None and not DEFAULT_FILE.exists():
        return Sender(_NOBODY, None)
    read = load(config, os.environ)
    found = read.tenant_named(tenant) if tenant else read.tenant[0]
    if found is None:
        raise InputError(f"there is no tenant {tenant!r}", Place(path="--tenant"))
    return Sender(found, letterheads(read, secret_of)[found.name])


def find_subject(
    target: str, step: str, folder: Path | None, data: Path, tenant: Tenant
) -> Subject:
    """Find what is meant.

    Args:
        target: a template file NAME.toml; a scenario's file, folder, or name in the library; or the name of a
            scenario or template that is published in the data directory.
        step: the id of a `send` step; "" where the scenario has one alone, or for a template.
        folder: where the templates are; None: beside the scenario, else what is published.
        data: the data directory.
        tenant: who sends.

    Raises: InputError: nothing of that name is there, or it has mistakes.
    """
    path = Path(target)
    if path.suffix == ".toml" and path.is_file():
        return Subject(read_template(path, tenant))
    if path.exists() or target in library():
        file = scenario_file(path)
        scenario = load_scenario(read_text(file), str(file))
        beside = templates_beside([file], folder, tenant)
        return _of_step(scenario, step, {**_published_templates(data, tenant), **beside})
    return _published(target, step, folder, data, tenant)


def _published(name: str, step: str, folder: Path | None, data: Path, tenant: Tenant) -> Subject:
    templates = _published_templates(data, tenant)
    if folder is not None:
        templates |= templates_beside([], folder, tenant)
    desk = VersionDesk(data)
    text = desk.text(tenant.name, name)
    if text is not None:
        return _of_step(load_scenario(text, name), step, templates)
    if name in templates:
        return Subject(templates[name])
    known = [*library(), *templates, *(one.name for one in desk.versions(tenant.name))]
    mend = did_you_mean(name, known) or "name a file, or what is published in the data directory"
    raise InputError("there is no such scenario or template", Place(name), mend)


def _of_step(scenario: Scenario, step: str, templates: dict[str, Template]) -> Subject:
    sends = {one.id: one for one in walk(scenario.steps) if isinstance(one, Send)}
    if not sends:
        raise InputError("it sends nothing", Place(scenario.name))
    if not step and len(sends) > 1:
        raise InputError("which of its mails?", Place(scenario.name), f"name {', '.join(sends)}")
    found = sends.get(step) if step else next(iter(sends.values()))
    if found is None:
        mend = did_you_mean(step, sends) or f"it sends in {', '.join(sends)}"
        raise InputError(f"no step `{step}` that sends", Place(scenario.name), mend)
    template = templates.get(found.template)
    if template is None:
        mend = did_you_mean(found.template, templates) or "name its folder with --templates"
        raise InputError(f"there is no template {found.template!r}", Place(scenario.name), mend)
    return Subject(template, found, scenario.name, scenario.version)


def _published_templates(data: Path, tenant: Tenant) -> dict[str, Template]:
    files = CatalogFiles(data / "catalog")
    return {
        item.name: msgspec.json.decode(files.objects.get(item.digest), type=Template)
        for item in files.head().items
        if (item.section, item.tenant) == ("template", tenant.name)
    }
