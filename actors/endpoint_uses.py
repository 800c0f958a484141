"""Endpoints that steps call against those that the configuration has: one that is missing is found before a journey."""

from __future__ import annotations

__all__ = ("endpoint_mistakes",)

from collections.abc import Iterable

from scenarios.document import parse_document
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Webhook, walk
from scenarios.reading import read


def endpoint_mistakes(text: str, file: str, known: Iterable[str]) -> list[Mistake]:
    """Find `webhook` steps of a scenario whose endpoint isn't known; where the text has mistakes of its own, none."""
    root, _ = parse_document(text, file)
    reading = read(root, file) if root is not None else None
    if reading is None or reading.scenario is None or reading.mistakes:
        return []
    names = tuple(known)
    found = []
    for step in walk(reading.scenario.steps):
        if isinstance(step, Webhook) and step.endpoint not in names:
            line, column, path = reading.places.get(id(step), (1, 1, ""))
            add = f"add [tenant.endpoint.{step.endpoint}] to the configuration, and start anew"
            mend = did_you_mean(step.endpoint, names) or add
            message = f"there is no endpoint `{step.endpoint}`"
            found.append(Mistake(file, line, column, path, message, mend))
    return found
