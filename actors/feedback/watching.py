"""Reads what became of all mail, once, in the order of each worker's commits: counts rates, and suppresses.

What was read is kept in one file together with the place up to which it was read, so that after a crash nothing counts
twice; suppressions recognise a repetition by the message and its attempt.
"""

from __future__ import annotations

__all__ = ("Feed", "Watcher", "WatcherParts", "policy_of")

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from actors.cluster.calls import WorkerLostError
from actors.suppression.desk import Desk, Request
from deliverability.feedback.findings import Finding, Thresholds, findings_of
from deliverability.feedback.providers import names_of, provider_of
from deliverability.feedback.rates import Lane, Rates
from deliverability.feedback.reports import ReportBook
from deliverability.message.records import OutcomeRecord
from deliverability.suppression.machine import Lift, Suppress
from deliverability.suppression.policy import Repeats, SuppressionPolicy, said_of
from engine.config import Suppression
from engine.errors import StoreError, VeredusError
from engine.feed import FeedEntry
from engine.store.catalog_files import write_durably
from engine.vocabulary import CONSENT_AGAIN, ConsentAgain

log = structlog.get_logger()

PAGE = 2000
POLL_S = 0.1
KEEP_S = 10.0
DOMAINS_MAX = 100
_AGAIN = msgspec.msgpack.Decoder(ConsentAgain)
_OUTCOME = msgspec.msgpack.Decoder(OutcomeRecord)

Feed = Callable[[int, int, int], Awaitable[Sequence[FeedEntry]]]
"""Reads a worker's feed behind (position, n), at most so many entries."""


class _Kept(msgspec.Struct, array_like=True):
    """What is written down."""

    places: list[tuple[int, int]]
    rates: bytes
    book: bytes
    counts: dict[str, int] = {}


class WatcherParts(msgspec.Struct, frozen=True):
    """The world of a watcher. `address_of` gives a contact's address, to be kept sealed; "" when it isn't known."""

    desk: Desk
    folder: Path
    now: Callable[[], int]
    policy: SuppressionPolicy
    address_of: Callable[[str, str, bytes], Awaitable[str]]
    addresses_of: Callable[[str, str], Awaitable[list[str]]]  # of a contact
    own_sources: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()


