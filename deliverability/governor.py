"""The governor: what may be used of a destination, leased out with an expiry and an epoch.

Today one instance serves, and gives each registered egress an equal share of each limit: the sum of what is usable
never passes the limit, whoever dies. Shares by demand come with the cluster; the interface is the one that stays.
"""

from __future__ import annotations

__all__ = ("Governor", "Lease", "Limit", "RateMeter")

from fnmatch import fnmatchcase

import msgspec

NEVER_MS = 366 * 24 * 3_600_000  # a meter that allows nothing is asked again in a year


class Limit(msgspec.Struct, frozen=True):
    """What a destination allows in all. None: no limit but the machine's."""

    domain: str = "*"  # a pattern: `gmail.com`, `*.example`
    connections: int = 10
    messages_per_minute: int | None = None
    messages_per_connection: int | None = None


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """The share of one egress. `expires` on the holder's own monotonic clock, from when it asked."""

    connections: int
    messages_per_minute: int | None
    messages_per_connection: int | None
    epoch: int
    term_ms: int


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
            messages_per_connection=limit.messages_per_connection,
            epoch=self._epoch,
            term_ms=self.TERM_MS,
        )


class RateMeter:
    """A token bucket over the time it is told, in whole thousandths of a token: no drift, no float."""

    __slots__ = ("_at", "_burst", "_per_minute", "_tokens")

    def __init__(self, per_minute: int, now: int) -> None:
        self._per_minute = per_minute
        # two seconds' worth, in tokens times 60,000; a share of nothing allows nothing
        self._burst = max(per_minute // 30, 1) * 60_000 if per_minute > 0 else 0
        self._tokens = self._burst
        self._at = now

    def take(self, now: int) -> bool:
        """Use one token, if there is one."""
        passed = now - self._at
        if passed > 0:
            self._tokens = min(self._tokens + passed * self._per_minute, self._burst)
            self._at = now
        if self._tokens < 60_000:
            return False
        self._tokens -= 60_000
        return True

    def next_at(self) -> int:
        """Give the time at which the next token comes."""
        missing = 60_000 - self._tokens
        if self._per_minute <= 0:
            return self._at + NEVER_MS
        return self._at + max(-(-missing // self._per_minute), 0)


def _share(limit: int, holders: int, holder: int) -> int:
    return limit // holders + (holder < limit % holders)
