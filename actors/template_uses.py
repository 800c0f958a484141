"""What templates use against what the steps that send them give: a value that nobody gives is found before the send.

A template sees `contact`, `event` and `journey`; of `journey` the fields are known, with those that the scenario has
caught or loops over. With the tenant's type schema those of `contact` and `event` are known, too.
"""

from __future__ import annotations

__all__ = ("template_mistakes",)

from collections.abc import Iterator, Mapping

from deliverability.compose.samples import paths_of
from deliverability.compose.template import Template
from scenarios.cel.scope import JOURNEY_FIELDS
from scenarios.document import parse_document
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Scenario, Send, walk
from scenarios.reading import read
from scenarios.settings import ContactSettings
from scenarios.shape import caught_names
from scenarios.types import TypeSchema

_ROOTS = ("contact", "event", "journey")


def template_mistakes(
    text: str,
    file: str,
    templates: Mapping[str, Template],
    types: TypeSchema | None = None,
    *,
    mend_absent: str = "",
) -> list[Mistake]:
    """Find what templates use and the scenario's steps don't give.

    Args:
        text: the scenario's, which has no mistakes of its own (of one that has, nothing is found here).
        file: for places.
        templates: by name.
        types: the tenant's schema; None: any attribute and any field of an event may be there.
        mend_absent: a template that isn't among them is a mistake, mended so; "": it may stand elsewhere.
    """
    root, _ = parse_document(text, file)
    reading = read(root, file) if root is not None else None
    if reading is None or reading.scenario is None or reading.mistakes:
        return []
    scenario = reading.scenario
    found = []
    for step in walk(scenario.steps):
        if not isinstance(step, Send):
            continue
        line, column, path = reading.places.get(id(step), (1, 1, ""))
        template = templates.get(step.template)
        told = _told(scenario, template, types) if template is not None else iter(())
        if template is None and mend_absent:
            mend = did_you_mean(step.template, templates) or mend_absent
            told = iter([(f"there is no template `{step.template}`", mend)])
        found += [Mistake(file, line, column, path, message, mend) for message, mend in told]
    return found


def _told(
    scenario: Scenario, template: Template, types: TypeSchema | None
) -> Iterator[tuple[str, str]]:
    given = _given(scenario, types)
    for used in sorted(paths_of(template)):
        root, _, rest = used.partition(".")
        field = rest.partition(".")[0]
        what = f"template `{template.name}` uses `{used}`"
        if root not in _ROOTS:
            mend = did_you_mean(root, _ROOTS) or "a template sees contact, event and journey"
            yield f"{what}, which no step gives", mend
        elif field and (known := given.get(root)) is not None and field not in known:
            mend = did_you_mean(field, known) or "declare it in the type schema, or take it out"
            source = {"contact": "no attribute", "event": "no event", "journey": "no wait"}[root]
            yield f"{what}, which {source} gives", mend


def _given(scenario: Scenario, types: TypeSchema | None) -> dict[str, set[str] | None]:
    """Tell the fields that are known of each root; None: any may be there."""
    journey = {*JOURNEY_FIELDS, *caught_names(scenario)}
    if types is None:
        return {"journey": journey, "contact": None, "event": None}
    usual = ContactSettings()
    contact = {*types.contact, usual.address_attribute, usual.name_attribute, usual.zone_attribute}
    events = {entry.event for entry in scenario.entries}
    fields = types.fields_of(events) if "" not in events else None
    event = set(fields) if fields is not None else None
    return {"journey": journey, "contact": contact, "event": event}
