"""The library: each scenario proves itself, and each template is fit to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from html5lib import HTMLParser

from actors.cli.proving import Subject, library, read_subject
from actors.publishing import read_template
from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.template import Letter, Profile
from deliverability.tokens import KeyRing
from engine.config import Tenant
from engine.vocabulary import ConsentGiven
from scenarios.compiling import compile_scenario
from scenarios.formatting import format_scenario
from scenarios.model import Send, walk
from scenarios.proof.case import Case
from scenarios.proof.rehearsal import Rehearsed, rehearse
from scenarios.proof.suite import prove
from scenarios.zones import local_time, zone_of
from tests.scenarios.proof.markup import CONTRAST_MIN, VAGUE, Markup

SHELF = library()
TEMPLATES = [
    (name, path.stem) for name, at in SHELF.items() for path in sorted(at.glob("templates/*.toml"))
]
BYTES_MAX = 102 * 1024  # beyond it Gmail cuts a message off
PROFILE = Profile(
    unsubscribe_mailto="unsubscribe@shop.example",
    unsubscribe_url="https://shop.example/u/",
    keys=KeyRing(0, {0: b"k" * 32}),
)
NAMED = {
    "onboarding",
    "abandoned-cart",
    "cyclic-education",
    "lead-nurturing",
    "cross-sell",
    "win-back",
    "double-opt-in",
    "post-purchase-review",
    "renewal-reminder",
    "re-permission",
}


@cache
def _subject(name: str) -> Subject:
    subject, mistakes = read_subject(SHELF[name] / "tests.yaml")
    assert mistakes == []
    assert subject is not None
    return subject


@cache
def _rehearsed(name: str) -> list[tuple[Case, Rehearsed]]:
    subject = _subject(name)
    catalog = {subject.scenario.name: compile_scenario(subject.scenario)}
    return [(case, rehearse(case, catalog)) for case in subject.suite.cases]


def test_the_library_has_all_its_scenarios() -> None:
    assert set(SHELF) == NAMED


@pytest.mark.parametrize("name", SHELF)
def test_a_scenario_is_named_as_its_folder_and_explained(name: str) -> None:
    assert _subject(name).scenario.name == name
    assert _subject(name).scenario.description
    assert (SHELF[name] / "README.md").read_text("utf-8").startswith("# ")


@pytest.mark.parametrize("name", SHELF)
def test_a_scenario_is_laid_out_as_fmt_does_it(name: str) -> None:
    text = (SHELF[name] / "scenario.yaml").read_text("utf-8")
    assert format_scenario(text) == text


@pytest.mark.parametrize("name", SHELF)
def test_all_cases_pass_cover_everything_and_notice_all_damage(name: str) -> None:
    subject = _subject(name)
    proof = prove(subject.scenario, subject.suite, subject.beside, mutate=True)
    assert [verdict.case.name for verdict in proof.failed] == []
    assert proof.coverage.missed == ()
    assert proof.coverage.percent == 100
    assert proof.survivors == ()
    assert proof.mutants is not None
    assert proof.mutants >= 20


@pytest.mark.parametrize("name", SHELF)
def test_there_are_cases_for_a_cap_a_withdrawal_and_a_change_of_the_clock(name: str) -> None:
    seen = _rehearsed(name)
    assert any(case.given.settings.caps for case, _ in seen)
    assert any(
        isinstance(one.body, ConsentGiven) and not one.body.granted
        for case, _ in seen
        for one in case.inputs
    )
    assert any(_clock_changed(case, rehearsed) for case, rehearsed in seen)


def _clock_changed(case: Case, rehearsed: Rehearsed) -> bool:
    """Whether mail goes on both sides of a change of the offset, or after one since the beginning."""
    zone = zone_of(case.given.attributes["timezone"])
    assert zone is not None
    sent = [line.at for line in rehearsed.timeline if line.what == "send"]
    times = [case.given.at, *sent]
    return len({local_time(at, zone).utcoffset() for at in times}) > 1


@pytest.mark.parametrize("name", SHELF)
def test_sends_and_templates_belong_together(name: str) -> None:
    sends = {
        step.template for step in walk(_subject(name).scenario.steps) if isinstance(step, Send)
    }
    assert sends == {template for scenario, template in TEMPLATES if scenario == name}


# ---- templates


@cache
def _skeleton(scenario: str, template: str) -> Skeleton:
    tenant = Tenant(name="shop", from_address="hello@shop.example", from_name="Aster")
    path = SHELF[scenario] / "templates" / f"{template}.toml"
    return compile_template(read_template(path, tenant), PROFILE)


def _variables(scenario: str, template: str) -> Iterator[Mapping[str, Any]]:
    """Every set of variables with which the cases send a template, in both languages and in none."""
    lines = (line for _, rehearsed in _rehearsed(scenario) for line in rehearsed.timeline)
    seen = [one.variables for one in lines if one.what == "send" and one.detail == template]
    assert seen, "no case sends it"
    for variables in seen:
        for language in ("pl", "en"):
            contact = {**variables["contact"], "language": language}
            yield {**variables, "contact": contact}
    bare = {"email": "a@shop.example"}
    attributes = {name: value for name, value in seen[0]["contact"].items() if name == "renewal"}
    yield {**seen[0], "contact": {**bare, **attributes}, "event": _needed(seen[0]["event"])}


def _needed(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name == "value"}


def _composed(scenario: str, template: str, variables: Mapping[str, Any]) -> tuple[bytes, Any]:
    letter = Letter(
        message_id_hex="0" * 32,
        tenant="shop",
        recipient="anna@shop.example",
        date_ms=1_772_442_000_000,
        variables=variables,
        stream="marketing",
        scenario=scenario,
    )
    composed = _skeleton(scenario, template).compose(letter)
    content = composed.headers + b"\r\n" + composed.body
    return content, message_from_bytes(content)


def _parts(message: Any) -> tuple[str, str]:
    parts = (part.get_payload(decode=True).decode() for part in message.get_payload())
    text, html = (part.replace("\r\n", "\n") for part in parts)
    return text, html


@pytest.mark.parametrize(("scenario", "template"), TEMPLATES)
def test_a_template_renders_with_the_variables_of_its_cases(scenario: str, template: str) -> None:
    for variables in _variables(scenario, template):
        content, message = _composed(scenario, template, variables)
        text, html = _parts(message)
        polish = variables["contact"].get("language") == "pl"
        assert len(content) < BYTES_MAX
        assert f'<html lang="{"pl" if polish else "en"}" ' in html
        assert ("Dzień dobry!" in text) == polish
        assert ("Wypisz się" in html) == polish
        assert "List-Unsubscribe" in message
        assert "  " not in text.replace("-- ", "")
        assert re.search(r"\{[{%]|[%}]\}", text + html) is None


@pytest.mark.parametrize(("scenario", "template"), TEMPLATES)
def test_a_template_is_well_formed_named_and_readable(scenario: str, template: str) -> None:
    for variables in _variables(scenario, template):
        _, message = _composed(scenario, template, variables)
        html = _parts(message)[1]
        HTMLParser(strict=True).parse(html)  # raises where HTML 5 is broken
        page = Markup(html)
        assert page.mistakes == []
        assert page.language in {"pl", "en"}
        assert page.title
        assert len(page.headings) == 1
        assert page.headings[0]
        for href, text in page.links:
            assert href.startswith(("https://", "mailto:"))
            assert text
            assert text.lower() not in VAGUE
        assert [line for line in page.texts if min(line[1:]) < CONTRAST_MIN] == []
        assert any(light != dark for _, light, dark in page.texts)


@pytest.mark.parametrize(("scenario", "template"), TEMPLATES)
def test_both_languages_say_something_of_their_own(scenario: str, template: str) -> None:
    variables = list(_variables(scenario, template))[:2]
    polish, english = (_composed(scenario, template, one)[1] for one in variables)
    assert polish["Subject"] != english["Subject"]
    assert _parts(polish)[0].split("\n")[0] != _parts(english)[0].split("\n")[0]


@pytest.mark.parametrize(("scenario", "template"), TEMPLATES)
def test_polish_is_set_as_polish_is(scenario: str, template: str) -> None:
    """No line ends in a word of one letter or begins with a dash; no straight quotes, no English left over."""
    polish = next(iter(_variables(scenario, template)))
    _, html = _parts(_composed(scenario, template, polish)[1])
    shown = html[html.index("<h1") :]
    text = re.sub(r"<[^>]*>", "\n", shown)
    assert re.findall(r"(?<!\w)[aiouwzAIOUWZ] +[\w\u201e]", text) == []
    assert re.findall('["“]| \N{EN DASH}', text) == []
    assert re.findall(r"\b(the|you|your|and)\b", text) == []


def test_all_templates_share_one_frame() -> None:
    """Who mends the frame mends it in all: head, styles and footer are the same to the letter."""
    frames = set()
    for path in sorted(path for at in SHELF.values() for path in at.glob("templates/*.mjml")):
        mjml = Path(path).read_text("utf-8")
        frames.add(re.search(r"</mj-preview>.*?</mj-head>", mjml, re.DOTALL)[0])  # type: ignore[index]  # a page without a head fails here as it should
    assert len(frames) == 1
