"""The examples of docs/templates.md work as they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from deliverability.compose.composer import Skeleton
from deliverability.compose.template import Profile, Template
from tests.deliverability.compose.letters import compose, parse, parts

DOC = Path(__file__).resolve().parents[2] / "docs" / "templates.md"


def test_the_example_in_two_languages_is_composed() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    head = tomllib.loads(example)
    made = Template(
        "t", head["subject"], "<p>{{ t.hello }}</p>", "news@shop.example", texts=head["texts"]
    )
    Skeleton(made, Profile())
    for language, subject, hello in (
        ("en", "2 things wait", "Hello there"),
        ("pl", "Czekają 2 rzeczy", "Dzień dobry, "),
    ):
        values = {"contact": {"language": language}, "event": {"items": 2}}
        composed = compose(made, variables=values)
        assert parse(composed)["subject"] == subject
        assert hello in parts(composed)["text/html"]
