"""Effective limits: the order of layers, and the line that set each value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.effective import explain, site_key
from deliverability.shaping.quantities import Throttle
from deliverability.shaping.reading import read_rule_set

PACK = Path(__file__).parents[3] / "deliverability" / "shaping" / "provider_pack.toml"

BELOW = """\
[default]
connection_limit = 10
max_message_rate = "1/s"
[provider.p]
match = [{MXSuffix = ".p.example"}]
connection_limit = 9
provider_connection_limit = 7
provider_max_message_rate = "30/min"
[provider.p.sources.s1]
connection_limit = 8
["a.example"]
connection_limit = 6
["b.example"]
mx_rollup = false
connection_limit = 5
["a.example".sources.s1]
connection_limit = 4
"""
ABOVE = """\
[default]
connection_limit = 20
["c.example"]
replace_base = true
max_deliveries_per_connection = 3
"""
RULES = read_rule_set([("below.toml", BELOW), ("above.toml", ABOVE)])


@pytest.mark.parametrize(
    ("domain", "hosts", "source", "value", "line"),
    [
        ("x.example", [], "", "20", 2),
        ("x.example", ["m1.p.example.", "M2.P.example"], "", "9", 6),
        ("x.example", ["m1.p.example"], "s1", "8", 10),
        ("x.example", ["m1.p.example", "other.example"], "", "20", 2),
        ("a.example", ["m1.p.example"], "", "6", 12),
        ("a.example", ["m1.p.example"], "s1", "4", 17),
        ("b.example", ["m1.p.example"], "s1", "5", 15),
    ],
)
def test_later_layers_win_and_are_named(
    domain: str, hosts: list[str], source: str, value: str, line: int
) -> None:
    found = explain(RULES, domain, hosts, source).setting("connection_limit")
    assert found is not None
    assert (str(found.value), found.place.line) == (value, line)


def test_what_a_value_hides_is_kept_in_order() -> None:
    found = explain(RULES, "a.example", ["m1.p.example"]).setting("connection_limit")
    assert found is not None
    assert [(place.file, place.line) for place in found.hides] == [
        ("below.toml", 2),
        ("above.toml", 2),
        ("below.toml", 6),
    ]


def test_replace_base_drops_what_came_before() -> None:
    limits = explain(RULES, "c.example", ["m1.p.example"])
    assert [each.name for each in limits.settings] == ["max_deliveries_per_connection"]


def test_the_tighter_of_site_and_provider_holds() -> None:
    limits = explain(RULES, "x.example", ["m1.p.example"])
    assert limits.connections() == 7
    assert limits.throttle("max_message_rate") == Throttle(30, 60_000)


def test_a_site_rule_holds_for_all_domains_of_the_site() -> None:
    known = {"a.example": site_key(["m1.p.example"])}
    found = explain(RULES, "x.example", ["M1.p.example."], "", known).setting("connection_limit")
    assert found is not None
    assert found.place.line == 12


@pytest.mark.parametrize(
    ("domain", "hosts", "provider"),
    [
        ("gmail.com", [], "google"),
        ("firma.example", ["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "google"),
        ("contoso.example", ["contoso-example.mail.protection.outlook.com"], "microsoft-365"),
        ("hotmail.com", ["hotmail-com.olc.protection.outlook.com"], "microsoft-consumer"),
        ("aol.com", [], "yahoo"),
        ("me.com", [], "apple"),
        ("wanadoo.fr", [], "orange"),
        ("gmx.at", [], "gmx-webde"),
        ("t-online.de", [], "t-online"),
        ("bk.ru", [], "mail.ru"),
        ("o2.pl", [], "wp"),
        ("buziaczek.pl", [], "onet"),
        ("poczta.fm", [], "interia"),
    ],
)
def test_the_pack_knows_the_providers_and_their_aliases(
    domain: str, hosts: list[str], provider: str
) -> None:
    rules = read_rule_set([("pack.toml", PACK.read_text("utf-8"))])
    assert explain(rules, domain, hosts).providers == (provider,)


@given(st.permutations(["a.example", "B.example", "c.example."]))
def test_a_site_is_its_set_of_hosts(hosts: list[str]) -> None:
    assert site_key(hosts) == "a.example,b.example,c.example"
