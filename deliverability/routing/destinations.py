"""What is known of a domain that mail goes to: its site, its hosts in order, what each must fulfil. Pure.

`find_destination` asks DNS for all of it but the MTA-STS policy, which comes over HTTPS and is given.
"""

from __future__ import annotations

__all__ = (
    "Destination",
    "Nowhere",
    "RoutingSettings",
    "allowed",
    "domain_of",
    "find_destination",
    "pool_of",
    "route_name",
    "site_of",
    "sts_record",
)

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import Random
from typing import Literal

import msgspec

from deliverability.dns.asking import (
    Asking,
    MxRecord,
    Outcome,
    RecordType,
    TlsaRecord,
    ask,
)
from deliverability.dns.mail_hosts import (
    AddressPolicy,
    MailHost,
    MailHosts,
    NoMailHosts,
    find_addresses,
    find_mail_hosts,
)
from deliverability.dns.sites import site_name
from deliverability.policy.mta_sts import Mode, StsPolicy, StsRecord, matches, select_record
from deliverability.policy.tags import Mistake
from deliverability.policy.tls_demand import TlsDemand, demand_of
from deliverability.routing.hops import Hop
from engine.settings_routes import Destination as KnownDestination
from engine.settings_routes import TlsLevel

_TTL_S_MIN = 60  # a TTL of seconds would ask DNS for every message
_TTL_S_MAX = 86_400
_LITERAL_TTL_S = 3600


class RoutingSettings(msgspec.Struct, frozen=True):
    """What the configuration says about ways; see `engine.settings_routes`."""

    port: int = 25
    address_policy: AddressPolicy = AddressPolicy.IPV4_FIRST
    prohibited: tuple[str, ...] = ()
    tls: TlsLevel = "opportunistic"
    mta_sts: bool = True
    dane: bool = False
    known: Mapping[str, KnownDestination] = {}


class Destination(msgspec.Struct, frozen=True):
    """Where a domain's mail goes.

    `key` names the hosts and what they must fulfil: domains with the same key share connections. `demands` by host
    name. `policy_lines` and `mx_patterns` are the policy's own words, for reports (RFC 8460 §4.2). `excluded`: hosts
    that must not be used, with the reason.
    """

    domain: str
    site: str
    key: str
    hops: tuple[Hop, ...]
    demands: Mapping[str, TlsDemand]
    ttl_s: int
    policy_lines: tuple[str, ...] = ()
    mx_patterns: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()


class Nowhere(msgspec.Struct, frozen=True):
    """There is nowhere to go, for now or for good, in the words of an SMTP reply (RFC 3463).

    `ttl_s`: when to ask again.
    """

    domain: str
    permanent: bool
    enhanced_code: str
    reason: str
    ttl_s: int


def route_name(pool: str, key: str) -> str:
    """Name a route."""
    return f"{pool}/{key}"


def pool_of(route: str) -> str:
    """Give the pool of a route."""
    return route.partition("/")[0]


def domain_of(route: str) -> str:
    """Give what stands behind the pool: the domain of a message's route, the key of a connection's."""
    return route.partition("/")[2]


def site_of(route: str) -> str:
    """Give the site of a route, without the mark of its security."""
    return domain_of(route).partition("~")[0]


def sts_record(domain: str) -> Asking[StsRecord | Mistake | None]:
    """Ask for the MTA-STS record of a domain. RFC 8461 §3.1."""
    answer = yield from ask(f"_mta-sts.{domain}", RecordType.TXT)
    return select_record(answer.texts)


def find_destination(
    domain: str, settings: RoutingSettings, sts: StsPolicy | None, chance: Random
) -> Asking[Destination | Nowhere]:
    """Find where a domain's mail goes, and what the hosts must fulfil. `sts`: the policy that holds, if any."""
    known = settings.known.get(domain, KnownDestination())
    if known.hosts:
        found = yield from _named_hosts(domain, known.hosts, settings.address_policy)
    else:
        found = yield from find_mail_hosts(domain, chance, settings.address_policy)
    if isinstance(found, NoMailHosts):
        wait = found.retry_after_s or _TTL_S_MIN
        return Nowhere(domain, found.permanent, found.enhanced_code, found.reason, wait)
    configured = settings.tls if known.tls == "default" else known.tls
    demands: dict[str, TlsDemand] = {}
    hosts: list[MailHost] = []
    excluded: list[tuple[str, str]] = []
    for host in found.hosts:
        demand, why = yield from _demand(host, found.secure, settings, sts, configured)
        addresses = allowed(host.addresses, settings.prohibited)
        if not why and not addresses:
            why = "its addresses are in prohibited_networks"
        if why:
            excluded.append((host.name, why))
            continue
        demands[host.name] = demand
        hosts.append(msgspec.structs.replace(host, addresses=addresses))
    if not hosts:
        return _all_excluded(domain, excluded)
    hops = _hops(hosts, known.port or settings.port)
    return Destination(
        domain=domain,
        site=found.site,
        key=_key(found.site, hops, demands, settings),
        hops=hops,
        demands=demands,
        ttl_s=min(max(found.ttl_s or _LITERAL_TTL_S, _TTL_S_MIN), _TTL_S_MAX),
        policy_lines=_lines(sts),
        mx_patterns=sts.mx_patterns if sts else (),
        excluded=tuple(excluded),
    )


