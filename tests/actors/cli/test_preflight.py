"""`veredus preflight`: domains, templates and messages against a zone out of a file; text, JSON, page, exit status."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import pytest

from actors.cli.main import run
from actors.cli.preflight_probe import probe
from deliverability.preflight.demands import CHECKS
from tests.actors.cli.conftest import Veredus

ZONE = """
["shop.example"]
MX = "10 mx.shop.example"
A = "192.0.2.80"
TXT = "v=spf1 ip4:192.0.2.1 -all"
["mx.shop.example"]
A = "192.0.2.1"
["192.0.2.1"]
PTR = "mx.shop.example"
["_dmarc.shop.example"]
TXT = "v=DMARC1; p=none; rua=mailto:dmarc@shop.example"
"""

MAIL = """From: Shop <news@shop.example>
To: reader@example.net
Subject: <b>News</b>
Date: Mon, 23 Nov 2026 09:00:00 +0000
Message-ID: <1@shop.example>
List-Unsubscribe: <https://127.0.0.1:1/u/token>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: text/plain

Hello. To unsubscribe: https://127.0.0.1:1/u/token
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a template, made once: an RSA key takes its time."""
    folder = tmp_path_factory.mktemp("preflight") / "shop"
    assert run(["init", str(folder), "--domain", "shop.example"]) == 0
    (folder / "mail.eml").write_text(MAIL)
    (folder / "spring.toml").write_text('subject = "Spring, {{ name }}"\n')
    (folder / "spring.html").write_text(
        "<p>Hello {{ name }}, {{ order.title }}</p>"
        "<a href='https://shop.example/'>Shop</a> <a href='https://shop.example/u'>Unsubscribe</a>"
    )
    return folder


@pytest.fixture
def shop(made: Path, veredus: Veredus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it which is the working directory, with a zone that has its key."""
    folder = tmp_path / "shop"
    copytree(made, folder)
    monkeypatch.chdir(folder)
    (key,) = json.loads(veredus("dkim", "dns", "--json").out)
    (folder / "zone.toml").write_text(f'{ZONE}["{key["name"]}"]\nTXT = "{key["record"]}"\n')
    return folder


def checks(out: str, verdict: str) -> set[str]:
    return {one["check"] for one in json.loads(out)["findings"] if one["verdict"] == verdict}


def test_a_domain_that_is_set_up_passes(veredus: Veredus, shop: Path) -> None:
    """Status 0; keys and policies come from the configuration, DNS from the file."""
    said = veredus(
        *("preflight", "shop.example", "--dns", "zone.toml"),
        *("--source", "192.0.2.1=mx.shop.example", "--json"),
    )
    assert (said.status, checks(said.out, "block")) == (0, set())
    passed = {"spf", "spf-lookups", "dkim-record", "dmarc-record", "alignment", "ptr", "ehlo"}
    assert passed <= checks(said.out, "pass")
    assert checks(said.out, "warn") == {"streams"}


def test_what_blocks_gives_status_1_and_says_how_to_mend(veredus: Veredus, shop: Path) -> None:
    """In text: what was found, who wants what, how to mend it."""
    said = veredus("preflight", "shop.example", "--dns", "zone.toml", "--source", "192.0.2.9")
    assert said.status == 1
    assert "✗ BLOCK spf: 192.0.2.9 for shop.example" in said.out
    assert "Google must 4.7.27 5.7.27" in said.out
    assert "mend:   add ip4:192.0.2.9 to the SPF record of shop.example" in said.out
    assert "? not checked: spam-rate" in said.out


def test_a_message_that_is_not_signed_yet_is_signed_as_it_will_be(
    veredus: Veredus, shop: Path
) -> None:
    """One-click counts as signed; without the configuration it doesn't."""
    said = veredus("preflight", "mail.eml", "--dns", "zone.toml", "--json")
    assert {"dkim-signature", "one-click", "visible-link", "form"} <= checks(said.out, "pass")
    assert "signed here" in json.loads(said.out)["notes"][0]
    (shop / "veredus.toml").rename(shop / "elsewhere.toml")
    bare = veredus("preflight", "mail.eml", "--dns", "zone.toml", "--json")
    assert {"dkim-signature", "one-click"} <= checks(bare.out, "block")


