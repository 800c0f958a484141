"""Made-up values for a template's variables, so that it can be looked at before there is anybody to send it to.

What kind of value fits is read off the sources: what a loop goes over is a list, what is reckoned with is a number,
what is cut like a date is one; all else is a text that says its own name.
"""

from __future__ import annotations

__all__ = ("paths_of", "sample_variables")

import re
from collections.abc import Iterable
from typing import Any, Final

import minijinja

from deliverability.compose.languages import languages_of, written_in
from deliverability.compose.lexer import Tag, lex, normal_source
from deliverability.compose.source import SYSTEM_VARIABLES, environment, lines_of
from deliverability.compose.template import Template

_LOOP = re.compile(r"\bfor\s+(\w+)(?:\s*,\s*\w+)?\s+in\s+([\w.]+)")
_PATH = re.compile(r"\b((?:contact|event|journey)(?:\.\w+)+)\b(?!\s*\()")
_KNOWN: Final = {
    "first_name": "Ann",
    "last_name": "Example",
    "name": "Ann Example",
    "email": "ann@example.net",
    "city": "Oslo",
    "currency": "EUR",
    "visit": 1,
}
_NUMBER, _FEW, _DATE = 1234, 3, "2027-03-20"


def sample_variables(template: Template) -> dict[str, Any]:
    """Make up values for all that a template uses, in any of its languages. Sources with mistakes are left out."""
    made: dict[str, Any] = {}
    for path, source in _uses(template):
        _put(made, path.split("."), _value(path, source))
    return made


def paths_of(template: Template) -> set[str]:
    """Tell what a template uses of its variables, in any of its languages: `contact.first_name`, `event.items`."""
    return {path for path, _ in _uses(template)}


def _uses(template: Template) -> Iterable[tuple[str, str]]:
    """Give each path that is used, with the source that uses it."""
    for source in _sources(template):
        env = environment(template.language)
        try:
            paths = env.undeclared_variables_in_str(source, nested=True)
        except minijinja.TemplateError:
            continue  # told when it is compiled
        tags = (token.source for token in lex(normal_source(source)) if isinstance(token, Tag))
        # minijinja leaves out what is cut: x.y[:4]
        paths |= {path for tag in tags for path in _PATH.findall(tag)}
        known = {"range", "dict", "namespace", "cycler", "joiner", "plural"} | SYSTEM_VARIABLES
        for path in sorted(paths):
            if path.partition(".")[0] not in known:
                yield path, source


def _sources(template: Template) -> Iterable[str]:
    if not template.texts:
        return lines_of(template).values()
    written = (written_in(template, one) for one in languages_of(template))
    return dict.fromkeys(source for one in written for source in lines_of(one).values())


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value at a path; a tree goes before a plain value, lists of fields before lists of names."""
    *parents, last = path
    for name in parents:
        found = into.get(name)
        if not isinstance(found, dict):
            found = into[name] = {}
        into = found
    if last not in into or (isinstance(value, list) and not isinstance(into[last], dict)):
        into[last] = value


def _value(path: str, source: str) -> Any:
    for loop in _LOOP.finditer(source):
        if loop[2] == path:
            return _items(loop[1], source)
    return _plain(path, source)


def _items(name: str, source: str) -> list[Any]:
    """Make two items of a list by what the loop reads of each."""
    fields = sorted(set(re.findall(rf"\b{name}\.(\w+)", source)))
    if not fields:
        return [f"{name} 1", f"{name} 2"]
    return [{field: _plain(f"{name}.{field}", source) for field in fields} for _ in range(2)]


def _plain(path: str, source: str) -> Any:
    name, mark = path.rpartition(".")[2], re.escape(path)
    if name in _KNOWN:
        return _KNOWN[name]
    if re.search(rf"\bplural\(\s*{mark}\b", source):
        return _FEW
    reckoned = rf"(?:\b{mark}\s*(?:[*/%<>+-]\s*[\w(]|\|\s*(?:round|int|float|abs)\b)|d'\s*\|\s*format\(\s*{mark}\b)"
    if re.search(reckoned, source):
        return _NUMBER
    if re.search(rf"\b{mark}\[\d*:\d*\]", source):
        return _DATE
    if name.endswith(("url", "link")):
        return f"https://example.net/{name}"
    return name
