"""The governor: what may be used of a destination, leased out with an expiry and an epoch.

`Governor` gives each of a fixed number of egresses an equal share of each limit: for one egress, and for the rates of a
replay, which run on the log's time. Shares that follow demand are in `deliverability.leasing`.
"""

from __future__ import annotations

__all__ = ("Gate", "Governor", "Lease", "Limit", "Meter", "RateMeter")

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Protocol

import msgspec

TOKEN = 60_000


class Limit(msgspec.Struct, frozen=True):
    """What a destination allows in all. None: no limit but the machine's."""

    domain: str = "*"  # a pattern: `gmail.com`, `*.example`
    connections: int = 10
    messages_per_minute: int | None = None
    burst: int = 1000
    messages_per_connection: int | None = None


class Meter(Protocol):
    """Gives out messages at some rate."""

    def available(self, now: int) -> int | None:
        """Tell how many there are; None: as many as you like."""

    def take(self, number: int) -> None:
        """Use some that are available."""

    def give_back(self, number: int) -> None:
        """Return some that were taken and not used."""

    def next_at(self) -> int:
        """Give the time at which there is one (again)."""


class Lease(msgspec.Struct, frozen=True):
    """The share of one egress. Where it follows demand (`deliverability.leasing`), `allowed` and `meter` say so."""

    connections: int
    messages_per_minute: int | None
    burst: int
    messages_per_connection: int | None
    epoch: int
    term_ms: int
    allowed: Callable[[int, int], int] | None = None
    """Connections that may be open now, by how many are and how many could be used."""
    meter: Meter | None = None


class Governor:
    """Leases limits to `egresses` senders."""

    TERM_MS = 5000

    def __init__(self, limits: tuple[Limit, ...], egresses: int, epoch: int = 1) -> None:
        self._limits = limits
        self._egresses = egresses
        self._epoch = epoch

    def lease(self, holder: int, domain: str) -> Lease:
        """Lease the share of the `holder`-th egress (from 0) for a domain: shares add up to the limit."""
        limit = next((one for one in self._limits if fnmatchcase(domain, one.domain)), Limit())
        rate = limit.messages_per_minute
        return Lease(
            connections=max(_share(limit.connections, self._egresses, holder), 0),
            messages_per_minute=None if rate is None else _share(rate, self._egresses, holder),
            burst=max(_share(limit.burst, self._egresses, holder), 1),
            messages_per_connection=limit.messages_per_connection,
            epoch=self._epoch,
            term_ms=self.TERM_MS,
        )


class RateMeter:
    """A token bucket over the time it is told, in 60,000ths of a token: no drift, no float.

    Args:
        per_minute: tokens that come in a minute.
        burst: tokens that it holds at most, after a pause.
        now: ms.
    """

    __slots__ = ("_at", "_burst", "_per_minute", "_tokens")

    def __init__(self, per_minute: int, burst: int, now: int) -> None:
        self._per_minute = max(per_minute, 1)
        self._burst = max(burst, 1) * TOKEN
        self._tokens = self._burst
        self._at = now

    def available(self, now: int) -> int:
        """Tell how many tokens there are."""
        if now > self._at:
            self._tokens = min(self._tokens + (now - self._at) * self._per_minute, self._burst)
            self._at = now
        return self._tokens // TOKEN

    def take(self, number: int) -> None:
        """Use tokens that are available."""
        assert 0 <= number * TOKEN <= self._tokens, "more tokens were taken than there are"
        self._tokens -= number * TOKEN

    def give_back(self, number: int) -> None:
        """Return tokens that were taken and not used."""
        self._tokens = min(self._tokens + number * TOKEN, self._burst)

    def next_at(self) -> int:
        """Give the time at which there is a token (again)."""
        missing = max(TOKEN - self._tokens, 0)
        return self._at - (-missing // self._per_minute)


class Gate:
    """Meters of one egress, by route: how many messages may be handed over now.

    Args:
        limit_of: gives the egress's lease for a route.
    """

    def __init__(self, lease_of: Callable[[str], Lease]) -> None:
        self._lease_of = lease_of
        self._meters: dict[str, Meter | None] = {}

    def available(self, route: str, now: int, *, urgent: bool = False) -> int | None:
        """Tell how many messages a route may be given now; None: as many as you like. Leases know no urgency."""
        del urgent
        meter = self._meter(route, now)
        return None if meter is None else meter.available(now)

    def take(self, route: str, number: int) -> None:
        """Use what is available."""
        meter = self._meters.get(route)
        if meter is not None:
            meter.take(number)

    def give_back(self, route: str, number: int) -> None:
        """Return what was taken and not used."""
        meter = self._meters.get(route)
        if meter is not None:
            meter.give_back(number)

    def next_at(self, route: str) -> int | None:
        """Give the time at which a route may be given a message again; None: it isn't limited."""
        meter = self._meters.get(route)
        return None if meter is None else meter.next_at()

    def _meter(self, route: str, now: int) -> Meter | None:
        if route not in self._meters:
            lease = self._lease_of(route)
            rate, meter = lease.messages_per_minute, lease.meter
            if meter is None and rate is not None:
                meter = RateMeter(rate, lease.burst, now)
            self._meters[route] = meter
        return self._meters[route]


def _share(limit: int, holders: int, holder: int) -> int:
    return limit // holders + (holder < limit % holders)
