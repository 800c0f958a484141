"""What a template uses and nobody gives is a mistake of the scenario that sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cli.proving import library
from actors.publishing import Publication, publish, templates_beside
from actors.template_uses import template_mistakes
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from deliverability.compose.template import Template
from engine.config import Tenant
from engine.errors import InputError
from scenarios.types import TypeSchema
from tests.actors.cli.conftest import Veredus
from tests.actors.operations.living import config_of

TEXT = """scenario: s
entry: order.placed
steps:
  - id: look
    wait_for: {event: cart.checked, as: check}
    timeout: 1d
  - id: m
    send: {template: m, topic: t}
"""
TYPES = TypeSchema({"first_name": "string"}, {"order.placed": {"value": "int"}, "cart.checked": {}})


def told(source: str, types: TypeSchema | None = None) -> list[str]:
    template = Template("m", "x", source, "news@shop.example")
    found = template_mistakes(TEXT, "s.yaml", {"m": template}, types)
    assert all((one.line, one.path) == (7, "steps[1]") for one in found)
    return [f"{one.message}: {one.mend}" for one in found]


@pytest.mark.parametrize(
    "source",
    [
        "{{ contact.first_name }} {{ event.value }} {{ journey.check.any }} {{ journey.visit }}",
        "{{ contact.email }} {{ unsubscribe_url }} {% for x in range(3) %}{{ x }}{% endfor %}",
        "{{ plural(event.value, one='#', other='#') }} {% set y = contact.first_name %}{{ y }}",
    ],
)
def test_what_is_given_may_be_used(source: str) -> None:
    assert told(source) == []
    assert told(source, TYPES) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ contcat.first_name }}", "no step gives: did you mean `contact`?"),
        ("{{ first_name }}", "`first_name`, which no step gives"),
        ("{{ journey.chek.value }}", "no wait gives: did you mean `check`?"),
    ],
)
def test_without_types_names_are_checked(source: str, message: str) -> None:
    [found] = told(source)
    assert message in found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ contact.frist_name|default('x') }}", "no attribute gives: did you mean `first_name`?"),
        ("{{ event.vlaue }}", "no event gives: did you mean `value`?"),
        ("{{ event.vlaue[:3] }}", "no event gives"),
    ],
)
def test_with_types_attributes_and_fields_too(source: str, message: str) -> None:
    assert told(source) == []
    [found] = told(source, TYPES)
    assert message in found


@pytest.mark.parametrize("name", sorted(library()))
def test_the_library_uses_what_its_scenarios_give(name: str) -> None:
    folder = library()[name]
    templates = templates_beside([], folder / "templates", Tenant(from_address="a@shop.example"))
    text = (folder / "scenario.yaml").read_text("utf-8")
    assert template_mistakes(text, name, templates, mend_absent="add it") == []


def test_publishing_refuses_it_and_check_tells_it(tmp_path: Path, veredus: Veredus) -> None:
    config = config_of(tmp_path / "data")
    wrong = Template("m", "x", "{{ contcat.first_name }}", "news@shop.example")
    with pytest.raises(InputError, match="which no step gives"):
        publish(
            config,
            letterheads(config, secret_of),
            [Publication("default", {"s.yaml": TEXT}, {"m": wrong})],
            now=1,
            actor="test",
            reason="test",
        )
    (tmp_path / "s.yaml").write_text(TEXT)
    (tmp_path / "n.toml").write_text('subject = "x"\n')
    (tmp_path / "n.txt").write_text("{{ name }}")
    said = veredus("scenario", "check", tmp_path / "s.yaml", "--templates", tmp_path)
    assert said.status == 2
    assert "there is no template `m`" in said.err


@pytest.fixture
def veredus(capsys: pytest.CaptureFixture[str]) -> Veredus:
    from actors.cli.main import run
    from tests.actors.cli.conftest import Said

    def call(*arguments: str | Path) -> Said:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call
