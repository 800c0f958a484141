"""SPF: may this address send mail for this domain? RFC 7208 §4, as `check_host`.

At most 10 terms may ask DNS (§4.6.4), at most 2 of those may find nothing; more is a permerror, and so is a wrong
term anywhere. What was asked and what matched comes with the result, since that is what mends a record.
"""

from __future__ import annotations

__all__ = ("LOOKUPS_MAX", "VOIDS_MAX", "SpfResult", "SpfVerdict", "check_host")

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import assert_never

import msgspec

from deliverability.dns.asking import Answer, Asking, Outcome, RecordType, ask
from deliverability.dns.names import is_under, query_name, reverse_name
from deliverability.policy.spf_record import (
    Mechanism,
    Qualifier,
    SpfRecord,
    Values,
    expand,
    is_spf,
    macro_letters,
    parse_spf,
)
from deliverability.policy.tags import Mistake

LOOKUPS_MAX = 10  # §4.6.4
VOIDS_MAX = 2
_NAMES_MAX = 10  # hosts of one mx, names of one ptr


class SpfResult(StrEnum):
    """§2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 (RFC 7208's word)
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfVerdict(msgspec.Struct, frozen=True):
    """The result; `matched` is the term that decided, `domain` whose record it stands in.

    `why` says it in words. `lookups` counts terms that asked DNS, `voids` those that found nothing.
    `records` are the records that were read, by domain.
    """

    result: SpfResult
    why: str
    matched: str = ""
    domain: str = ""
    lookups: int = 0
    voids: int = 0
    records: dict[str, str] = {}


class _Ended(Exception):  # noqa: N818 (it ends an evaluation, as StopIteration does; it never leaves this module)
    """An evaluation that ends in an error wherever it is."""

    def __init__(self, result: SpfResult, why: str) -> None:
        self.result, self.why = result, why
        super().__init__(why)


class _Evaluation:
    """One run of check_host, with its budget."""

    def __init__(self, address: str, sender: str, helo: str) -> None:
        ip = ip_address(address)
        mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
        self.ip: IPv4Address | IPv6Address = mapped or ip
        local, _, domain = sender.rpartition("@")
        self.local, self.sender_domain = local or "postmaster", domain
        self.helo = helo
        self.lookups = self.voids = 0
        self.records: dict[str, str] = {}
        self.validated: list[str] | None = None

    def check(self, domain: str) -> Asking[SpfVerdict]:
        """§4. Raises _Ended."""
        name = query_name(domain)
        if not name or "." not in name:
            return self.verdict(SpfResult.NONE, f"{domain!r} isn't a full domain name")
        record = yield from self.fetch(name)
        if record is None:
            return self.verdict(SpfResult.NONE, f"{name} publishes no SPF record", domain=name)
        for mechanism in record.mechanisms:
            matched = yield from self.matches(mechanism, name)
            if matched:
                result = _RESULTS[mechanism.qualifier]
                why = f"{mechanism.text} of {name} matches {self.ip}"
                return self.verdict(result, why, mechanism.text, name)
        if record.redirect:
            return (yield from self.follow(record, name))
        why = f"no term of {name} matches {self.ip}"
        return self.verdict(SpfResult.NEUTRAL, why, domain=name)

    def follow(self, record: SpfRecord, domain: str) -> Asking[SpfVerdict]:
        """§6.1."""
        self.count(f"redirect={record.redirect}")
        target = yield from self.expanded(record.redirect, domain)
        verdict = yield from self.check(target)
        if verdict.result is SpfResult.NONE:
            raise _Ended(SpfResult.PERMERROR, f"redirect={target} has no SPF record (§6.1)")
        return verdict

    def fetch(self, domain: str) -> Asking[SpfRecord | None]:
        """§4.4, §4.5."""
        answer = yield from ask(domain, RecordType.TXT)
        if not answer.outcome.settled:
            raise _Ended(SpfResult.TEMPERROR, f"TXT of {domain}: {answer.outcome}")
        found = [text for text in answer.texts if is_spf(text)]
        if not found:
            return None
        self.records[domain] = found[0].decode("ascii", "backslashreplace")
        if len(found) > 1:
            raise _Ended(SpfResult.PERMERROR, f"{domain} has {len(found)} SPF records (§4.5)")
        record = parse_spf(found[0])
        if isinstance(record, Mistake):
            raise _Ended(SpfResult.PERMERROR, f"the record of {domain}: {record.why}")
        return record

    def matches(self, mechanism: Mechanism, domain: str) -> Asking[bool]:
        """§5."""
        match mechanism.name:
            case "all":
                return True
            case "ip4" | "ip6":
                return self.within(mechanism.spec, mechanism)
        self.count(mechanism.text)
        target = (yield from self.expanded(mechanism.spec, domain)) if mechanism.spec else domain
        match mechanism.name:
            case "include":
                return (yield from self.included(target))
            case "a":
                addresses = yield from self.addresses(target)
                return any(self.within(address, mechanism) for address in addresses)
            case "mx":
                return (yield from self.exchanged(target, mechanism))
            case "ptr":
                names = yield from self.validated_names()
                return any(is_under(name, query_name(target)) for name in names)
            case "exists":
                answer = yield from self.counted(target, RecordType.A)
                return answer.outcome is Outcome.FOUND
        raise AssertionError(mechanism.name)

    def included(self, target: str) -> Asking[bool]:
        """§5.2."""
        inner = yield from self.check(target)
        match inner.result:
            case SpfResult.PASS:
                return True
            case SpfResult.FAIL | SpfResult.SOFTFAIL | SpfResult.NEUTRAL:
                return False
            case SpfResult.NONE:
                raise _Ended(SpfResult.PERMERROR, f"include:{target} has no SPF record (§5.2)")
            case SpfResult.TEMPERROR | SpfResult.PERMERROR:
                raise _Ended(inner.result, inner.why)
            case _:
                assert_never(inner.result)

    def exchanged(self, target: str, mechanism: Mechanism) -> Asking[bool]:
        """§5.4."""
        answer = yield from self.counted(target, RecordType.MX)
        if len(answer.exchanges) > _NAMES_MAX:
            raise _Ended(SpfResult.PERMERROR, f"{target} has more than {_NAMES_MAX} MX (§4.6.4)")
        for exchange in sorted(answer.exchanges):
            if exchange.host:
                addresses = yield from self.addresses(exchange.host, void_counts=False)
                if any(self.within(address, mechanism) for address in addresses):
                    return True
        return False

    def addresses(self, name: str, *, void_counts: bool = True) -> Asking[tuple[str, ...]]:
        """Addresses of the family that is asked for. §5."""
        kind = RecordType.A if self.ip.version == 4 else RecordType.AAAA
        if void_counts:
            return (yield from self.counted(name, kind)).names
        answer = yield from ask(name, kind)
        _refuse_unsettled(answer, name)
        return answer.names

    def validated_names(self) -> Asking[list[str]]:
        """Names of the address that lead back to it. §5.5."""
        if self.validated is not None:
            return self.validated
        self.validated = []
        answer = yield from ask(reverse_name(str(self.ip)), RecordType.PTR)
        kind = RecordType.A if self.ip.version == 4 else RecordType.AAAA
        for name in answer.names[:_NAMES_MAX]:
            forward = yield from ask(name, kind)
            if any(ip_address(address) == self.ip for address in forward.names):
                self.validated.append(query_name(name))
        return self.validated

    def expanded(self, spec: str, domain: str) -> Asking[str]:
        """§7."""
        validated = "unknown"
        if "p" in macro_letters(spec):
            names = yield from self.validated_names()
            fitting = [name for name in names if is_under(name, domain)]
            validated = next(iter([*sorted(fitting, key=len), *names]), "unknown")
        return expand(spec, self.values(domain, validated))

    def values(self, domain: str, validated: str) -> Values:
        """§7.2, §7.3: an IPv6 address is given as nibbles with dots."""
        v6 = isinstance(self.ip, IPv6Address)
        nibbles = ".".join(self.ip.exploded.replace(":", "")) if v6 else str(self.ip)
        return {
            "s": f"{self.local}@{self.sender_domain}",
            "l": self.local,
            "o": self.sender_domain,
            "d": domain,
            "i": nibbles.upper() if v6 else nibbles,
            "p": validated,
            "v": "ip6" if v6 else "in-addr",
            "h": self.helo,
        }

    def within(self, address: str, mechanism: Mechanism) -> bool:
        """Whether the address asked for is in the network around another."""
        prefix = mechanism.prefix4 if ip_address(address).version == 4 else mechanism.prefix6
        network = ip_network(f"{address}/{prefix}", strict=False)
        return self.ip.version == network.version and self.ip in network

    def counted(self, name: str, kind: RecordType) -> Asking[Answer]:
        """Ask; an answer that is void counts. §4.6.4."""
        answer = yield from ask(name, kind)
        _refuse_unsettled(answer, name)
        if answer.outcome is not Outcome.FOUND:
            self.voids += 1
            if self.voids > VOIDS_MAX:
                why = f"{name} is the third name without an answer (§4.6.4)"
                raise _Ended(SpfResult.PERMERROR, why)
        return answer

    def count(self, term: str) -> None:
        """Count a term that asks DNS."""
        self.lookups += 1
        if self.lookups > LOOKUPS_MAX:
            why = f"{term} is DNS look-up number {self.lookups} (at most {LOOKUPS_MAX}, §4.6.4)"
            raise _Ended(SpfResult.PERMERROR, why)

    def verdict(
        self, result: SpfResult, why: str, matched: str = "", domain: str = ""
    ) -> SpfVerdict:
        """Give a result with what was counted."""
        return SpfVerdict(
            result, why, matched, domain, self.lookups, self.voids, dict(self.records)
        )


_RESULTS = {
    Qualifier.PASS: SpfResult.PASS,
    Qualifier.FAIL: SpfResult.FAIL,
    Qualifier.SOFTFAIL: SpfResult.SOFTFAIL,
    Qualifier.NEUTRAL: SpfResult.NEUTRAL,
}


def check_host(address: str, domain: str, sender: str = "", helo: str = "") -> Asking[SpfVerdict]:
    """Ask whether an IP address may send for a domain. RFC 7208 §4.

    `sender` is the reverse-path, "" stands for postmaster@domain.

    Raises:
        ValueError: `address` isn't an IP address.
    """
    evaluation = _Evaluation(address, sender or f"postmaster@{domain}", helo or domain)
    try:
        return (yield from evaluation.check(domain))
    except _Ended as ended:
        return evaluation.verdict(ended.result, ended.why)


def _refuse_unsettled(answer: Answer, name: str) -> None:
    if not answer.outcome.settled:
        raise _Ended(SpfResult.TEMPERROR, f"{name}: {answer.outcome}")
