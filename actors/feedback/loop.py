"""All of feedback in an instance, put together: the suppression list, the watcher, the reception and its listener."""

from __future__ import annotations

__all__ = (
    "FeedbackLoop",
    "FeedbackView",
    "acted_streams",
    "acting_of",
    "feedback_loop",
    "thresholds_of",
)

import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from actors.backend import Backend
from actors.feedback.acting import Acting, ActingParts
from actors.feedback.listener import Listener, listen
from actors.feedback.reception import (
    Reception,
    ReceptionParts,
    no_keys,
    tenant_keys,
    unsubscribe_addresses,
)
from actors.feedback.signers import KeyOf
from actors.feedback.watching import Feed, Watcher, WatcherParts, policy_of
from actors.queues import Queues
from actors.suppression.desk import Desk
from actors.suppression.service import ServiceSettings, Suppressions
from deliverability.dns.asking import Question, RecordType
from deliverability.feedback.findings import Finding, Thresholds
from deliverability.feedback.rates import LaneRates, Window
from deliverability.tokens import KeyRing
from deliverability.transport.dns import DnsResolver
from engine.config import DEFAULT_STREAMS, Config
from engine.errors import TransportError
from engine.settings_measures import Measures, MeasuresOfStream

BULK = 2
"""The class of mail that may be held back (`engine.vocabulary.MessageClass`)."""

HOUR_MS = 3_600_000


class FeedbackView(msgspec.Struct, frozen=True):
    """What came back, in numbers."""

    came_back: dict[str, int]  # `tenant kind`
    mails: dict[str, int]  # `way kind result reason`
    listener: dict[str, int]  # what was refused before its content
    suppressed_version: int
    port: int = 0


class FeedbackLoop:
    """What the edge asks about feedback."""

    def __init__(
        self,
        suppressions: Suppressions,
        watcher: Watcher,
        reception: Reception,
        now: Callable[[], int],
        addresses_of: Callable[[str, str], Awaitable[list[str]]],
    ) -> None:
        self._addresses_of = addresses_of
        self.suppressions = suppressions
        self.watcher = watcher
        self.reception = reception
        self.refused: Counter[str] = Counter()
        self.listener: Listener | None = None
        self._now = now

    def findings(self, tenant: str | None = None) -> list[Finding]:
        """Tell what is found now; of a tenant: its own, and what concerns everybody."""
        return [
            one for one in self.watcher.findings() if tenant is None or one.tenant in ("", tenant)
        ]

    def rates(self, window: Window, tenant: str | None = None) -> list[LaneRates]:
        """Tell the rates of all lanes."""
        return [
            one
            for one in self.watcher.rates.all(window, self._now())
            if tenant is None or one.lane.tenant == tenant
        ]

    async def erasing(self, tenant: str, contact: str) -> list[str]:
        """Give the addresses of a contact that is about to be erased, for `forget`."""
        return await self._addresses_of(tenant, contact)

    def forget(self, addresses: Sequence[str]) -> None:
        """Keep of the addresses of an erased contact nothing but their hashes, where they are on the list."""
        for address in addresses:
            self.suppressions.forget(address)

    def consented(self, tenant: str, addresses: Sequence[str], topics: Sequence[str]) -> None:
        """Hear that a recipient asked for topics again: what unsubscribing put on the list is lifted."""
        scopes = [f"{level}/{tenant}/{topic}" for topic in topics for level in ("topic", "stream")]
        for address in addresses:
            self.suppressions.consented(address, scopes)

    def view(self) -> FeedbackView:
        """Tell what came back."""
        port = self.listener.port if self.listener is not None else 0
        version = self.suppressions.status()[0]
        mails = dict(self.reception.counts)
        return FeedbackView(dict(self.watcher.counts), mails, dict(self.refused), version, port)


def key_of_dns(now: Callable[[], int]) -> KeyOf:
    """Look keys up in DNS; without a resolver there is no key."""
    try:
        resolver = DnsResolver(now, timeout_s=5.0)
    except TransportError:
        return no_keys

    async def key_of(name: str) -> bytes | None:
        answer = await resolver.answer(Question(name, RecordType.TXT))
        return next(iter(answer.texts), None)

    return key_of


