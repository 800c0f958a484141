"""Where mail goes: MX, null MX, the implicit MX, failures, order, address policy, site names, IDN."""

from __future__ import annotations

import random

import pytest

from deliverability.dns.asking import MxRecord, run
from deliverability.dns.mail_hosts import (
    AddressPolicy,
    MailHosts,
    NoMailHosts,
    find_mail_hosts,
)
from deliverability.dns.sites import site_name
from deliverability.dns.zone import Zone, parse_zone

ZONE = """
["shop.example"]
MX = ["20 backup.shop.example", "10 mx1.shop.example", "10 mx2.shop.example", "10 mx3.shop.example"]
ttl = 600
["mx1.shop.example"]
A = ["192.0.2.1"]
AAAA = ["2001:db8::1"]
["mx2.shop.example"]
A = ["192.0.2.2"]
ttl = 60
["mx3.shop.example"]
CNAME = ["real.shop.example"]
["real.shop.example"]
A = ["192.0.2.3"]
["backup.shop.example"]
AAAA = ["2001:db8::9"]
["null.example"]
MX = ["0 ."]
["plain.example"]
A = ["192.0.2.7"]
["text.example"]
TXT = ["nothing here"]
["dead.example"]
MX = ["10 gone.example"]
["servfail.example"]
fail = "servfail"
["slow-hosts.example"]
MX = ["10 slow.example", "20 gone.example"]
["slow.example"]
fail = "timeout"
["partly.example"]
MX = ["10 slow.example", "20 mx1.shop.example"]
["xn--bcher-kva.example"]
MX = ["10 mx1.shop.example"]
["loop.example"]
CNAME = ["loop.example"]
"""


@pytest.fixture(scope="module")
def zone() -> Zone:
    return parse_zone(ZONE)


def find(
    zone: Zone, domain: str, policy: AddressPolicy = AddressPolicy.IPV4_FIRST, seed: int = 1
) -> MailHosts | NoMailHosts:
    return run(find_mail_hosts(domain, random.Random(seed), policy), zone.answer)


def test_hosts_come_by_preference_and_equals_in_every_order(zone: Zone) -> None:
    """The backup is last always; over many draws each of three equals is first about as often."""
    firsts = dict.fromkeys(["mx1", "mx2", "mx3"], 0)
    for seed in range(600):
        found = find(zone, "shop.example", seed=seed)
        assert isinstance(found, MailHosts)
        names = [host.name.partition(".")[0] for host in found.hosts]
        assert names[3] == "backup"
        firsts[names[0]] += 1
    assert all(150 < times < 250 for times in firsts.values())


def test_the_same_chance_gives_the_same_order(zone: Zone) -> None:
    """Order depends on nothing but the chance given."""
    assert find(zone, "shop.example", seed=7) == find(zone, "shop.example", seed=7)


def test_the_shortest_ttl_counts_and_cnames_are_followed(zone: Zone) -> None:
    """600 s for the MX, 60 s for one of the hosts; mx3 is another name for real."""
    found = find(zone, "shop.example")
    assert isinstance(found, MailHosts)
    assert found.ttl_s == 60
    aliased = next(host for host in found.hosts if host.name == "mx3.shop.example")
    assert (aliased.addresses, aliased.canonical) == (("192.0.2.3",), "real.shop.example")


@pytest.mark.parametrize(
    ("policy", "addresses"),
    [
        (AddressPolicy.IPV4_ONLY, ("192.0.2.1",)),
        (AddressPolicy.IPV6_ONLY, ("2001:db8::1",)),
        (AddressPolicy.IPV4_FIRST, ("192.0.2.1", "2001:db8::1")),
        (AddressPolicy.IPV6_FIRST, ("2001:db8::1", "192.0.2.1")),
    ],
)
def test_address_policy(zone: Zone, policy: AddressPolicy, addresses: tuple[str, ...]) -> None:
    """Each policy gives its families, in its order."""
    found = find(zone, "bücher.example", policy)
    assert isinstance(found, MailHosts)
    assert found.domain == "xn--bcher-kva.example"
    assert found.hosts[0].addresses == addresses


@pytest.mark.parametrize(
    ("domain", "permanent", "code"),
    [
        ("null.example", True, "5.1.10"),
        ("nowhere.example", True, "5.1.2"),
        ("text.example", True, "5.4.4"),
        ("dead.example", True, "5.4.4"),
        ("servfail.example", False, "4.4.3"),
        ("slow-hosts.example", False, "4.4.3"),
        ("loop.example", False, "4.4.3"),
        ("a..b", True, "5.1.2"),
        ("", True, "5.1.2"),
        ("x" * 64 + ".example", True, "5.1.2"),
    ],
)
def test_nowhere_to_go(zone: Zone, domain: str, permanent: bool, code: str) -> None:
    """What DNS says for sure bounces; what it doesn't say is tried later."""
    found = find(zone, domain)
    assert isinstance(found, NoMailHosts)
    assert (found.permanent, found.enhanced_code) == (permanent, code)
    assert permanent is (found.retry_after_s == 0)


def test_without_mx_the_address_is_used(zone: Zone) -> None:
    """RFC 5321 §5.1: the implicit MX."""
    found = find(zone, "plain.example")
    assert isinstance(found, MailHosts)
    assert (found.implicit, found.site, found.hosts[0].addresses) == (
        True,
        "plain.example",
        ("192.0.2.7",),
    )


def test_a_host_that_fails_is_passed_over(zone: Zone) -> None:
    """One host without an answer doesn't keep mail from the next."""
    found = find(zone, "partly.example")
    assert isinstance(found, MailHosts)
    assert [host.name for host in found.hosts] == ["mx1.shop.example"]


@pytest.mark.parametrize(
    ("literal", "address"), [("[192.0.2.5]", "192.0.2.5"), ("[IPv6:2001:db8::5]", "2001:db8::5")]
)
def test_address_literals_need_no_dns(zone: Zone, literal: str, address: str) -> None:
    """RFC 5321 §4.1.3."""
    found = find(zone, literal)
    assert isinstance(found, MailHosts)
    assert found.hosts[0].addresses == (address,)


def test_site_names_are_kumomtas() -> None:
    """Common labels are kept, others stand in brackets, some may be missing."""
    gmail = [MxRecord(5, "gmail-smtp-in.l.google.com")]
    gmail += [MxRecord(10 * n, f"alt{n}.gmail-smtp-in.l.google.com") for n in (1, 2, 3, 4)]
    assert site_name(gmail) == "(alt1|alt2|alt3|alt4)?.gmail-smtp-in.l.google.com"
    yahoo = [MxRecord(1, f"mta{n}.am0.yahoodns.net") for n in (7, 5, 6)]
    assert site_name(yahoo) == site_name(yahoo[::-1]) == "(mta5|mta6|mta7).am0.yahoodns.net"
    assert site_name([MxRecord(10, "MX.Shop.Example.")]) == "mx.shop.example"


def test_domains_that_share_hosts_share_a_site(zone: Zone) -> None:
    """The site is of the hosts, not of the domain."""
    other = parse_zone(ZONE + '\n["vanity.example"]\nMX = ["5 mx1.shop.example"]\n')
    one, two = find(other, "vanity.example"), find(other, "bücher.example")
    assert isinstance(one, MailHosts)
    assert isinstance(two, MailHosts)
    assert one.site == two.site == "mx1.shop.example"
