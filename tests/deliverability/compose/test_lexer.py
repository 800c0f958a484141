"""The lexer: white space control is done, and what it gives renders as the source would."""

from __future__ import annotations

import pytest

from deliverability.compose.lexer import Data, Tag, lex, normal_source, to_source
from tests.deliverability.compose.letters import reference


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a {{ x }} b", [Data("a "), Tag("{{ x }}"), Data(" b")]),
        ("a {{- x -}} b", [Data("a"), Tag("{{ x }}"), Data("b")]),
        (
            "a \n{%- if x +%} b{% endif -%}\n",
            [Data("a"), Tag("{% if x %}", "if"), Data(" b"), Tag("{% endif %}", "endif")],
        ),
        ("a {# }} -#} b", [Data("a b")]),
        ("a{#- c -#} b", [Data("ab")]),
        ("{% raw -%} {{ x }} {%- endraw %} b", [Data("{{ x }} b")]),
        ("{{ '}}' }}", [Tag("{{ '}}' }}")]),
        ('{{ "\\"}}" }}', [Tag('{{ "\\"}}" }}')]),
        ("{{ {'a': {'b': 1}}.a.b }}", [Tag("{{ {'a': {'b': 1}}.a.b }}")]),
        ("{% set x = '%}' %}", [Tag("{% set x = '%}' %}", "set")]),
        ("{{ x - -1 }}", [Tag("{{ x - -1 }}")]),
        ("{ { x } }", [Data("{ { x } }")]),
        ("", []),
    ],
)
def test_tokens(source: str, expected: list[Data | Tag]) -> None:
    """Tags with strings, braces and signs; comments and raw."""
    assert expected == lex(source)


@pytest.mark.parametrize("text", ["{", "{{", "{%", "{#", "a{{b}}c{", "{{{%{#", "}}", "%}"])
def test_text_is_written_so_that_it_comes_back(text: str) -> None:
    """Also where a tag follows."""
    assert text + "1" == reference(to_source(text) + "{{ x }}", "x.html", x=1)


def test_normal_source() -> None:
    """LF, no controls, one line end less at the end."""
    assert normal_source("a\r\n\tb\x1e\r\r\n") == "a\n\tb\n"
