"""`veredus up` in mode `live`: From domains are verified by DNS, then mail goes to MX hosts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import dkim
import pytest
import uvloop

from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.dns.zone import parse_zone
from tests.integration.instance import Running, prepare, run
from tests.integration.mail_world import MailHost, free_port
from tests.integration.name_server import serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

_DELIVERY = """
[[tenant.dkim]]
domain = "shop.example"
selector = "s"
key_file = "s.pem"
[delivery]
mode = "live"
allow = "any"
ehlo_name = "out.shop.example"
port = {port}
prohibited_networks = []
[delivery.dns]
nameservers = ["127.0.0.1"]
port = {dns}
timeout_s = 5
"""
_ZONE = """
["inbox.example"]
MX = ["10 mx.inbox.example"]
["mx.inbox.example"]
A = ["127.0.0.14"]
"""


def test_it_sends_once_its_from_domain_is_verified(tmp_path: Path) -> None:
    """Without the key in DNS it doesn't start, and says why; with it the mail arrives, and its signature is good."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_live(tmp_path))


async def _live(folder: Path) -> None:
    prepare(folder)
    pem = generate_pem("ed25519-sha256")
    (folder / "s.pem").write_bytes(pem)
    record = dns_record(load_key(pem, "shop.example", "s"))
    host = MailHost("127.0.0.14")
    port = free_port([host.address])
    await host.start(port)
    try:
        async with serving(parse_zone(_ZONE)) as (names, dns):
            with (folder / "veredus.toml").open("a") as file:
                file.write(_DELIVERY.format(port=port, dns=dns))
            refused = await asyncio.to_thread(run, folder, "up", "--config", "veredus.toml")
            assert refused.returncode == 2, refused.stderr
            assert "isn't in DNS: s._domainkey.shop.example" in refused.stderr
            names.zone = parse_zone(f'{_ZONE}["s._domainkey.shop.example"]\nTXT = ["{record}"]')
            up = await asyncio.to_thread(Running, folder)
            try:
                await asyncio.to_thread(_give, up)
                async with asyncio.timeout(60):
                    while not host.taken:
                        await asyncio.sleep(0.1)
            finally:
                await asyncio.to_thread(up.finish)
    finally:
        await host.stop()
    ((path, content),) = host.taken
    assert path == b"ann@inbox.example"
    assert dkim.verify(content, dnsfunc=lambda *_, **__: record.encode())


def _give(up: Running) -> None:
    message = {
        "contact": "ann",
        "address": "ann@inbox.example",
        "template": "hello",
        "variables": {"contact": {"first_name": "Ann"}},
    }
    response = up.give("POST", "/v1/messages", message, **{"Idempotency-Key": "one"})
    assert response.status_code < 300, response.text