def _named_hosts(
    domain: str, names: Sequence[str], policy: AddressPolicy
) -> Asking[MailHosts | NoMailHosts]:
    """Hosts that the configuration names, in its order; the site is theirs."""
    hosts = []
    answers = []
    for preference, name in enumerate(names):
        addresses, given = yield from find_addresses(name, policy)
        answers += given
        if addresses:
            hosts.append(MailHost(name, preference, addresses))
    if not hosts:
        settled = all(answer.outcome.settled for answer in answers)
        code, wait = ("5.4.4", 0) if settled else ("4.4.3", 300)
        return NoMailHosts(
            domain, settled, code, "none of the hosts configured has an address", wait
        )
    site = site_name([MxRecord(n, name) for n, name in enumerate(names)])
    ttl_s = min(answer.ttl_s for answer in answers if answer.outcome is Outcome.FOUND)
    secure = all(answer.secure for answer in answers)
    return MailHosts(domain, site, tuple(hosts), implicit=False, ttl_s=ttl_s, secure=secure)


def _demand(
    host: MailHost,
    secure: bool,
    settings: RoutingSettings,
    sts: StsPolicy | None,
    configured: TlsLevel,
) -> Asking[tuple[TlsDemand, str]]:
    """What a host must fulfil, and why it can't be used at all, if so."""
    tlsa: tuple[TlsaRecord, ...] = ()
    if settings.dane and secure and configured != "none":
        found = yield from _tlsa(host, settings.port)
        if found is None:  # RFC 7672 §2.2: fail closed, or an attacker need only break DNS
            return TlsDemand("dane", "tlsa"), "its TLSA records could not be looked up"
        tlsa = found
    mode: Literal["none", "testing", "enforce"] = "none"
    if settings.mta_sts and sts is not None and sts.mode is not Mode.NONE:
        mode = "enforce" if sts.mode is Mode.ENFORCE else "testing"
        if mode == "enforce" and not tlsa and not matches(sts, host.name):
            return TlsDemand("verified", "sts"), "the domain's MTA-STS policy doesn't name it"
    return demand_of(configured, mode, tlsa), ""


def _tlsa(host: MailHost, port: int) -> Asking[tuple[TlsaRecord, ...] | None]:
    """Validated TLSA records of a host; None: it can't be known. The name behind a CNAME first. RFC 7672 §2.2.2."""
    names = dict.fromkeys(name for name in (host.canonical, host.name) if name)
    for name in names:
        answer = yield from ask(f"_{port}._tcp.{name}", RecordType.TLSA)
        if not answer.outcome.settled:
            return None
        records = tuple(record for record in answer.records if isinstance(record, TlsaRecord))
        if records and answer.secure:
            return records
    return ()


def allowed(addresses: Sequence[str], prohibited: Sequence[str]) -> tuple[str, ...]:
    """Leave out the addresses of networks that no stranger's DNS can make us connect to."""
    networks: list[IPv4Network | IPv6Network] = [ip_network(n, strict=False) for n in prohibited]
    return tuple(
        address
        for address in addresses
        if not any(ip_address(address) in network for network in networks)
    )


def _hops(hosts: Sequence[MailHost], port: int) -> tuple[Hop, ...]:
    """Rank by preference, then by family in the order of the policy; a host of equal rank shares the work."""
    ranked: list[tuple[tuple[int, int], MailHost, str]] = []
    for host in hosts:
        first = ip_address(host.addresses[0]).version
        for address in host.addresses:
            family = int(ip_address(address).version != first)
            ranked.append(((host.preference, family), host, address))
    ranks = {rank: number for number, rank in enumerate(sorted({rank for rank, _, _ in ranked}))}
    ranked.sort(key=lambda one: one[0])  # stable: the shuffle of equals stays
    once: dict[str, Hop] = {}
    for rank, host, address in ranked:
        once.setdefault(address, Hop(host.name, address, port, ranks[rank]))
    return tuple(once.values())


def _key(
    site: str, hops: Sequence[Hop], demands: Mapping[str, TlsDemand], settings: RoutingSettings
) -> str:
    """The site, and a digest where what the hosts must fulfil isn't what everybody's must."""
    usual = TlsDemand(settings.tls)
    ports = {hop.port for hop in hops} == {settings.port}
    if ports and all(demand == usual for demand in demands.values()):
        return site
    parts = sorted((name, demand) for name, demand in demands.items())
    told = msgspec.json.encode([parts, sorted({hop.port for hop in hops})])
    return f"{site}~{blake2b(told, digest_size=4).hexdigest()}"


def _lines(sts: StsPolicy | None) -> tuple[str, ...]:
    if sts is None:
        return ()
    hosts = tuple(f"mx: {pattern}" for pattern in sts.mx_patterns)
    return ("version: STSv1", f"mode: {sts.mode}", *hosts, f"max_age: {sts.max_age_s}")


def _all_excluded(domain: str, excluded: Sequence[tuple[str, str]]) -> Nowhere:
    """No host may be used: 4.7.x, since policies and records change (RFC 8461 §5, RFC 7672 §2.2)."""
    host, why = excluded[0]
    return Nowhere(domain, False, "4.7.5", f"no host may be used; {host}: {why}"[:300], 300)
