"""What preflight blocks starts or is published only with an override, on record; to a twin nothing is demanded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.gateway.planning_preflight import let_through, look_at
from actors.instance.examining import tell_preflight
from actors.planning.keeper import Keeper
from actors.planning.versions import Author, Migrating, VersionDesk
from actors.preflighting import Preflight, blocking, override_words
from actors.publishing import Publication, publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from deliverability.compose.template import Template
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.dns.asking import Asking, run
from deliverability.dns.zone import parse_zone
from deliverability.preflight.findings import Report
from engine.config import Config, Delivery, DkimKey, Relay, Tenant
from engine.config import Preflight as PreflightSettings
from engine.errors import RefusedError, TransportError
from scenarios.campaign import load_campaign
from scenarios.checking import load

NOW = 1_800_000_000_000
AUTHOR = Author("ann", "spring sale", NOW)
CAMPAIGN = load_campaign("campaign: spring\nsend: {template: spring, topic: offers}\n")
TEXT = """
scenario: spring
entry: {event: shop.opened}
steps:
  - id: offer
    send: {template: spring, topic: offers}
  - id: receipt
    send: {template: receipt, stream: transactional}
"""
SCENARIO = load(TEXT, "spring.yaml")
BROKEN = """
["shop.example"]
A = "192.0.2.80"
TXT = "v=spf1 ip4:192.0.2.1 -all"
"""
ZONE = """
["shop.example"]
A = "192.0.2.80"
MX = "10 mx.shop.example"
TXT = "v=spf1 ip4:192.0.2.1 -all"
["mx.shop.example"]
A = "192.0.2.1"
["_dmarc.shop.example"]
TXT = "v=DMARC1; p=none; rua=mailto:dmarc@shop.example"
["s1._domainkey.shop.example"]
TXT = "KEY"
"""


def made(
    folder: Path, zone: str, mode: str = "relay", at_publish: str = "tell"
) -> tuple[Preflight, str]:
    """An instance's preflight over a published template, and the record of its key."""
    pem = folder / "s1.pem"
    pem.write_bytes(generate_pem("rsa-sha256"))
    tenant = Tenant(
        from_domains=("shop.example",),
        from_address="news@shop.example",
        public_url="https://shop.example",
        dkim=(DkimKey(domain="shop.example", selector="s1", key_file=str(pem)),),
    )
    delivery = Delivery(mode=cast("Any", mode), relay=Relay(host="mx.example"))
    config = Config(
        data_dir=str(folder / "data"),
        tenant=(tenant,),
        delivery=delivery,
        preflight=PreflightSettings(at_publish=cast("Any", at_publish)),
    )
    heads = letterheads(config, secret_of)
    page = "<p>Hello {{ contact.first_name }}</p><a href='{{ unsubscribe_url }}'>Unsubscribe</a>"
    template = Template("spring", "Spring", page, from_address="news@shop.example")
    receipt = Template("receipt", "Receipt", "<p>Paid</p>", from_address="news@shop.example")
    publish(
        config,
        heads,
        [Publication("default", {}, {"spring": template, "receipt": receipt})],
        now=NOW,
        actor="test",
        reason="",
    )
    record = dns_record(load_key(pem.read_bytes(), "shop.example", "s1"))
    places = parse_zone(zone.replace("KEY", record), "zone")

    async def resolve(asking: Asking[list[Report]]) -> list[Report]:
        return run(asking, places.answer)

    return Preflight(config, heads, resolve, lambda: NOW), record


def keeper_of(preflight: Preflight | None) -> Keeper:
    """What the endpoint asks a keeper for."""
    record = SimpleNamespace(campaign=CAMPAIGN)
    campaigns = SimpleNamespace(get=lambda tenant, name: record)
    return cast("Keeper", SimpleNamespace(preflight=preflight, campaigns=campaigns))


def through(preflight: Preflight | None, override: str = "") -> Author:
    return asyncio.run(let_through(keeper_of(preflight), "default", "spring", override, AUTHOR))


def test_what_is_in_order_starts_as_it_is(tmp_path: Path) -> None:
    """Signed, aligned, with one-click: nothing blocks and the reason stays the author's."""
    preflight, _ = made(tmp_path, ZONE)
    assert blocking(asyncio.run(preflight.reports("default", CAMPAIGN))) == []
    assert through(preflight) == AUTHOR


def test_what_is_blocked_needs_an_override_that_goes_on_record(tmp_path: Path) -> None:
    """No DMARC record, another key in DNS: the refusal names check and mend, the override both and why."""
    broken = ZONE.replace("_dmarc", "_elsewhere").replace("KEY", "v=DKIM1; p=AAAA")
    preflight, _ = made(tmp_path, broken)
    with pytest.raises(RefusedError) as refused:
        through(preflight)
    assert "dmarc-record" in str(refused.value)
    assert "dkim" in str(refused.value)
    assert "override" in (refused.value.mend or "")
    told = through(preflight, "the record is on its way").reason
    assert told.startswith("preflight overridden (")
    assert "dmarc-record" in told
    assert told.endswith(": the record is on its way")


def test_to_a_twin_nothing_is_demanded(tmp_path: Path) -> None:
    """Nothing leaves, so nothing is asked."""
    preflight, _ = made(tmp_path, "", "twin")
    assert asyncio.run(preflight.reports("default", CAMPAIGN)) == []
    assert through(None) == through(preflight) == AUTHOR


