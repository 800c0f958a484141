"""docs/scenarios.md: its examples are without mistakes, its reference is that of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scenarios.checking import check, load
from scenarios.compiling import compile_scenario
from scenarios.reference import reference_markdown
from scenarios.types import read_types

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split("\n", 1)[0])
def test_an_example_is_without_mistakes_and_compiles(text: str) -> None:
    assert check(text) == []
    assert compile_scenario(load(text)).program


def test_the_type_schema_of_the_page_is_read() -> None:
    [text] = re.findall(r"^```yaml types\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    types, mistakes = read_types(text)
    assert mistakes == []
    assert types.events["order.placed"] == {"value": "int", "cart": "string"}


def test_the_reference_is_the_one_that_the_tables_give() -> None:
    assert PAGE.endswith("## Reference\n\n" + reference_markdown())
