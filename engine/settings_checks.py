"""What keys of the configuration about delivery demand of each other."""

from __future__ import annotations

__all__ = (
    "check_guards",
    "check_limits",
    "check_live",
    "check_measures",
    "check_moved",
    "check_pacing",
    "check_pools",
    "check_relays",
    "check_tls_reports",
)

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from engine.settings_measures import Measures, MeasuresOfStream
from engine.settings_routes import Relay, Source

if TYPE_CHECKING:
    from engine.config import Config
    from engine.settings_text import Source as Text


def check_guards(config: Config, text: Text) -> None:
    """Nothing leaves by accident: recipients are named, and a From domain that somebody vouches for. DESIGN §4."""
    mode = config.delivery.mode
    if not config.delivery.allow:
        raise text.error(
            "delivery.allow",
            f"mode '{mode}' needs to know whom it may write to",
            'list recipients or @domains, or write allow = "any"',
        )
    if not any(tenant.from_domains for tenant in config.tenant):
        raise text.error(
            "tenant", f"mode '{mode}' needs a From domain that you vouch for", "set from_domains"
        )


def check_relays(config: Config, text: Text) -> None:
    """Each relay has a host, and a password only where it travels encrypted."""
    delivery = config.delivery
    _check_relay(delivery.relay, "delivery.relay", "mode 'relay' needs the relay's host", text)
    for index, relay in enumerate(delivery.backup):
        _check_relay(relay, f"delivery.backup[{index}]", "a backup needs its host", text)


def _check_relay(relay: Relay, path: str, hostless: str, text: Text) -> None:
    if not relay.host:
        raise text.error(f"{path}.host", hostless)
    if relay.username and not relay.password_file:
        raise text.error(f"{path}.password_file", "a username needs a password")
    if relay.username and relay.starttls != "required":
        raise text.error(
            f"{path}.starttls", "a password is only sent over TLS", "set it to 'required'"
        )


def check_live(config: Config, text: Text) -> None:
    """MX hosts expect a real EHLO name (RFC 5321 §4.1.1.1) and signed mail."""
    delivery = config.delivery
    if delivery.ehlo_name == "localhost" and not config.source:
        raise text.error(
            "delivery.ehlo_name",
            "mode 'live' needs the name of this machine in DNS",
            "the name that its address resolves to, such as mail.shop.example",
        )
    for index, tenant in enumerate(config.tenant):
        if tenant.from_domains and not tenant.dkim:
            raise text.error(
                f"tenant[{index}].dkim",
                "mode 'live' sends no unsigned mail",
                "`veredus dkim keygen` makes a key",
            )
    for index, network in enumerate(delivery.prohibited_networks):
        try:
            ip_network(network, strict=False)
        except ValueError:
            path = f"delivery.prohibited_networks[{index}]"
            raise text.error(path, f"{network!r} isn't an address or a network") from None
    for index, server in enumerate(delivery.dns.nameservers):
        if not _is_address(server):
            raise text.error(f"delivery.dns.nameservers[{index}]", f"{server!r} isn't an address")


def check_tls_reports(config: Config, text: Text) -> None:
    """Reports are mail of a tenant, which signs them. RFC 8460 §3."""
    domain = config.delivery.tls.report_from.rpartition("@")[2]
    if domain and not any(domain in tenant.from_domains for tenant in config.tenant):
        raise text.error(
            "delivery.tls.report_from",
            f"{domain!r} isn't a From domain of any tenant",
            "name a mailbox of one",
        )


def check_pools(config: Config, text: Text) -> None:
    """Sources and pools have names of their own, and pools name sources that exist."""
    sources: set[str] = set()
    for index, source in enumerate(config.source):
        path = f"source[{index}]"
        if source.name in sources:
            raise text.error(f"{path}.name", f"two sources are named {source.name!r}")
        sources.add(source.name)
        _check_source(source, path, text)
    pools: set[str] = set()
    for index, pool in enumerate(config.pool):
        path = f"pool[{index}]"
        if pool.name in pools:
            raise text.error(f"{path}.name", f"two pools are named {pool.name!r}")
        pools.add(pool.name)
        for number, member in enumerate(pool.members):
            if member.source not in sources:
                raise text.error(
                    f"{path}.members[{number}].source",
                    f"there is no source {member.source!r}",
                    "add [[source]]",
                )


