"""One layout: meaning and comments stay, laying out twice changes nothing more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.errors import InputError
from scenarios.checking import load
from scenarios.formatting import format_scenario

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
FILES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) + [
    path.read_text("utf-8")
    for path in sorted((ROOT / "tests" / "acceptance" / "scenarios").glob("*.yaml"))
]

MESSY = """# the file
steps:
      # first
      - {wait: 1d, id: a} # a day
      -   if: 'contact.name == ''x # y'''
          id: b
          else: []
          then:
            # inside
            - end:
      - id: c
        if: |
          true &&
          contact.x == 1
      - {id: d, send: {topic: t, template: a-very-long-name-of-a-template-that-fills-the-line, capped: wait, late: 2h}}
entry: {event: e,
        when: 'true'}
scenario: s   # its name
# the end
"""

NEAT = """# the file
scenario: s # its name
entry: {event: e, when: "true"}
steps:
  # first
  - {id: a, wait: 1d} # a day
  - id: b
    if: "contact.name == 'x # y'"
    then:
      # inside
      - end:
    else: []
  - id: c
    if: |
      true &&
      contact.x == 1
  - id: d
    send:
      template: a-very-long-name-of-a-template-that-fills-the-line
      topic: t
      late: 2h
      capped: wait
# the end
"""


@pytest.mark.parametrize("text", [*FILES, MESSY], ids=lambda text: text.split("\n", 1)[0][:30])
def test_meaning_and_comments_stay_and_a_second_time_changes_nothing(text: str) -> None:
    made = format_scenario(text)
    assert load(made).version == load(text).version
    own = re.compile(r"(?<!x )# .*")
    assert sorted(own.findall(made)) == sorted(own.findall(text))
    assert format_scenario(made) == made


def test_a_messy_file_becomes_neat() -> None:
    assert format_scenario(MESSY) == NEAT


def test_a_file_with_mistakes_is_left_alone() -> None:
    with pytest.raises(InputError):
        format_scenario("scenario: s")
