"""The reference of test files for docs/library.md, made from the tables that the reader follows."""

from __future__ import annotations

__all__ = ("reference_markdown",)

from collections.abc import Iterator

from scenarios.language import Form
from scenarios.proof.forms import (
    CAP,
    CASE,
    FILE,
    GIVEN,
    HISTORY,
    NON_SENDS,
    QUIET,
    SETTINGS,
    THEN,
    WHEN,
)


def reference_markdown() -> str:
    """Write every form of a test file as a table."""
    forms = (FILE, CASE, GIVEN, HISTORY, SETTINGS, CAP, QUIET, WHEN, THEN)
    parts = ["\n".join(_table(form)) for form in forms]
    reasons = ", ".join(f"`{reason}`" for reason in NON_SENDS)
    return "\n\n".join((*parts, f"Reasons of `not_sent`: {reasons}."))


def _table(form: Form) -> Iterator[str]:
    yield f"#### {form.name}"
    yield ""
    yield form.says
    yield ""
    yield "| key | what it is for |"
    yield "|---|---|"
    for field in form.fields:
        yield f"| `{field.key}` | {field.says}{' (required)' if field.required else ''} |"
