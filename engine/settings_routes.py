"""The sections of the configuration about ways: relays, TLS, DNS, destinations, sources and pools."""

from __future__ import annotations

__all__ = (
    "Breaker",
    "Destination",
    "Dns",
    "Member",
    "Pool",
    "Relay",
    "RelayRole",
    "Source",
    "Tls",
    "TlsLevel",
)

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from engine.settings_types import Domain, File, Name, Network, Section

TlsLevel: TypeAlias = Literal["none", "opportunistic", "required", "verified"]

_Seconds = Annotated[int, Meta(ge=1, le=604_800)]


class Relay(Section, frozen=True, kw_only=True):
    """The server that takes all mail in mode `relay`; others to fall back on stand in `[[delivery.backup]]`."""

    host: Annotated[str, Meta(max_length=253, description="name or address")] = ""
    port: Annotated[
        int, Meta(ge=1, le=65535, description="587 for submission, 25 between servers")
    ] = 587
    starttls: Annotated[
        Literal["required", "opportunistic", "none"],
        Meta(description="`required` never speaks without TLS; RFC 3207"),
    ] = "required"
    ca_file: Annotated[
        File,
        Meta(description="PEM of who signed its certificate; empty: whom the system trusts"),
    ] = ""
    username: Annotated[str, Meta(description="empty: no AUTH")] = ""
    password_file: Annotated[File, Meta(description="its first line is the password")] = ""


RelayRole: TypeAlias = Literal["primary", "backup"]


class Breaker(Section, frozen=True, kw_only=True):
    """When a host or relay that fails is left alone, and when it is tried again; mail goes to the next one."""

    failures_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="sessions in a row that die or hang with a message in hand, until it counts as down",
        ),
    ] = 2
    first_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="how long it is left alone at first; then twice as long"),
    ] = 15
    max_s: Annotated[
        int, Meta(ge=1, le=86_400, description="the longest time it is left alone")
    ] = 300


class Tls(Section, frozen=True, kw_only=True):
    """How sessions with MX hosts are encrypted, in mode `live`. What a domain publishes only makes it stricter."""

    policy: Annotated[
        TlsLevel,
        Meta(
            description="`opportunistic`: where offered; `required`: always; `verified`: and the certificate is checked"
        ),
    ] = "opportunistic"
    mta_sts: Annotated[
        Literal["on", "off"], Meta(description="keep to the MTA-STS policies of domains; RFC 8461")
    ] = "on"
    dane: Annotated[
        Literal["on", "off"],
        Meta(description="keep to TLSA records; needs `delivery.dns.validates`; RFC 7672"),
    ] = "on"
    ca_file: Annotated[
        File, Meta(description="PEM of authorities to trust; empty: those of the system")
    ] = ""
    broken_memory_s: Annotated[
        int,
        Meta(
            ge=0,
            le=604_800,
            description="with `opportunistic`: so long a host whose TLS failed is spoken to in clear",
        ),
    ] = 3600
    report: Annotated[
        Literal["on", "off"],
        Meta(description="count sessions for reports to the domains that ask for them; RFC 8460"),
    ] = "on"
    report_from: Annotated[
        str,
        Meta(
            pattern=r"^$|^[^\s@<>]+@[^\s@<>]+$(?!\n)",
            description="mailbox that these reports are sent from, of a tenant's From domain; empty: none are sent",
        ),
    ] = ""


class Dns(Section, frozen=True, kw_only=True):
    """Who answers questions about domains, in mode `live`."""

    nameservers: Annotated[
        tuple[Network, ...], Meta(description="addresses of resolvers; none: those of the system")
    ] = ()
    port: Annotated[int, Meta(ge=1, le=65535, description="of these")] = 53
    timeout_s: Annotated[
        int, Meta(ge=1, le=60, description="for a question, all tries together")
    ] = 10
    validates: Annotated[
        bool,
        Meta(
            description="the resolver validates DNSSEC and nobody can get between it and us, so DANE can be used"
        ),
    ] = False


class Destination(Section, frozen=True, kw_only=True):
    """What you know of a domain, in mode `live`."""

    tls: Annotated[
        Literal["default", "none", "opportunistic", "required", "verified"],
        Meta(description="in place of `delivery.tls.policy`"),
    ] = "default"
    hosts: Annotated[
        tuple[Domain, ...],
        Meta(description="send to these, in this order, in place of its MX hosts"),
    ] = ()
    port: Annotated[int, Meta(ge=0, le=65535, description="0: `delivery.port`")] = 0


class Source(Section, frozen=True, kw_only=True):
    """An address that mail comes from, with its EHLO name; on this machine, or behind a proxy on another one."""

    name: Annotated[Name, Meta(description="as pools and reports call it")]
    address: Annotated[
        str,
        Meta(
            pattern=r"^[0-9a-f:.]*$(?!\n)",
            description="IP address to bind to, or that HAProxy is to come from; empty: the system's choice",
        ),
    ] = ""
    ehlo_name: Annotated[
        str,
        Meta(
            pattern=r"^$|^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$(?!\n)",
            max_length=253,
            description="its name in DNS, both ways; empty: `delivery.ehlo_name`",
        ),
    ] = ""
    proxy: Annotated[
        Literal["none", "socks5", "haproxy"],
        Meta(
            description="`socks5`: RFC 1928; `haproxy`: PROXY protocol version 2 with the wanted source"
        ),
    ] = "none"
    proxy_host: Annotated[str, Meta(max_length=253, description="address of the proxy")] = ""
    proxy_port: Annotated[int, Meta(ge=0, le=65535, description="its port")] = 0
    proxy_username: Annotated[str, Meta(max_length=255, description="SOCKS5; empty: none")] = ""
    proxy_password_file: Annotated[File, Meta(description="its first line is the password")] = ""


class Member(Section, frozen=True, kw_only=True):
    """A source of a pool."""

    source: Annotated[Name, Meta(description="name of a `[[source]]`")]
    weight: Annotated[
        int, Meta(ge=0, le=10_000, description="its part of the connections; 0: none")
    ] = 1


class Pool(Section, frozen=True, kw_only=True):
    """Sources that share work. Messages name a pool; `default` is that of those that name none."""

    name: Annotated[Name, Meta(description="as messages call it")]
    members: Annotated[tuple[Member, ...], Meta(min_length=1, description="its sources")]