def check_pacing(config: Config, text: Text) -> None:
    """Warm-ups name sources that exist, and begin below their goal."""
    sources = {source.name for source in config.source}
    for index, one in enumerate(config.pacing.warmup):
        path = f"pacing.warmup[{index}]"
        if one.source not in sources:
            raise text.error(
                f"{path}.source", f"there is no source {one.source!r}", "add [[source]]"
            )
        if one.first_day > one.goal_per_day:
            raise text.error(f"{path}.first_day", "is above goal_per_day")
        if one.hold_complaints_percent > one.cut_complaints_percent:
            raise text.error(f"{path}.hold_complaints_percent", "is above cut_complaints_percent")


def check_limits(config: Config, text: Text) -> None:
    """Limits of tenants and streams name some that exist, and are about one at least."""
    sources = {source.name for source in config.source}
    for index, one in enumerate(config.pacing.limit):
        path = f"pacing.limit[{index}]"
        if one.tenant and config.tenant_named(one.tenant) is None:
            raise text.error(f"{path}.tenant", f"there is no tenant {one.tenant!r}")
        if one.stream and config.stream(one.stream) is None:
            raise text.error(f"{path}.stream", f"there is no stream {one.stream!r}")
        if one.source and one.source not in sources:
            raise text.error(f"{path}.source", f"there is no source {one.source!r}")
        if not one.tenant and not one.stream:
            raise text.error(
                f"{path}.rate",
                "a limit is of a tenant or a stream, or of both",
                "name them; limits of providers and sources alone are shaping rules (docs/shaping.md)",
            )


def check_measures(config: Config, text: Text) -> None:
    """Streams exist, and what slows down isn't above what holds."""
    measures = config.measures
    _check_order(measures, measures, "measures", text)
    for name, own in measures.streams.items():
        if config.stream(name) is None:
            raise text.error(f"measures.streams.{name}", f"there is no stream {name!r}")
        _check_order(own, measures, f"measures.streams.{name}", text)


def _check_order(own: MeasuresOfStream | Measures, usual: Measures, path: str, text: Text) -> None:
    for signal in ("complaints", "bounces", "blocks"):
        slow, pause = (f"{signal}_{do}_percent" for do in ("slow", "pause"))
        limits = [
            value if (value := getattr(own, key)) is not None else getattr(usual, key)
            for key in (slow, pause)
        ]
        if limits[0] > limits[1]:
            written = slow if getattr(own, slow) is not None else pause
            raise text.error(
                f"{path}.{written}",
                f"{slow} ({limits[0]:g}) is above {pause} ({limits[1]:g})",
                "what slows a stream down must not be above what holds it",
            )


def check_moved(tree: Mapping[str, Any], text: Text) -> None:
    """Keys that have gone say where what they did is now."""
    pacing = tree.get("pacing")
    found = pacing.get("threshold") if isinstance(pacing, dict) else None
    if found is None:
        return
    one = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    do = "slow" if one.get("action") == "slow" else "pause"
    key = f"{one.get('signal', 'complaints')}_{do}_percent = {one.get('percent', 0.3)}"
    streams = one.get("streams") or []
    where = f"[measures.streams.{streams[0]}]" if streams else "[measures]"
    raise text.error(
        "pacing.threshold[0]",
        "`[[pacing.threshold]]` has gone: `[measures]` is what slows down and holds streams by their rates",
        f"write `{key}` under `{where}` (docs/configuration.md)",
    )


def _check_source(source: Source, path: str, text: Text) -> None:
    if source.address and not _is_address(source.address):
        raise text.error(f"{path}.address", f"{source.address!r} isn't an IP address")
    if source.proxy == "none":
        return
    if not source.proxy_host or not source.proxy_port:
        raise text.error(f"{path}.proxy_host", "a proxy needs proxy_host and proxy_port")
    if source.proxy == "haproxy" and not source.address:
        raise text.error(f"{path}.address", "HAProxy has to be told which address to come from")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