def test_a_template_is_rendered_and_signed(veredus: Veredus, shop: Path) -> None:
    """Made-up values where they do, given ones where they don't."""
    alone = veredus("preflight", "spring.toml", "--dns", "zone.toml", "--json")
    assert json.loads(alone.out)["notes"] == ["Rendered with made-up values for name, order.title."]
    (shop / "values.json").write_text('{"order": "Tulips"}')
    command = ("preflight", "spring.toml", "--dns", "zone.toml", "--variables", "values.json")
    unfit = veredus(*command)
    assert unfit.status == 2
    assert "order" in unfit.err
    (shop / "values.json").write_text('{"order": {"title": "Tulips"}}')
    command = ("preflight", "spring.toml", "--dns", "zone.toml", "--variables", "values.json")
    said = veredus(*command, "--json")
    assert json.loads(said.out)["notes"] == ["Rendered with made-up values for name."]
    assert {"dkim-signature", "form", "text-part", "visible-link"} <= checks(said.out, "pass")


def test_facts_are_read(veredus: Veredus, shop: Path) -> None:
    """History, streams, sources and enrolments, and mistakes in them with their place."""
    (shop / "facts.toml").write_text(
        """
source = [{ address = "192.0.2.1", ehlo = "mx.shop.example" }]
[[history]]
provider = "google"
recent_per_day = 10000
planned_per_day = 50000
spam_rate = 0.004
[[stream]]
name = "marketing"
selectors = ["s1"]
[[stream]]
name = "transactional"
selectors = ["s2"]
[enrolled]
google_postmaster = true
yahoo_cfl = true
microsoft_snds = true
microsoft_jmrp = true
"""
    )
    command = ("preflight", "shop.example", "--dns", "zone.toml", "--facts", "facts.toml")
    said = veredus(*command, "--json")
    assert checks(said.out, "block") == {"spam-rate", "volume-step"}
    assert {"enrolled", "streams", "spf", "ehlo"} <= checks(said.out, "pass")
    (shop / "facts.toml").write_text("[[history]]\nrate = 1\n")
    wrong = veredus(*command)
    assert wrong.status == 2
    assert "facts.toml" in wrong.err


class _Tags(HTMLParser):
    """Collects what would load something, and unclosed tags."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_safe(veredus: Veredus, shop: Path) -> None:
    """It loads nothing, escapes what the message holds, and has all findings."""
    (shop / "mail.eml").write_text(MAIL.replace("Shop <", "<script>alert(1)</script> <"))
    said = veredus("preflight", "mail.eml", "--dns", "zone.toml", "--html", "page.html", "--json")
    page = (shop / "page.html").read_text("utf-8")
    tags = _Tags()
    tags.feed(page)
    assert (tags.loads, tags.open) == ([], [])
    assert "<script" not in page
    for finding in json.loads(said.out)["findings"]:
        assert CHECKS[finding["check"]].title.replace("'", "&#x27;") in page


def test_the_page_promises_nothing_that_was_not_checked(veredus: Veredus, shop: Path) -> None:
    """Without addresses SPF and PTR can't be checked, so it doesn't say that all is well."""
    veredus("preflight", "shop.example", "--dns", "zone.toml", "--html", "page.html")
    assert "Nothing blocks in what could be checked" in (shop / "page.html").read_text("utf-8")


def test_the_endpoint_is_probed_only_when_asked(veredus: Veredus, shop: Path) -> None:
    """Nothing listens there: without --probe it is unchecked, with it it blocks."""
    command = ("preflight", "mail.eml", "--dns", "zone.toml", "--json")
    quiet = json.loads(veredus(*command).out)
    assert "endpoint" in {one["check"] for one in quiet["unchecked"]}
    assert "endpoint" in checks(veredus(*command, "--probe").out, "block")
    assert probe("https://127.0.0.1:1/").failure


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_domain",), "not an address"),
        (("none.eml",), "none.eml: can't be read"),
        (("shop.example", "--source", "x"), "--source: 'x' isn't an IP address"),
        (("shop.example", "--tenant", "nobody"), "no tenant 'nobody'"),
        (("shop.example", "--dns", "none.toml"), "none.toml: can't be read"),
    ],
)
def test_mistakes_are_one_line(
    veredus: Veredus, shop: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Status 2, and what to give instead."""
    told = veredus(
        "preflight", *arguments, *(() if "--dns" in arguments else ("--dns", "zone.toml"))
    )
    assert told.status == 2
    assert said in told.err
    assert told.err.count("\n") == 1
