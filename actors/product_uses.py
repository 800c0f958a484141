"""What steps and templates ask of lists of products, against the lists that there are."""

from __future__ import annotations

__all__ = ("product_mistakes",)

import re
from collections.abc import Iterator, Mapping

from deliverability.compose.languages import languages_of, written_in
from deliverability.compose.source import lines_of
from deliverability.compose.template import Template
from scenarios.document import parse_document
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Products, Scenario, Send, walk
from scenarios.products import ProductList
from scenarios.reading import read


def product_mistakes(
    text: str, file: str, lists: Mapping[str, ProductList], templates: Mapping[str, Template]
) -> list[Mistake]:
    """Find steps whose list, or a row that stands in, isn't there, and what templates show that lists don't have.

    Of a text that has mistakes of its own nothing is found here.
    """
    root, _ = parse_document(text, file)
    reading = read(root, file) if root is not None else None
    if reading is None or reading.scenario is None or reading.mistakes:
        return []
    found: list[Mistake] = []
    for step in walk(reading.scenario.steps):
        told: Iterator[tuple[str, str]] = iter(())
        if isinstance(step, Products):
            told = _of_step(step, lists)
        elif isinstance(step, Send) and step.template in templates:
            told = _of_template(reading.scenario, templates[step.template], lists)
        line, column, path = reading.places.get(id(step), (1, 1, ""))
        found += [Mistake(file, line, column, path, message, mend) for message, mend in told]
    return found


def _of_step(step: Products, lists: Mapping[str, ProductList]) -> Iterator[tuple[str, str]]:
    made = lists.get(step.source)
    if made is None:
        mend = did_you_mean(step.source, lists) or f"`veredus products import {step.source} FILE`"
        yield f"there is no list of products `{step.source}`", mend
        return
    for key in step.instead:
        if key not in made.rows:
            mend = did_you_mean(key, made.rows) or "choose a key that is"
            yield f"`{key}`, which is to stand in, isn't in the list `{step.source}`", mend


def _of_template(
    scenario: Scenario, template: Template, lists: Mapping[str, ProductList]
) -> Iterator[tuple[str, str]]:
    """Look at loops over rows, `for one in journey.products`: each column must be there, in every row or by default."""
    sources = _sources_of(template)
    for step in walk(scenario.steps):
        made = lists.get(step.source) if isinstance(step, Products) else None
        if made is None or not isinstance(step, Products):
            continue
        whole = made.complete()
        for column, has_default in sorted(_shown(sources, step.caught)):
            what = f"template `{template.name}` shows `{column}` of `{step.source}`"
            if column not in made.columns:
                mend = did_you_mean(column, made.columns) or f"there are {', '.join(made.columns)}"
                yield f"{what}, which has no such column", mend
            elif column not in whole and not has_default:
                mend = f'say what stands there instead: `{column}|default("…")`'
                yield f"{what}, which some rows don't have", mend


def _sources_of(template: Template) -> list[str]:
    if not template.texts:
        return list(lines_of(template).values())
    written = (written_in(template, one) for one in languages_of(template))
    return [source for one in written for source in lines_of(one).values()]


def _shown(sources: list[str], caught: str) -> set[tuple[str, bool]]:
    """Give the columns that loops over `journey.<caught>` show, and whether something else may stand there."""
    shown: set[tuple[str, bool]] = set()
    for source in sources:
        for loop in re.finditer(rf"\bfor\s+(\w+)\s+in\s+journey\.{re.escape(caught)}\b", source):
            end = source.find("endfor", loop.end())
            body = source[loop.end() : end if end >= 0 else len(source)]
            asked = {one[1] for one in re.finditer(rf"\bif\s+{re.escape(loop[1])}\.(\w+)\b", body)}
            for use in re.finditer(rf"\b{re.escape(loop[1])}\.(\w+)\b(\s*\|\s*default\b)?", body):
                shown.add((use[1], use[2] is not None or use[1] in asked))
    return shown
