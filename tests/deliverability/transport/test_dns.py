"""The resolver against a name server of our own on loopback: outcomes, caching, coalescing, CNAMEs, bogus answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from deliverability.dns.asking import MxRecord, Outcome, Question, RecordType
from deliverability.dns.mail_hosts import MailHosts, find_mail_hosts
from deliverability.transport.dns import DnsResolver

RECORDS = {
    ("shop.example.", "MX"): ["10 mx.shop.example."],
    ("mx.shop.example.", "A"): ["192.0.2.1"],
    ("null.example.", "MX"): ["0 ."],
    ("www.shop.example.", "CNAME"): ["mx.shop.example."],
    ("shop.example.", "TXT"): ['"v=spf1 " "-all"'],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["MX.shop.example."],
    ("_25._tcp.mx.shop.example.", "TLSA"): ["3 1 1 " + "ab" * 32],
    ("forged.example.", "A"): ["192.0.2.66"],
}
SOA = "ns.example. root.example. 1 7200 900 1209600 120"


class NameServer(asyncio.DatagramProtocol):
    """Answers from the table; `broken.` fails, `forged.` fails unless checking is disabled, `silent.` says nothing."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = self._reply(query)
        assert self._transport is not None
        if reply is not None:
            self._transport.sendto(reply.to_wire(), addr)

    def _reply(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[f"{kind} {name}"] += 1
        if name == "silent.example.":
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        checked = not query.flags & dns.flags.CD
        if name == "broken.example." or (name == "forged.example." and checked):
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply
        alias = RECORDS.get((name, "CNAME"))
        if alias:
            reply.answer.append(dns.rrset.from_text(name, 30, "IN", "CNAME", *alias))
            name = alias[0]
        held = RECORDS.get((name, kind))
        if held:
            reply.answer.append(dns.rrset.from_text(name, 600, "IN", kind, *held))
            return reply
        if not any(known == name for known, _ in RECORDS):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", SOA))
        return reply


class Clock:
    """A clock that is set by hand."""

    now = 0

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def served(clock: Clock) -> AsyncIterator[tuple[DnsResolver, NameServer]]:
    """Give a resolver that asks a name server on a port of its own."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        yield DnsResolver(clock, nameservers=["127.0.0.1"], port=port, timeout_s=0.3), server
    finally:
        transport.close()
        await asyncio.sleep(0)


def with_server(
    test: Callable[[DnsResolver, NameServer, Clock], Awaitable[None]],
) -> None:
    """Run a test in a loop of its own."""

    async def run() -> None:
        clock = Clock()
        async with served(clock) as (resolver, server):
            await test(resolver, server, clock)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "kind", "outcome", "records", "ttl_s"),
    [
        ("mx.shop.example", RecordType.A, Outcome.FOUND, ("192.0.2.1",), 600),
        ("shop.example", RecordType.MX, Outcome.FOUND, (MxRecord(10, "mx.shop.example"),), 600),
        ("null.example", RecordType.MX, Outcome.FOUND, (MxRecord(0, ""),), 600),
        ("shop.example", RecordType.TXT, Outcome.FOUND, (b"v=spf1 -all",), 600),
        ("1.2.0.192.in-addr.arpa", RecordType.PTR, Outcome.FOUND, ("mx.shop.example",), 600),
        ("www.shop.example", RecordType.A, Outcome.FOUND, ("192.0.2.1",), 30),
        ("mx.shop.example", RecordType.AAAA, Outcome.NO_DATA, (), 120),
        ("nobody.example", RecordType.A, Outcome.NXDOMAIN, (), 120),
        ("broken.example", RecordType.A, Outcome.SERVFAIL, (), 0),
        ("forged.example", RecordType.A, Outcome.BOGUS, (), 0),
        ("silent.example", RecordType.A, Outcome.TIMEOUT, (), 0),
    ],
)
def test_outcomes(
    name: str, kind: RecordType, outcome: Outcome, records: tuple[object, ...], ttl_s: int
) -> None:
    """Each outcome is told from the others, with its time to live."""

    async def check(resolver: DnsResolver, server: NameServer, clock: Clock) -> None:
        answer = await resolver.answer(Question(name, kind))
        assert (answer.outcome, answer.records, answer.ttl_s) == (outcome, records, ttl_s)

    with_server(check)


def test_answers_are_asked_for_once_until_they_end() -> None:
    """Twice at one time and once later is one query; after the TTL there is another."""

    async def check(resolver: DnsResolver, server: NameServer, clock: Clock) -> None:
        question = Question("mx.shop.example", RecordType.A)
        first, second = await asyncio.gather(resolver.answer(question), resolver.answer(question))
        assert first == second
        clock.now = 599_000
        assert (await resolver.answer(question)).ttl_s == 1
        assert server.asked["A mx.shop.example."] == 1
        clock.now = 600_000
        await resolver.answer(question)
        assert server.asked["A mx.shop.example."] == 2

    with_server(check)


def test_mail_hosts_are_found_over_the_wire() -> None:
    """The same generator that runs on a zone runs here."""

    async def check(resolver: DnsResolver, server: NameServer, clock: Clock) -> None:
        found = await resolver.run(find_mail_hosts("shop.example", random.Random(1)))
        assert isinstance(found, MailHosts)
        assert [(host.name, host.addresses) for host in found.hosts] == [
            ("mx.shop.example", ("192.0.2.1",))
        ]
        assert found.ttl_s == 120  # of the AAAA that isn't there

    with_server(check)
