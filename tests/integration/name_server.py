"""A name server on loopback that answers from a zone (`deliverability.dns.zone`); counts what it was asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from deliverability.dns.asking import Answer, MxRecord, Outcome, Question, RecordType, TlsaRecord
from deliverability.dns.zone import Zone

_SOA = "ns.test. root.test. 1 7200 900 1209600 60"


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP. `secure`: says that it validated everything."""

    def __init__(self, zone: Zone, *, secure: bool = False) -> None:
        self.zone = zone
        self.secure = secure
        self.asked: Counter[str] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = RecordType(dns.rdatatype.to_text(query.question[0].rdtype))
        self.asked[f"{kind} {name}"] += 1
        answer = self.zone.answer(Question(name, kind))
        assert self._transport is not None
        if answer.outcome is not Outcome.TIMEOUT:
            self._transport.sendto(self._reply(query, answer).to_wire(), addr)

    def _reply(self, query: dns.message.Message, answer: Answer) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        if self.secure:
            reply.flags |= dns.flags.AD
        if not answer.outcome.settled:
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply
        if answer.outcome is Outcome.NXDOMAIN:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        asked = query.question[0]
        if not answer.records:
            reply.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", _SOA))
            return reply
        owner = f"{answer.canonical}."
        if owner != asked.name.to_text():
            alias = dns.rrset.from_text(asked.name, answer.ttl_s, "IN", "CNAME", owner)
            reply.answer.append(alias)
        texts = [_text(record) for record in answer.records]
        kind = dns.rdatatype.to_text(asked.rdtype)
        reply.answer.append(dns.rrset.from_text(owner, answer.ttl_s, "IN", kind, *texts))
        return reply


def _text(record: object) -> str:
    match record:
        case MxRecord(preference=preference, host=host):
            return f"{preference} {host}."
        case TlsaRecord(usage=usage, selector=selector, matching=matching, data=data):
            return f"{usage} {selector} {matching} {data.hex()}"
        case bytes():  # strings of at most 255 octets, RFC 1035 §3.3.14
            text = record.decode()
            return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text) or 1, 255))
        case _:
            return str(record)


@asynccontextmanager
async def serving(zone: Zone, *, secure: bool = False) -> AsyncIterator[tuple[NameServer, int]]:
    """Give a name server and its port."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(zone, secure=secure), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
        await asyncio.sleep(0)
