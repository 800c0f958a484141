"""What `up` publishes: a template that isn't there is said before anybody waits for its mail."""

from __future__ import annotations

from actors.publishing import Publication, missing_templates
from deliverability.compose.template import Template

SCENARIO = """
scenario: s
entry: began
steps:
  - {id: one, send: {template: welcum, topic: t}}
  - {id: two, send: {template: welcome, topic: t}}
  - {id: three, send: {template: other, topic: t}}
"""


def test_templates_that_are_not_there_are_named() -> None:
    template = Template(name="welcome", subject="s", html="<p>h</p>", from_address="a@b.test")
    said = missing_templates(Publication("default", {"s.yaml": SCENARIO}, {"welcome": template}))
    assert said == [
        "s.yaml: there is no template `other` (put it into the templates' folder)",
        "s.yaml: there is no template `welcum` (did you mean `welcome`?)",
    ]
