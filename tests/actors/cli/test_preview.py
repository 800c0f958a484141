"""`veredus preview`: steps and templates as a contact would get them, from files and from what is published."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from actors.cli.main import run
from actors.cli.proving import library
from actors.publishing import Publication, publish, read_template
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from engine.config import Tenant
from tests.actors.cli.conftest import Instance, Veredus
from tests.actors.operations.living import config_of

SCENARIO = """
scenario: thanks
entry: order.placed
steps:
  - id: now
    send: {template: thanks, topic: offers}
"""
HEAD = """
subject = "{{ t.subject }}"
[texts.en]
subject = "{{ plural(event.items|length, one='# thing', other='# things') }} for {{ contact.first_name }}"
[texts.pl]
subject = "{{ plural(event.items|length, one='# rzecz', few='# rzeczy', many='# rzeczy', other='#') }}"
"""
HTML = """<p>{% for item in event.items %}{{ item.title }}: {{ '%.2f'|format(item.price / 100) }} {% endfor %}</p>
<p><a href="https://shop.example/orders">Your order</a></p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scenario and its template; the working directory."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "thanks.yaml").write_text(SCENARIO)
    (tmp_path / "templates" / "thanks.toml").write_text(HEAD)
    (tmp_path / "templates" / "thanks.html").write_text(HTML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(veredus: Veredus, *arguments: str | Path) -> Any:
    said = veredus("preview", *arguments, "--json")
    assert said.status == 0, said.err
    return json.loads(said.out)


def test_a_step_in_all_its_languages_with_made_up_values(veredus: Veredus) -> None:
    made = told(veredus, "thanks.yaml")
    assert (made["scenario"], made["step"], made["topic"]) == ("thanks", "now", "offers")
    assert made["made_up"] == ["contact.first_name", "event.items"]
    english, polish = made["views"]
    assert (english["language"], english["subject"]) == ("en", "2 things for Ann")
    assert (polish["language"], polish["subject"]) == ("pl", "2 rzeczy")
    assert "title: 12.34" in english["html"]
    assert "title: 12.34" in english["text"]
    assert [link["text"] for link in english["links"]] == ["Your order", "Unsubscribe"]
    assert {"from", "to", "subject", "message-id"} <= {name for name, _ in english["headers"]}
    assert english["size"] > english["html_size"] > 100
    assert english["hints"] == []


def test_a_given_contact_and_event_get_nothing_made_up(veredus: Veredus, shop: Path) -> None:
    (shop / "ann.json").write_text(
        '{"attributes": {"language": "pl", "email": "ann@inbox.example"}}'
    )
    (shop / "order.json").write_text('{"items": [{"title": "Kubek", "price": 5000}]}')
    made = told(veredus, "thanks.yaml", "--contact", "ann.json", "--event", "order.json")
    [view] = made["views"]
    assert (view["subject"], view["to"]) == ("1 rzecz", "<ann@inbox.example>")
    assert "Kubek: 50.00" in view["html"]
    assert made["made_up"] == []
    wrong = veredus(
        "preview",
        "thanks.yaml",
        "--contact",
        "ann.json",
        "--event",
        "order.json",
        "--language",
        "en",
    )
    assert wrong.status == 2
    assert "contact.first_name" in wrong.err or "undefined" in wrong.err


def test_a_contact_of_a_running_instance(veredus: Veredus, instance: Instance, shop: Path) -> None:
    (shop / "people.csv").write_text(
        "contact,first_name,email,language\nbo,Bo,bo@inbox.example,en\n"
    )
    imported = veredus("contacts", "import", "people.csv", "--data", instance.data)
    assert imported.status == 0, imported.err
    [view] = told(veredus, "thanks.yaml", "--contact", "bo", "--data", instance.data)["views"]
    assert (view["subject"], view["to"]) == ("2 things for Bo", "<bo@inbox.example>")
    missing = veredus("preview", "thanks.yaml", "--contact", "nobody", "--data", instance.data)
    assert missing.status != 0
    assert "no such contact" in missing.err


def test_what_is_published_needs_no_files(veredus: Veredus, shop: Path) -> None:
    config = config_of(shop / "data")
    template = read_template(
        shop / "templates" / "thanks.toml", Tenant(from_address="news@shop.example")
    )
    publish(
        config,
        letterheads(config, secret_of),
        [Publication("default", {"f": SCENARIO}, {"thanks": template})],
        now=1,
        actor="test",
        reason="test",
    )
    assert told(veredus, "thanks", "--data", "data")["version"]
    (shop / "thanks.yaml").unlink()
    [view] = told(veredus, "thanks", "now", "--language", "pl", "--data", "data")["views"]
    assert view["sender"] == "<news@shop.example>"
    lost = veredus("preview", "thank", "--data", "data")
    assert lost.status == 2
    assert "did you mean `thanks`?" in lost.err


def test_mistakes_say_what_there_is(veredus: Veredus, shop: Path) -> None:
    (shop / "thanks.yaml").write_text(SCENARIO + "  - {id: b, send: {template: x, topic: t}}\n")
    assert "which of its mails? (name now, b)" in veredus("preview", "thanks.yaml").err
    assert "no step `noww` that sends" in veredus("preview", "thanks.yaml", "noww").err
    assert "there is no template 'x'" in veredus("preview", "thanks.yaml", "b").err


def test_risks_are_told(veredus: Veredus, shop: Path) -> None:
    (shop / "templates" / "loud.toml").write_text('subject = "Re: ACT NOW!! FREE MONEY FOR YOU"\n')
    (shop / "templates" / "loud.html").write_text(
        "<script>1</script><img src='https://x.example/a'>"
    )
    [view] = told(veredus, "templates/loud.toml")["views"]
    found = " ".join(hint["found"] for hint in view["hints"])
    for risk in ("shouts", "!!", "pretends to be an answer", "know", "scripts", "unsubscribe"):
        assert risk in found, (risk, found)


def test_the_page_holds_everything_and_loads_nothing(veredus: Veredus, shop: Path) -> None:
    said = veredus("preview", "thanks.yaml", "--html", "page.html")
    assert said.out.endswith("Wrote page.html\n")
    page = (shop / "page.html").read_text()
    assert page.count("<iframe") == 4
    assert page.count(" sandbox ") == 4
    assert "default-src 'none'" in page
    outside = re.sub(r'srcdoc="[^"]*"', "", page)
    assert not re.search(r"(?:src|href)=[\"']https?:", outside)


@pytest.mark.parametrize("name", sorted(library()))
def test_every_mail_of_the_library_can_be_looked_at(veredus: Veredus, name: str) -> None:
    for head in sorted((library()[name] / "templates").glob("*.toml")):
        made = told(veredus, head)
        assert {view["language"] for view in made["views"]} == {"en", "pl"}
        for view in made["views"]:
            assert not view["hints"], (head.name, view["language"], view["hints"])


def test_the_help_names_it() -> None:
    assert run(["preview", "--help"]) == 0
