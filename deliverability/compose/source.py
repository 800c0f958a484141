"""Checks a template before it is compiled, and tells mistakes by part, line and column of what the author wrote."""

from __future__ import annotations

__all__ = ("SYSTEM_VARIABLES", "check_sources", "environment", "lines_of", "located")

import re
from collections.abc import Mapping

import minijinja

from deliverability.compose.languages import DEFAULT_LANGUAGE, check_plurals, plural_function
from deliverability.compose.lexer import Tag, lex, normal_source
from deliverability.compose.template import Template
from deliverability.compose.tracking import SCOPE
from engine.errors import InputError, Place

SYSTEM_VARIABLES = frozenset(("unsubscribe_url", "message_id"))
"""What every template may use beside its own variables."""

_MAX_SOURCE = 2_000_000  # characters of one part
_FUEL = 500_000  # minijinja's instructions for one rendering, tens of milliseconds; a letter takes hundreds
_STANDALONE = ("include", "extends", "import", "from", "block")


def environment(language: str = "") -> minijinja.Environment:
    """Make a renderer for a language ("": English).

    Escaping goes by name (`*.html`), missing variables are errors, instructions are bounded; `debug`, which shows
    addresses in memory, is not there.
    """
    env = minijinja.Environment(undefined_behavior="strict", fuel=_FUEL, keep_trailing_newline=True)
    env.remove_global("debug")
    env.add_global("plural", plural_function(language or DEFAULT_LANGUAGE))
    return env


def lines_of(template: Template) -> dict[str, str]:
    """Give the sources of a template by the name of their part, as its author wrote them, in normal form."""
    sources = {"subject": template.subject, "from_name": template.from_name}
    sources |= {f"headers.{h.name}": h.value for h in template.headers}
    if template.text is not None:
        sources["text"] = template.text
    if template.html:
        sources["html"] = template.html
    return {part: normal_source(text) for part, text in sources.items()}


def check_sources(template: Template, sources: Mapping[str, str]) -> None:
    """Check syntax, size and variables of every part.

    Raises:
        InputError: the first mistake, with part, line and column.
    """
    env = environment(template.language)
    # functions: minijinja's own, and ours
    globals_ = {"range", "dict", "namespace", "cycler", "joiner", "plural"}
    for part, source in sources.items():
        if len(source) > _MAX_SOURCE:
            raise InputError(
                f"longer than {_MAX_SOURCE} characters", Place(file=template.name, path=part)
            )
        try:
            used = env.undeclared_variables_in_str(source)
            env.add_template(part, source)
        except minijinja.TemplateError as error:
            raise located(error, template.name, part, source) from None
        _check_alone(template, part, source)
        place = Place(file=template.name, path=part)
        check_plurals(source, template.language or DEFAULT_LANGUAGE, place)
        _check_variables(template, part, used - globals_)


def _check_alone(template: Template, part: str, source: str) -> None:
    """A template stands alone: what it would bring in has no version."""
    for token in lex(source):
        if isinstance(token, Tag) and token.keyword in _STANDALONE:
            found = re.search(rf"\{{%[-+]?\s*{token.keyword}\b", source)
            place = _place(template.name, part, source, found.start() if found else 0)
            raise InputError(
                f"`{token.keyword}` can't be used here", place, "write out what it would bring in"
            )


def _check_variables(template: Template, part: str, used: set[str]) -> None:
    place = Place(file=template.name, path=part)
    if own := sorted(name for name in used if name.startswith(SCOPE)):
        raise InputError(f"the name {own[0]} is not for templates", place, "choose another name")
    if template.variables is None:
        return
    declared = {variable.name for variable in template.variables}
    if unknown := sorted(used - declared - SYSTEM_VARIABLES):
        raise InputError(
            f"uses {unknown[0]!r}, which isn't declared",
            place,
            f"declare it; declared are: {', '.join(sorted(declared)) or 'none'}",
        )


def located(error: minijinja.TemplateError, name: str, part: str, source: str) -> InputError:
    """Say a mistake of minijinja's as ours, with line and column."""
    if error.kind == "OutOfFuel":
        return InputError(
            f"takes more than {_FUEL} steps to render", Place(name, path=part), "shorten its loops"
        )
    if error.range is None:
        return InputError(error.detail or error.kind, Place(name, error.line or 0, path=part))
    at = len(source.encode()[: error.range[0]].decode("utf-8", "ignore"))
    return InputError(error.detail or error.kind, _place(name, part, source, at))


def _place(name: str, part: str, source: str, at: int) -> Place:
    line = source.count("\n", 0, at) + 1
    return Place(name, line, at - source.rfind("\n", 0, at), part)
