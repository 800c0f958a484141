"""What the demo sends is well-formed: scenarios check, templates compile, and each finds the other."""

from __future__ import annotations

import pytest

from actors.demo.content import FROM_DOMAIN, scenario_files, scenarios, templates
from actors.demo.generator import CONSENT_TOPIC
from deliverability.compose.composer import compile_template
from deliverability.compose.template import Letter, Profile
from scenarios.checking import check, load
from scenarios.model import Send, walk

FULL = {
    "contact": {"first_name": "Zoë"},
    "event": {"title": "Feather & Flint", "value": 3905, "items": 1, "currency": "EUR"},
    "journey": {},
}
BARE: dict[str, object] = {"contact": {}, "event": {}, "journey": {}}


def letter(variables: dict[str, object]) -> Letter:
    return Letter(
        message_id_hex="ab" * 16,
        tenant="default",
        recipient="zoe@gmail.test",
        date_ms=1_767_571_200_000,
        variables=variables,
        stream="marketing",
        unsubscribe_url="https://nimbus.example/u/token",
    )


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_a_scenario_has_no_mistakes(name: str) -> None:
    assert check(scenarios()[name], name) == []
    assert load(scenarios()[name], name).name == name.removesuffix(".yaml")


def test_scenarios_send_all_templates_and_no_others_to_the_topic_of_the_log() -> None:
    sends = [
        step
        for text in scenarios().values()
        for step in walk(load(text).steps)
        if isinstance(step, Send)
    ]
    assert {send.template for send in sends} == set(templates())
    assert {send.topic for send in sends} == {CONSENT_TOPIC}


def test_scenario_files_are_there_to_be_given_to_the_command_line() -> None:
    assert {path.name for path in scenario_files()} == set(scenarios())


@pytest.mark.parametrize("name", sorted(templates()))
@pytest.mark.parametrize("variables", [FULL, BARE], ids=["full", "bare"])
def test_a_template_composes_also_where_the_log_says_little(
    name: str, variables: dict[str, object]
) -> None:
    composed = compile_template(templates()[name], Profile()).compose(letter(variables))
    assert f"@{FROM_DOMAIN}>".encode() in composed.headers
    assert b"https://nimbus.example/u/token" in composed.body.replace(b"=\r\n", b"")
    assert b"<!-- " not in composed.body


def test_html_is_escaped_and_text_is_not() -> None:
    template = templates()["welcome"]
    body = compile_template(template, Profile()).compose(letter(FULL)).body
    assert b"<strong>Feather &amp; Flint</strong>" in body.replace(b"=\r\n", b"")
    assert b"Feather & Flint is being packed" in body.replace(b"=\r\n", b"")


@pytest.mark.parametrize("name", sorted(templates()))
def test_a_template_is_made_for_screen_readers_phones_and_dark_rooms(name: str) -> None:
    html = templates()[name].html
    assert '<html lang="en">' in html
    assert html.count("<table") == html.count('<table role="presentation"')
    assert html.count("<h1") == 1
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert templates()[name].text
