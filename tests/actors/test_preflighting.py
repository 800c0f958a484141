"""A campaign that preflight blocks starts only with an override, on record; to a twin nothing is demanded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.gateway.planning import let_through
from actors.planning.keeper import Keeper
from actors.planning.versions import Author
from actors.preflighting import CampaignPreflight, blocking, override_words
from actors.publishing import Publication, publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from deliverability.compose.template import Template
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.dns.asking import Asking, run
from deliverability.dns.zone import parse_zone
from deliverability.preflight.findings import Report
from engine.config import Config, Delivery, DkimKey, Relay, Tenant
from engine.errors import RefusedError, TransportError
from scenarios.campaign import load_campaign

NOW = 1_800_000_000_000
AUTHOR = Author("ann", "spring sale", NOW)
CAMPAIGN = load_campaign("campaign: spring\nsend: {template: spring, topic: offers}\n")
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


def made(folder: Path, zone: str, mode: str = "relay") -> tuple[CampaignPreflight, str]:
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
    config = Config(data_dir=str(folder / "data"), tenant=(tenant,), delivery=delivery)
    heads = letterheads(config, secret_of)
    page = "<p>Hello {{ name }}</p><a href='{{ unsubscribe_url }}'>Unsubscribe</a>"
    template = Template("spring", "Spring", page, from_address="news@shop.example")
    publish(
        config,
        heads,
        [Publication("default", {}, {"spring": template})],
        now=NOW,
        actor="test",
        reason="",
    )
    record = dns_record(load_key(pem.read_bytes(), "shop.example", "s1"))
    places = parse_zone(zone.replace("KEY", record), "zone")

    async def resolve(asking: Asking[Report]) -> Report:
        return run(asking, places.answer)

    return CampaignPreflight(config, heads, resolve, lambda: NOW), record


def keeper_of(preflight: CampaignPreflight | None) -> Keeper:
    """What the endpoint asks a keeper for."""
    record = SimpleNamespace(campaign=CAMPAIGN)
    campaigns = SimpleNamespace(get=lambda tenant, name: record)
    return cast("Keeper", SimpleNamespace(preflight=preflight, campaigns=campaigns))


def through(preflight: CampaignPreflight | None, override: str = "") -> Author:
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

    async def fails(asking: Asking[Report]) -> Report:
        del asking
        raise TransportError("resolve", "no resolver", "")

    cast("Any", preflight)._resolve = fails
    with pytest.raises(RefusedError, match="DNS"):
        through(preflight)
    assert through(preflight, "smart host").reason == override_words([], "smart host")
