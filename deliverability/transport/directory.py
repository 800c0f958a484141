"""Keeps what is known of destinations: asks before it is needed, keeps it by TTL, asks again behind the mail's back.

No message waits for DNS on its way: credits for a domain are given once it is known (`ready`), and from then on its
route is a look into a table. What has outlived its TTL is asked for again while the old answer serves on, up to
`_STALE_MS` when DNS doesn't answer (RFC 8767).
"""

from __future__ import annotations

__all__ = ("Directory", "PolicyStore", "Resolver")

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

import msgspec

from deliverability.dns.asking import Asking
from deliverability.dns.mail_hosts import find_addresses
from deliverability.policy.mta_sts import StsPolicy
from deliverability.policy.sts_cache import Fetch, KeptPolicy, Use, choose, fetched
from deliverability.policy.tags import Mistake
from deliverability.routing.destinations import (
    Destination,
    Nowhere,
    RoutingSettings,
    domain_of,
    find_destination,
    pool_of,
    route_name,
    sts_record,
)

T = TypeVar("T")

_STALE_MS = 3_600_000
_ENTRIES_MAX = 200_000


class Resolver(Protocol):
    """Drives questions to their answers: `transport.dns.DnsResolver`, or a zone in tests."""

    async def run(self, asking: Asking[T]) -> T:
        """Give the result."""


class PolicyStore(Protocol):
    """Where MTA-STS policies outlive the process (RFC 8461 §3.3)."""

    def get(self, domain: str) -> KeptPolicy:
        """Give what is kept of a domain."""

    def put(self, domain: str, kept: KeptPolicy) -> None:
        """Keep it."""


FetchPolicy = Callable[[str, Sequence[str]], Awaitable[StsPolicy | Mistake]]


class _Entry(msgspec.Struct):
    """What is known of a domain, until when it is fresh, and how long it may serve at most (ms)."""

    found: Destination | Nowhere
    fresh_until: int
    serves_until: int


class Directory:
    """Destinations by domain. For one event loop.

    Args:
        resolver: DNS.
        settings: the configuration.
        chance: shuffles hosts of equal preference.
        clock: wall time in ms.
        policies: MTA-STS policies kept.
        fetch: fetches a policy from these addresses.
        known: called when a domain that somebody waits for is known.
    """

    def __init__(
        self,
        resolver: Resolver,
        settings: RoutingSettings,
        chance: Random,
        clock: Callable[[], int],
        policies: PolicyStore,
        fetch: FetchPolicy,
        known: Callable[[], None] = lambda: None,
    ) -> None:
        self._resolver = resolver
        self._settings = settings
        self._chance = chance
        self._clock = clock
        self._policies = policies
        self._fetch = fetch
        self._known = known
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._by_key: dict[str, Destination] = {}
        self._asking: dict[str, asyncio.Task[Destination | Nowhere]] = {}
        self.sts_failures: dict[str, str] = {}
        """Why the policy of a domain couldn't be fetched, for reports."""

    # ---- on the way of messages: tables alone

    def ready(self, route: str) -> bool:
        """Tell whether the domain of a route is known; if not, it will be soon."""
        return self._look(domain_of(route)) is not None

    def queue_of(self, route: str) -> str:
        """Give the route that messages for `pool/domain` take: `pool/site`; itself while nothing is known."""
        entry = self._entries.get(domain_of(route))
        if entry is None or isinstance(entry.found, Nowhere):
            return route
        return route_name(pool_of(route), entry.found.key)

    def nowhere(self, domain: str) -> Nowhere | None:
        """Tell why a domain can't be reached, if so."""
        entry = self._entries.get(domain)
        return entry.found if entry is not None and isinstance(entry.found, Nowhere) else None

    def by_key(self, key: str) -> Destination | None:
        """Give the newest destination with a key."""
        return self._by_key.get(key)

    # ---- beside it

    async def find(self, domain: str) -> Destination | Nowhere:
        """Give what is known of a domain, asking if need be."""
        found = self._look(domain)
        if found is not None:
            return found
        return await asyncio.shield(self._asking[domain])

    async def close(self) -> None:
        """Ask no more."""
        for task in list(self._asking.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _look(self, domain: str) -> Destination | Nowhere | None:
        now = self._clock()
        entry = self._entries.get(domain)
        if entry is None or now >= entry.fresh_until:
            self._ask(domain)
        if entry is None or now >= entry.serves_until:
            return None
        return entry.found

    def _ask(self, domain: str) -> None:
        if domain not in self._asking:
            task = asyncio.get_running_loop().create_task(self._resolve(domain))
            self._asking[domain] = task
            task.add_done_callback(lambda _: self._asking.pop(domain, None))

    async def _resolve(self, domain: str) -> Destination | Nowhere:
        policy = await self._policy(domain)
        asking = find_destination(domain, self._settings, policy, self._chance)
        found = await self._resolver.run(asking)
        self._keep(domain, found)
        self._known()
        return found

    async def _policy(self, domain: str) -> StsPolicy | None:
        """Give the MTA-STS policy that holds, fetched if need be. Address literals have none."""
        if not self._settings.mta_sts or domain.startswith("["):
            return None
        record = await self._resolver.run(sts_record(domain))
        kept = self._policies.get(domain)
        choice = choose(kept, record, self._clock())
        if isinstance(choice, Fetch):
            host = f"mta-sts.{domain}"
            addresses, _ = await self._resolver.run(
                find_addresses(host, self._settings.address_policy)
            )
            answer = await self._fetch(domain, addresses)
            kept = fetched(kept, choice.policy_id, answer, self._clock())
            self._policies.put(domain, kept)
            choice = choose(kept, record, self._clock())
            assert not isinstance(choice, Fetch), "a fetch is kept, or its failure is"
        if kept.failure:
            self.sts_failures[domain] = kept.failure
        else:
            self.sts_failures.pop(domain, None)
        return choice.policy if isinstance(choice, Use) else None

    def _keep(self, domain: str, found: Destination | Nowhere) -> None:
        now = self._clock()
        old = self._entries.get(domain)
        unanswered = isinstance(found, Nowhere) and not found.permanent
        if unanswered and old is not None and now < old.serves_until:
            old.fresh_until = now + found.ttl_s * 1000
            return
        fresh = now + found.ttl_s * 1000
        serves = fresh + (_STALE_MS if isinstance(found, Destination) else 0)
        self._entries[domain] = _Entry(found, fresh, serves)
        self._entries.move_to_end(domain)
        if isinstance(found, Destination):
            self._by_key[found.key] = found
        if len(self._entries) > _ENTRIES_MAX:
            _, gone = self._entries.popitem(last=False)
            if isinstance(gone.found, Destination):
                self._by_key.pop(gone.found.key, None)