def thresholds_of(config: Config) -> Thresholds:
    """Make the thresholds that a configuration asks for."""
    usual = config.measures
    own = {name: _limits(one, usual) for name, one in usual.streams.items()}
    return msgspec.structs.replace(_limits(usual, usual), streams=own)


def _limits(own: Measures | MeasuresOfStream, usual: Measures) -> Thresholds:
    def limit(key: str) -> float:
        value = getattr(own, f"{key}_percent")
        return float(getattr(usual, f"{key}_percent") if value is None else value) / 100

    return Thresholds(
        complaints_slow=limit("complaints_slow"),
        complaints_pause=limit("complaints_pause"),
        bounces_slow=limit("bounces_slow"),
        bounces_pause=limit("bounces_pause"),
        blocks_slow=limit("blocks_slow"),
        blocks_pause=limit("blocks_pause"),
        messages_min=usual.messages_min if own.messages_min is None else own.messages_min,
    )


def acted_streams(config: Config) -> set[tuple[str, str]]:
    """List the (tenant, stream) that measures slow down and hold."""
    return {
        (tenant.name, name)
        for tenant in config.tenant
        for name, stream in {**DEFAULT_STREAMS, **config.streams}.items()
        if config.measures.acts_on(name, bulk=stream.message_class == BULK)
    }


def acting_of(
    config: Config, queues: Queues, watcher: Watcher, now: Callable[[], int]
) -> Acting | None:
    """Make what carries out findings; None: it is switched off. Raises: StoreError."""
    acted = acted_streams(config)
    if not acted:
        return None
    return Acting(
        ActingParts(
            queues,
            watcher.findings,
            watcher.domains_of,
            lambda: acted,
            Path(config.data_dir) / "feedback" / "measures.json",
            now,
            config.measures.hold_hours * HOUR_MS,
        )
    )


@contextlib.asynccontextmanager
async def feedback_loop(
    config: Config,
    desk: Desk,
    backend: Backend,
    feeds: Callable[[], Sequence[Feed]],
    rings: Mapping[str, KeyRing],
    now: Callable[[], int],
    key_of: KeyOf | None = None,
) -> AsyncIterator[FeedbackLoop]:
    """Run everything but the watcher, which the caller runs (`loop.watcher.run()`).

    Raises: ConfigError: the listener's address or certificate can't be used. StoreError.
    """
    data = Path(config.data_dir)
    settings = ServiceSettings(config.suppression.keep_addresses)
    control_log = data / "control.log"
    made = Suppressions(desk, control_log, now, lambda: secrets.token_hex(12), settings)

    async def addresses_of(tenant: str, contact: str) -> list[str]:
        view = await backend.contact(tenant, contact)
        values = view.attributes.values() if view is not None else ()
        return [value for value in values if isinstance(value, str) and "@" in value]

    async def address_of(tenant: str, contact: str, digest: bytes) -> str:
        if not settings.keep_addresses:
            return ""
        found = await addresses_of(tenant, contact)
        return next((one for one in found if desk.hasher.of(one) == digest), "")

    own = tuple(str(getattr(source, "address", "")) for source in getattr(config, "source", ()))
    parts = WatcherParts(
        desk,
        data / "feedback",
        now,
        policy_of(config.suppression),
        address_of,
        addresses_of,
        own,
        thresholds_of(config),
    )
    watcher = Watcher(feeds, parts)
    tenants = tenant_keys(config, rings)
    reception = Reception(
        ReceptionParts(
            tenants,
            backend.returned,
            key_of or key_of_dns(now),
            now,
            made,
            watcher.book,
            config.inbound.reporters,
            unsubscribe_addresses(config),
        )
    )
    loop = FeedbackLoop(made, watcher, reception, now, addresses_of)
    if config.inbound.port:
        loop.listener = await listen(config, tenants, reception, now, loop.refused)
    try:
        yield loop
    finally:
        if loop.listener is not None:
            await loop.listener.close()