def test_without_dns_an_override_still_starts(tmp_path: Path) -> None:
    """A machine without a resolver can't examine; an operator may still decide."""
    preflight, _ = made(tmp_path, ZONE)

    async def fails(asking: Asking[list[Report]]) -> list[Report]:
        del asking
        raise TransportError("resolve", "no resolver", "")

    cast("Any", preflight)._resolve = fails
    with pytest.raises(RefusedError, match="DNS"):
        through(preflight)
    assert through(preflight, "smart host").reason == override_words([], "smart host")


def looked(preflight: Preflight | None, override: str = "", *, refuses: bool = True) -> Author:
    found = asyncio.run(
        look_at(keeper_of(preflight), "default", SCENARIO, override, refuses=refuses)
    )
    return found.author(AUTHOR)


def test_publishing_a_scenario_tells_what_providers_refuse(tmp_path: Path) -> None:
    """Each finding once, whatever number of steps send the template; what blocks first; nothing is refused."""
    preflight, _ = made(tmp_path, BROKEN)
    found = asyncio.run(look_at(keeper_of(preflight), "default", SCENARIO, "", refuses=True))
    said = [(line.check, line.subject, line.found) for line in found.lines]
    assert len(set(said)) == len(said)
    assert found.lines[0].verdict == "block"
    assert found.lines[0].template == "spring"
    assert "dmarc-record" in {line.check for line in found.lines if line.verdict == "block"}
    assert found.author(AUTHOR) == AUTHOR


def test_where_the_configuration_says_so_publishing_is_refused(tmp_path: Path) -> None:
    """An override publishes all the same, beside the reason that was given; what changes nothing is never refused."""
    preflight, _ = made(tmp_path, BROKEN, at_publish="refuse")
    with pytest.raises(RefusedError, match="preflight blocks scenario spring") as refused:
        looked(preflight)
    assert "override" in (refused.value.mend or "")
    told = looked(preflight, "the record is on its way").reason
    assert told.startswith("spring sale; preflight overridden (")
    assert told.endswith(": the record is on its way")
    assert looked(preflight, refuses=False) == AUTHOR


def test_a_scenario_in_order_is_published_under_any_policy(tmp_path: Path) -> None:
    """What blocks nothing needs no override, and an override that wasn't needed isn't on record."""
    preflight, _ = made(tmp_path, ZONE, at_publish="refuse")
    assert looked(preflight, "to be sure") == AUTHOR


def test_who_does_not_look_publishes_without_dns(tmp_path: Path) -> None:
    """`off`, a twin and an instance without preflight ask nothing; without DNS `tell` says so, `refuse` refuses."""

    async def fails(asking: Asking[list[Report]]) -> list[Report]:
        del asking
        raise TransportError("resolve", "no resolver", "")

    for at_publish, mode in (("off", "relay"), ("refuse", "twin")):
        folder = tmp_path / at_publish
        folder.mkdir()
        preflight, _ = made(folder, "", mode, at_publish)
        cast("Any", preflight)._resolve = fails
        assert looked(preflight) == AUTHOR
    assert looked(None) == AUTHOR
    folder = tmp_path / "without"
    folder.mkdir()
    preflight, _ = made(folder, ZONE)
    cast("Any", preflight)._resolve = fails
    found = asyncio.run(look_at(keeper_of(preflight), "default", SCENARIO, "", refuses=True))
    assert "DNS" in found.unexamined
    folder = tmp_path / "strict"
    folder.mkdir()
    preflight, _ = made(folder, ZONE, at_publish="refuse")
    cast("Any", preflight)._resolve = fails
    with pytest.raises(RefusedError, match="DNS"):
        looked(preflight)
    assert looked(preflight, "smart host").reason.endswith(override_words([], "smart host"))


def test_an_instance_that_begins_says_what_is_refused_and_goes_on(tmp_path: Path) -> None:
    """`up` refuses nothing: it tells what blocks, a few lines of it, or that it could not look."""
    preflight, _ = made(tmp_path, BROKEN)
    desk = VersionDesk(tmp_path / "data")
    desk.publish("default", TEXT, "spring.yaml", Migrating(), AUTHOR)
    said: list[str] = []
    asyncio.run(tell_preflight(preflight, desk, ["default"], said.append))
    assert 0 < len(said) <= 6
    assert all(line.startswith(("providers refuse spring: ", "and ")) for line in said)


def test_a_template_that_cannot_be_composed_hides_no_other(tmp_path: Path) -> None:
    """Mail of the transactional stream has no link to unsubscribe: such a template is named, others are examined."""
    preflight, _ = made(tmp_path, BROKEN, at_publish="refuse")
    wrong = load(TEXT.replace("template: receipt", "template: spring"), "spring.yaml")
    found = asyncio.run(look_at(keeper_of(preflight), "default", wrong, "later", refuses=True))
    assert "`unsubscribe_url` is undefined" in found.unexamined
    assert {line.template for line in found.lines} == {"spring"}
    with pytest.raises(RefusedError, match="is undefined"):
        asyncio.run(look_at(keeper_of(preflight), "default", wrong, "", refuses=True))