class Watcher:
    """Reads the feeds of all workers.

    Args:
        feeds: gives what reads them, at the time of asking: workers come, and their feeds stay.
        parts: the world.

    Raises: StoreError: what an earlier life wrote can't be read.
    """

    def __init__(self, feeds: Callable[[], Sequence[Feed]], parts: WatcherParts) -> None:
        self._feeds = feeds
        self._parts = parts
        self._path = parts.folder / "watcher.state"
        kept = self._read()
        fits = kept is not None and len(kept.places) <= len(feeds())
        self._places: list[tuple[int, int]] = kept.places if kept is not None and fits else []
        self.rates = Rates.load(kept.rates) if kept is not None else Rates()
        self.book = ReportBook.load(kept.book) if kept is not None else ReportBook()
        self.counts: dict[str, int] = kept.counts if kept is not None else {}
        """`tenant kind` -> how many came back, `tenant suppressed reason` -> how many were put on the list."""
        self._complaints: Counter[tuple[str, str]] = Counter()  # by source and provider
        self._dirty = False
        self._domains: dict[str, set[str]] = {}  # that mail went to, by provider

    async def run(self) -> None:
        """Read on until cancelled; writes down where it is from time to time."""
        loop = asyncio.get_running_loop()
        written = loop.time()
        try:
            while True:
                number = 0
                try:
                    number = await self.step()
                    self._parts.desk.look(self._parts.now())
                except WorkerLostError as error:
                    log.info("feed_not_read", error=str(error))
                except VeredusError as error:
                    log.warning("feedback_not_followed", error=str(error))
                if loop.time() - written > KEEP_S:
                    self.keep()
                    written = loop.time()
                if not number:
                    await asyncio.sleep(POLL_S)
        finally:
            self.keep()

    async def step(self) -> int:
        """Read one page of each feed. Returns how many entries there were."""
        number = 0
        feeds = self._feeds()
        self._places += [(0, 0)] * (len(feeds) - len(self._places))
        for index, feed in enumerate(feeds):
            entries = await feed(*self._places[index], PAGE)
            if entries:
                await self._take(entries)
                self._places[index] = (entries[-1].position, entries[-1].n)
                self._dirty = True
                number += len(entries)
        return number

    async def _take(self, entries: Sequence[FeedEntry]) -> None:
        """Suppress first: should that fail, nothing was counted, and the page comes again."""
        records = [
            (entry.tenant, _OUTCOME.decode(entry.body))
            for entry in entries
            if entry.channel == "outcome"
        ]
        requests = []
        for tenant, record in records:
            said = said_of(record, tenant, self._parts.policy)
            if said is None:
                continue
            name = f"{record.message_id} {record.kind} {record.attempt}".encode()
            for digest, address in await self._whose(tenant, record):
                one = said
                if address and isinstance(said, Suppress):
                    sealed = self._parts.desk.hasher.seal(address)
                    one = msgspec.structs.replace(said, sealed=sealed)
                requests.append((tenant, said.entry.reason, Request(digest, one, name)))
        if requests:
            verdicts = self._parts.desk.change(self._parts.now(), [one[2] for one in requests])
            for (tenant, reason, _), verdict in zip(requests, verdicts, strict=True):
                if verdict == "accepted":
                    self._count(f"{tenant} said {reason}")
        for entry in entries:
            if entry.channel == CONSENT_AGAIN:
                await self._lift(entry.tenant, _AGAIN.decode(entry.body), entry)
        for tenant, record in records:
            self._note(tenant, record)

    async def _whose(self, tenant: str, record: OutcomeRecord) -> list[tuple[bytes, str]]:
        """Find the hashes that an outcome speaks of, with the address where it may be kept.

        Who leaves by a link whose message is forgotten leaves with each address of its contact.
        """
        hasher = self._parts.desk.hasher
        if not record.recipient:
            found = await self._parts.addresses_of(tenant, record.contact)
            digests = [hasher.of(address) for address in found]
        else:
            digests = [bytes.fromhex(record.recipient)]
        return [
            (digest, await self._parts.address_of(tenant, record.contact, digest))
            for digest in digests
        ]

    async def _lift(self, tenant: str, again: ConsentAgain, entry: FeedEntry) -> None:
        """A contact asks for a topic again: what unsubscribing from it put on the list goes, and nothing else."""
        desk = self._parts.desk
        requests = []
        for address in await self._parts.addresses_of(tenant, again.contact):
            digest = desk.hasher.of(address)
            for level in ("topic", "stream"):
                scope = f"{level}/{tenant}/{again.topic}"
                name = f"again {scope} {entry.position} {entry.n}"
                requests.append(Request(digest, Lift(scope, ("unsubscribe",)), name.encode()))
        if requests:
            desk.change(self._parts.now(), requests)

    def _note(self, tenant: str, record: OutcomeRecord) -> None:
        provider = provider_of(record.domain)
        seen = self._domains.setdefault(provider, set())
        if record.domain and len(seen) < DOMAINS_MAX:
            seen.add(record.domain)
        lane = Lane(tenant, record.stream, record.source, provider)
        kind = record.kind if record.kind != "expired" else "bounced"
        if kind in ("delivered", "deferred", "bounced", "returned", "complained", "unsubscribed"):
            self.rates.note(lane, kind, "" if kind == "delivered" else record.cause, record.at)
        if kind == "complained":
            self._complaints[record.source, lane.provider] += 1
        if record.returned is not None:
            self._count(f"{tenant} {record.kind}")

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def take_complaints(self) -> Counter[tuple[str, str]]:
        """Take the complaints that came since the last call, by source and provider."""
        taken, self._complaints = self._complaints, Counter()
        return taken

    def findings(self) -> list[Finding]:
        """Tell what is found now."""
        parts = self._parts
        return findings_of(self.rates, self.book, parts.now(), parts.own_sources, parts.thresholds)

    def domains_of(self, provider: str) -> list[str]:
        """Give the domains that a provider serves: those known by name, and those that mail went to lately."""
        return sorted({*names_of(provider), *self._domains.get(provider, ())})

    # ---- on disk

    def keep(self) -> None:
        """Write down what was read and up to where."""
        if not self._dirty and not self.book.changed:
            return
        kept = _Kept(self._places, self.rates.dump(), self.book.dump(), self.counts)
        try:
            self._parts.folder.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.warning("feedback_not_kept", path=str(self._path), error=str(error))
            return
        self._dirty = self.book.changed = False

    def _read(self) -> _Kept | None:
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{self._path}: {error}") from error


def policy_of(config: Suppression) -> SuppressionPolicy:
    """Make the policy that a configuration asks for."""
    default = Repeats(config.soft_bounces, config.soft_window_days, config.soft_holds_days)
    if default == Repeats():
        return SuppressionPolicy(config.hard_bounce_days)
    return SuppressionPolicy(config.hard_bounce_days, (("default", default),))
