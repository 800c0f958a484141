"""The JSON Schema for editors: well formed, takes the examples, refuses what `check` refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scenarios.language import FORMS
from scenarios.schema import json_schema

jsonschema = pytest.importorskip("jsonschema")
PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def errors(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema() -> None:
    VALIDATOR.check_schema(json_schema())


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split("\n", 1)[0])
def test_it_takes_the_examples(text: str) -> None:
    assert errors(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    "steps",
    [
        [{"id": "a", "wait": "7 days"}],
        [{"id": "a", "wait": "7d", "send": "x"}],
        [{"wait": "7d"}],
        [{"id": "a", "send": {"template": "t", "topik": "x"}}],
        [{"id": "A b", "wait": "7d"}],
        [{"id": "a", "repeat": 0, "steps": []}],
        "nothing",
    ],
)
def test_it_refuses_what_check_refuses(steps: Any) -> None:
    assert errors({"scenario": "s", "entry": "e", "steps": []}) == []
    assert errors({"scenario": "s", "entry": "e", "steps": steps}) != []


def test_every_key_of_the_language_is_described() -> None:
    described = str(json_schema())
    assert all(repr(field.key) in described for form in FORMS for field in form.fields)
