"""What asks DNS, as the configuration has it: for routes, and for what is checked before mail leaves."""

from __future__ import annotations

__all__ = ("resolver_of",)

import time

from deliverability.transport.dns import DnsResolver
from engine.config import Config


def resolver_of(config: Config) -> DnsResolver:
    """Make it, for the loop that runs. Raises: TransportError: the system names no resolver."""
    dns = config.delivery.dns
    return DnsResolver(
        lambda: time.time_ns() // 1_000_000,
        nameservers=dns.nameservers,
        port=dns.port,
        timeout_s=float(dns.timeout_s),
    )
