"""Reports on TLS go out once, by mail or HTTPS, to those who ask for them."""

from __future__ import annotations

import asyncio
import datetime as dt
import email
import email.policy
import gzip
import ssl
from pathlib import Path
from typing import Any

import pytest

from actors.instance.tls_reports import TlsReporter, report_poster, report_targets
from actors.submission.gathering import Gatherer
from deliverability.dns.asking import Answer, Asking
from deliverability.dns.asking import run as run_asking
from deliverability.dns.zone import parse_zone
from deliverability.feedback.tlsrpt import read_tlsrpt
from deliverability.policy.tags import Mistake
from deliverability.policy.tls_report import SessionRow
from deliverability.policy.tls_rpt import TlsRptRecord
from deliverability.transport.tls_files import TlsCountFile
from engine.config import parse
from engine.errors import ConfigError
from tests.actors.submission.embedded import embedded, wall_ms

CONFIG = """
data_dir = "{folder}"
[store]
kind = "memory"
partitions = 4
[workers]
count = 1
memory_free_mb_min = 0
[delivery.tls]
report_from = "tls@shop.example"
[[tenant]]
from_domains = ["shop.example"]
from_address = "hello@shop.example"
from_name = "The shop"
"""
ZONE = """
["_smtp._tls.asks.test"]
TXT = ["v=TLSRPTv1; rua=mailto:tls%2Dreports@asks.test?subject=x,https://asks.test/tls"]
["_smtp._tls.silent.test"]
TXT = ["v=spf1 -all"]
["_smtp._tls.broken.test"]
fail = "servfail"
"""
DAY = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)


def _counted(folder: Path) -> None:
    file = TlsCountFile(folder / "tls", "w0", lambda: int(DAY.timestamp() * 1000))
    for domain in ("asks.test", "silent.test", "broken.test", "absent.test"):
        file.add(SessionRow(domain, "no-policy-found", host=f"mx.{domain}"))
    file.flush()


def test_reports_go_once_to_those_who_ask(tmp_path: Path) -> None:
    """Not before the day is over; signed and sent as mail; who can't be looked up is asked again; none goes twice."""
    _counted(tmp_path)
    config = parse(CONFIG.format(folder=tmp_path))
    now, zone = DAY, ZONE

    async def ask(asking: Asking[Answer]) -> Answer:
        return run_asking(asking, parse_zone(zone).answer)

    posted: list[tuple[str, bytes]] = []
    answers: list[int | Mistake] = [503, Mistake("no answer"), 201]

    async def post(url: str, report: bytes) -> int | Mistake:
        posted.append((url, report))
        return answers.pop(0)

    async def main() -> None:
        nonlocal now, zone
        async with embedded(config) as instance:
            gatherer = Gatherer(config, instance.injector, instance.backend, wall_ms)
            gatherer.start()
            reporter = TlsReporter(config, instance.injector, ask, gatherer.take, lambda: now, post)
            assert await reporter.look() == []
            now = DAY + dt.timedelta(days=1)
            assert await reporter.look() == ["asks.test"]  # by mail; its server is asked again
            assert await reporter.look() == []
            assert await reporter.look() == ["asks.test"]
            assert await reporter.look() == []
            assert [url for url, _ in posted] == 3 * ["https://asks.test/tls"]
            assert len({report for _, report in posted}) == 1
            assert read_tlsrpt(gzip.decompress(posted[0][1]))[0].organization == "The shop"
            zone = ZONE.replace('fail = "servfail"', 'TXT = ["v=TLSRPTv1;rua=mailto:a@b.test"]')
            assert await reporter.look() == ["broken.test"]
            await instance.until(lambda: len(instance.mails) == 2)
            await gatherer.stop()
            assert {mail.recipient for mail in instance.mails} == {
                "tls-reports@asks.test",
                "a@b.test",
            }
            (first,) = (m for m in instance.mails if m.recipient == "tls-reports@asks.test")
            parsed = email.message_from_bytes(first.content, policy=email.policy.default)
            assert parsed["From"] == "tls@shop.example"
            assert parsed["TLS-Report-Domain"] == "asks.test"
            (attached,) = parsed.iter_attachments()
            (report,) = read_tlsrpt(gzip.decompress(attached.get_content()))
            assert report.organization == "The shop"

    asyncio.run(main())


def test_targets_of_a_record() -> None:
    """Mailboxes, decoded, and URLs to names of hosts, each once."""
    uris = (
        "mailto:a@b.test",
        "HTTPS://b.test/r?a=1",
        "MAILTO:a@b.test?x=y",
        "mailto:nobody",
        "https://192.0.2.1/",
        "https://user:pass@b.test/",
        "https://b.test/\r\nHost: other",
        "mailto:c@b.test",
    )
    wanted = ("a@b.test", "https://b.test/r?a=1", "c@b.test")
    assert report_targets(TlsRptRecord(uris)) == wanted


def test_a_refusal_that_would_come_again_ends_it(tmp_path: Path) -> None:
    """404 is final for the day; a file of before, with domains alone, is understood."""
    _counted(tmp_path)
    sent = tmp_path / "tls" / "2026-11-26.sent"
    sent.write_text("silent.test\nbroken.test\nabsent.test\n")
    config = parse(CONFIG.format(folder=tmp_path))
    asked: list[str] = []

    async def ask(asking: Asking[Answer]) -> Answer:
        zone = ZONE.replace("mailto:tls%2Dreports@asks.test?subject=x,", "")
        return run_asking(asking, parse_zone(zone).answer)

    async def post(url: str, report: bytes) -> int | Mistake:
        del report
        asked.append(url)
        return 404

    async def main() -> None:
        async with embedded(config) as instance:
            gatherer = Gatherer(config, instance.injector, instance.backend, wall_ms)
            now = DAY + dt.timedelta(days=1)
            reporter = TlsReporter(config, instance.injector, ask, gatherer.take, lambda: now, post)
            await reporter.look()
            await reporter.look()

    asyncio.run(main())
    assert asked == ["https://asks.test/tls"]
    assert sent.read_text().splitlines()[-2:] == ["asks.test https://asks.test/tls", "asks.test"]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1"])
def test_nobody_makes_us_post_into_our_own_network(address: str) -> None:
    """A record may name any host, and its DNS any address."""

    class Resolver:
        async def run(self, asking: Any) -> Any:
            del asking
            return (address,), []

    resolver: Any = Resolver()
    bring = report_poster(parse(""), resolver, ssl.create_default_context())
    found = asyncio.run(bring("https://asks.test/tls", b"x"))
    assert isinstance(found, Mistake)
    assert "not of the public network" in found.why


def test_who_reports_is_a_sender_of_a_tenant() -> None:
    """Otherwise nobody could sign it."""
    with pytest.raises(ConfigError, match=r"report_from.*isn't a From domain of any tenant"):
        parse(
            "[delivery.tls]\nreport_from = 'a@other.example'\n[[tenant]]\nfrom_domains = ['b.example']"
        )
