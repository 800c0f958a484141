"""DNS by dnspython: answers to `dns.asking.Question`, cached, with one query for all who ask the same at one time.

SERVFAIL from a validating resolver may mean that the answer is forged. It is asked for once more with checking
disabled (RFC 4035 §3.2.2): if there is an answer then, the first one was `BOGUS`.
"""

from __future__ import annotations

__all__ = ("DnsResolver",)

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from deliverability.dns.asking import (
    Answer,
    Asking,
    MxRecord,
    Outcome,
    Question,
    Record,
    RecordType,
    TlsaRecord,
)
from deliverability.dns.cache import DnsCache
from engine.errors import TransportError

T = TypeVar("T")

_NEGATIVE_S = 300  # where the answer brings no SOA: RFC 2308 §5 then gives no time, so it is short


class DnsResolver:
    """Asks the resolvers of this machine, or those given, over UDP and TCP. For one event loop.

    Args:
        clock: milliseconds since the epoch.
        cache: may be shared by resolvers of one loop.
        nameservers: addresses to ask; none: those of the system.
        port: of the nameservers given.
        timeout_s: for a question, all tries together; then the outcome is TIMEOUT.
        queries_max: how many go out at one time; more wait.

    Raises:
        TransportError: the system names no resolver.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        cache: DnsCache | None = None,
        *,
        nameservers: Sequence[str] = (),
        port: int = 53,
        timeout_s: float = 10.0,
        queries_max: int = 128,
    ) -> None:
        self._clock = clock
        self._cache = cache if cache is not None else DnsCache()
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except dns.resolver.NoResolverConfiguration as error:
            raise TransportError("resolve", "this machine has no resolver configured") from error
        if nameservers:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = timeout_s
        self._resolver.timeout = timeout_s / 3
        self._resolver.use_edns(0, dns.flags.DO, 1232)
        self._resolver.flags = (
            dns.flags.RD | dns.flags.AD
        )  # AD in a query asks for AD: RFC 6840 §5.7
        self._slots = asyncio.Semaphore(queries_max)
        self._under_way: dict[Question, asyncio.Future[Answer]] = {}

    async def run(self, asking: Asking[T]) -> T:
        """Drive a generator that asks to its result."""
        try:
            question = next(asking)
            while True:
                question = asking.send(await self.answer(question))
        except StopIteration as done:
            result: T = done.value
            return result

    async def answer(self, question: Question) -> Answer:
        """Answer from the cache, from a query that is under way, or from a new one. Never raises for DNS."""
        kept = self._cache.get(question, self._clock())
        if kept is not None:
            return kept
        asked = self._under_way.get(question)
        if asked is None:
            asked = asyncio.ensure_future(self._ask(question))
            self._under_way[question] = asked
            asked.add_done_callback(lambda _: self._under_way.pop(question, None))
        return await asyncio.shield(asked)  # one caller's cancellation isn't the others'

    async def _ask(self, question: Question) -> Answer:
        async with self._slots:
            answer = await self._query(question)
            if answer.outcome is Outcome.SERVFAIL:
                unchecked = await self._query(question, dns.flags.CD)
                if unchecked.outcome.settled:
                    answer = Answer(Outcome.BOGUS)
        self._cache.put(question, answer, self._clock())
        return answer

    async def _query(self, question: Question, flags: int = 0) -> Answer:
        resolver = self._resolver
        if flags:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = self._resolver.nameservers, self._resolver.port
            resolver.lifetime, resolver.timeout = self._resolver.lifetime, self._resolver.timeout
            resolver.flags = dns.flags.RD | flags
        try:
            found = await resolver.resolve(
                question.name, str(question.kind), raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN as error:
            responses = error.kwargs["responses"].values()  # by name tried; there is one
            return Answer(Outcome.NXDOMAIN, ttl_s=_negative_s(list(responses)))
        except dns.exception.Timeout:
            return Answer(Outcome.TIMEOUT)
        except (dns.resolver.NoNameservers, dns.resolver.NoResolverConfiguration):
            return Answer(Outcome.SERVFAIL)
        except (dns.exception.DNSException, OSError):
            return Answer(Outcome.SERVFAIL)
        return _answer(found)


def _answer(found: dns.resolver.Answer) -> Answer:
    canonical = _text(found.canonical_name)
    secure = bool(found.response.flags & dns.flags.AD)
    if found.rrset is None:
        return Answer(Outcome.NO_DATA, (), _negative_s([found.response]), canonical, secure)
    records = tuple(_record(rdata) for rdata in found.rrset)
    ttl_s = found.chaining_result.minimum_ttl
    return Answer(Outcome.FOUND, records, ttl_s, canonical, secure)


def _negative_s(responses: Sequence[dns.message.Message]) -> int:
    """RFC 2308 §5: the lower of the SOA's TTL and its MINIMUM field."""
    times = [
        min(rrset.ttl, rrset[0].minimum)
        for response in responses
        for rrset in response.authority
        if rrset.rdtype == dns.rdatatype.SOA
    ]
    return min(times, default=_NEGATIVE_S)


def _record(rdata: Any) -> Record:
    match RecordType(dns.rdatatype.to_text(rdata.rdtype)):
        case RecordType.A | RecordType.AAAA:
            address: str = rdata.address
            return address
        case RecordType.MX:
            return MxRecord(rdata.preference, _text(rdata.exchange))
        case RecordType.TXT:
            return b"".join(rdata.strings)
        case RecordType.PTR | RecordType.CNAME:
            return _text(rdata.target)
        case RecordType.SOA:
            return _text(rdata.mname)
        case RecordType.TLSA:
            return TlsaRecord(rdata.usage, rdata.selector, rdata.mtype, rdata.cert)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removeprefix(".")
