"""Where a domain's mail goes: RFC 5321 §5.1, null MX of RFC 7505, and which addresses are used.

`find_mail_hosts` asks for MX, then for addresses, and gives one of three:

- `MailHosts`: hosts to try in this order, with their addresses.
- `NoMailHosts` that is permanent: the domain doesn't exist, says that it takes no mail, or has MX records of which
  none has an address. Mail for it is bounced.
- `NoMailHosts` that is transient: some server didn't answer. Mail for it is tried later; SERVFAIL is not NXDOMAIN.

Hosts of equal preference are shuffled (§5.1: the sender MUST randomise them), by chance that the caller gives.
"""

from __future__ import annotations

__all__ = (
    "AddressPolicy",
    "MailHost",
    "MailHosts",
    "NoMailHosts",
    "find_addresses",
    "find_mail_hosts",
)

from enum import StrEnum
from ipaddress import ip_address
from random import Random

import msgspec

from deliverability.dns.asking import Answer, Asking, MxRecord, Outcome, RecordType, ask
from deliverability.dns.names import query_name
from deliverability.dns.sites import site_name

_HOSTS_MAX = 20  # a domain with more is hostile or broken; RFC 7208 §4.6.4 stops at 10
_ADDRESSES_MAX = 16


class AddressPolicy(StrEnum):
    """Which addresses of a host are used, and in which order."""

    IPV4_ONLY = "ipv4_only"
    IPV6_ONLY = "ipv6_only"
    IPV4_FIRST = "ipv4_first"
    IPV6_FIRST = "ipv6_first"


_KINDS = {
    AddressPolicy.IPV4_ONLY: (RecordType.A,),
    AddressPolicy.IPV6_ONLY: (RecordType.AAAA,),
    AddressPolicy.IPV4_FIRST: (RecordType.A, RecordType.AAAA),
    AddressPolicy.IPV6_FIRST: (RecordType.AAAA, RecordType.A),
}


class MailHost(msgspec.Struct, frozen=True):
    """A host with its usable addresses, in the order to try; `canonical` differs behind a CNAME."""

    name: str
    preference: int
    addresses: tuple[str, ...]
    canonical: str = ""


class MailHosts(msgspec.Struct, frozen=True, tag="mail_hosts"):
    """Hosts in the order to try. `site` is made of all MX records, also of those without an address.

    `implicit`: there is no MX, the domain's own address is used. `ttl_s` is the shortest of all answers.
    `secure`: all answers were validated, as DANE needs (RFC 7672 §2.2).
    """

    domain: str
    site: str
    hosts: tuple[MailHost, ...]
    implicit: bool
    ttl_s: int
    secure: bool


class NoMailHosts(msgspec.Struct, frozen=True, tag="no_mail_hosts"):
    """Why there is nowhere to go, as an SMTP reply would say it.

    5.1.2: no such domain; 5.1.10: null MX; 5.4.4: no host has an address; 4.4.3: DNS didn't answer (RFC 3463
    §3.2, RFC 7505 §4.2). `retry_after_s` 0 where it is permanent.
    """

    domain: str
    permanent: bool
    enhanced_code: str
    reason: str
    retry_after_s: int = 0


def find_mail_hosts(
    domain: str, chance: Random, policy: AddressPolicy = AddressPolicy.IPV4_FIRST
) -> Asking[MailHosts | NoMailHosts]:
    """Find where mail for a domain (or an address literal) goes."""
    literal = _literal(domain)
    if literal:
        host = MailHost(literal, 0, (literal,))
        return MailHosts(domain, literal, (host,), implicit=True, ttl_s=0, secure=False)
    asked = query_name(domain)
    if not asked:
        return NoMailHosts(domain, True, "5.1.2", "the domain can't be a name")
    found = yield from ask(asked, RecordType.MX)
    match found.outcome:
        case Outcome.FOUND:
            exchanges, implicit = found.exchanges, False
        case Outcome.NO_DATA:
            exchanges, implicit = (MxRecord(0, asked),), True
        case Outcome.NXDOMAIN:
            return NoMailHosts(asked, True, "5.1.2", "there is no such domain")
        case Outcome.SERVFAIL | Outcome.TIMEOUT | Outcome.BOGUS:
            return _later(asked, f"its MX records could not be looked up: {found.outcome}")
    if not any(exchange.host for exchange in exchanges):
        return NoMailHosts(asked, True, "5.1.10", "the domain takes no mail (null MX)")
    named = [exchange for exchange in exchanges if exchange.host]
    return (yield from _with_addresses(asked, named, implicit, found, chance, policy))


def find_addresses(
    host: str, policy: AddressPolicy
) -> Asking[tuple[tuple[str, ...], list[Answer]]]:
    """Ask for the addresses of a host, in the order of the policy; the answers come with them."""
    answers: list[Answer] = []
    for kind in _KINDS[policy]:
        answers.append((yield from ask(host, kind)))  # noqa: PERF401 (no yield in a comprehension)
    addresses = dict.fromkeys(name for answer in answers for name in answer.names)
    return tuple(addresses)[:_ADDRESSES_MAX], answers


def _with_addresses(
    domain: str,
    exchanges: list[MxRecord],
    implicit: bool,
    found: Answer,
    chance: Random,
    policy: AddressPolicy,
) -> Asking[MailHosts | NoMailHosts]:
    hosts: list[MailHost] = []
    answers = [found]
    for exchange in _in_order(exchanges, chance)[:_HOSTS_MAX]:
        addresses, given = yield from find_addresses(exchange.host, policy)
        answers += given
        if addresses:
            canonical = next((answer.canonical for answer in given if answer.names), "")
            hosts.append(MailHost(exchange.host, exchange.preference, addresses, canonical))
    if hosts:
        return MailHosts(
            domain,
            site_name(exchanges),
            tuple(hosts),
            implicit,
            ttl_s=min(answer.ttl_s for answer in answers if answer.outcome.settled),
            secure=all(answer.secure for answer in answers),
        )
    unsettled = [answer.outcome for answer in answers if not answer.outcome.settled]
    if unsettled:
        return _later(domain, f"the addresses of its hosts could not be looked up: {unsettled[0]}")
    if implicit and all(answer.outcome is Outcome.NXDOMAIN for answer in answers[1:]):
        return NoMailHosts(domain, True, "5.1.2", "there is no such domain")
    what = "the domain has neither MX nor address" if implicit else "none of its MX has an address"
    return NoMailHosts(domain, True, "5.4.4", f"{what} ({policy})")


def _in_order(exchanges: list[MxRecord], chance: Random) -> list[MxRecord]:
    """By preference, equals shuffled; a host named twice keeps its better preference. RFC 5321 §5.1."""
    shuffled = sorted(exchanges)  # so that the same chance gives the same order
    chance.shuffle(shuffled)
    once: dict[str, MxRecord] = {}
    for exchange in sorted(shuffled, key=lambda one: one.preference):
        once.setdefault(exchange.host, exchange)
    return list(once.values())


def _later(domain: str, reason: str) -> NoMailHosts:
    return NoMailHosts(domain, False, "4.4.3", reason, retry_after_s=300)


def _literal(domain: str) -> str:
    """The address in an address literal, or "". RFC 5321 §4.1.3."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return ""
    inner = domain[1:-1]
    try:
        return str(ip_address(inner.removeprefix("IPv6:")))
    except ValueError:
        return ""
