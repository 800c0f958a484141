"""One tenant's webhook: reads outcomes behind a cursor, posts each, and keeps what wasn't taken for later.

The cursor and what waits are one file, written durably before anything more is read: so each outcome is posted at
least once, over any crash, under the same id. Outcomes of one message are posted one after the other; those of other
messages don't wait for it. When nothing is taken any more (the endpoint is down) nothing more is read, and what waits
is tried at growing intervals.
"""

from __future__ import annotations

__all__ = ("Kept", "Posted", "Sender", "SenderSettings", "WaitingEvent")

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from actors.backend import OutcomePage
from actors.webhooks.signing import Event, event_of
from engine.errors import DamageError, InputError, VeredusError
from engine.store.catalog_files import write_durably

_log = structlog.get_logger("veredus.webhook")

READ_WAIT_MS = 1_000
READ_RETRY_S = 1.0
DOWN_AFTER = 5
"""Messages of which an event must fail, with none taken meanwhile, before the endpoint counts as down."""


class SenderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a sender is."""

    page: int = 100  # outcomes read at a time
    concurrency: int = 8  # posts at a time
    waiting_max: int = 1_000  # events kept for later; with more nothing is read
    first_s: float = 5.0  # before the second try
    max_s: float = 3_600.0
    give_up_s: float = 3 * 86_400.0


class WaitingEvent(msgspec.Struct, frozen=True):
    """An event that wasn't taken yet, or waits behind one of the same message."""

    event: Event
    since_ms: int
    tries: int = 0
    next_ms: int = 0


class Kept(msgspec.Struct, frozen=True):
    """What is on disk."""

    cursor: str = ""
    waiting: tuple[WaitingEvent, ...] = ()
    delivered: int = 0
    given_up: int = 0
    last_delivered_ms: int = 0
    last_failure: str = ""
    last_failure_ms: int = 0


class Posted(msgspec.Struct, frozen=True):
    """What became of one try. `status` 0: there was no answer, for the reason."""

    status: int
    reason: str = ""
    retry_after_s: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether it was answered with 2xx."""
        return 200 <= self.status < 300


class Source(Protocol):
    """Where outcomes are read."""

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read behind a cursor."""


class Sender:
    """Posts the outcomes of one tenant.

    Args:
        tenant: whose.
        source: where outcomes are read.
        post: makes one try.
        path: where the cursor is kept.
        now_ms: wall time.
        draw: chance, for the spread of retries.
    """

    def __init__(
        self,
        tenant: str,
        source: Source,
        post: Callable[[Event], Awaitable[Posted]],
        path: Path,
        now_ms: Callable[[], int],
        draw: random.Random,
        settings: SenderSettings | None = None,
    ) -> None:
        self._tenant = tenant
        self._source = source
        self._post = post
        self._path = path
        self._now_ms = now_ms
        self._draw = draw
        self._settings = settings or SenderSettings()
        self._failing: set[str] = set()  # messages of which an event failed since one was taken
        self._probes = 0
        self._probe_ms = 0  # while it is down: when one event is tried
        self.kept = _read(path)

    async def run(self) -> None:
        """Post for ever; until cancelled."""
        if not self.kept.cursor:
            await self._begin()
        while True:
            due = self._due()
            room = len(self.kept.waiting) < self._settings.waiting_max
            if due:
                await self._round(due)
            elif self._is_down or not room:
                await asyncio.sleep(self._until_next_s())
            else:
                await self._read_on()

    @property
    def _is_down(self) -> bool:
        """Whether it seems that nothing is taken any more; one bad event doesn't make it so."""
        return len(self._failing) >= DOWN_AFTER

    async def _begin(self) -> None:
        """Begin with what comes from now on: what became of mail before there was a webhook isn't told."""
        page = await self._asked("latest", 1, 0)
        await self._keep(msgspec.structs.replace(self.kept, cursor=page.next))

    async def _read_on(self) -> None:
        wait_ms = READ_WAIT_MS
        if self.kept.waiting:
            wait_ms = min(wait_ms, int(self._until_next_s() * 1000))
        page = await self._asked(self.kept.cursor, self._settings.page, wait_ms)
        if page.next == self.kept.cursor:
            return
        now = self._now_ms()
        fresh = tuple(WaitingEvent(event_of(entry), now, next_ms=now) for entry in page.items)
        # kept before they are tried: what is read is never read again
        await self._keep(
            msgspec.structs.replace(
                self.kept, cursor=page.next, waiting=(*self.kept.waiting, *fresh)
            )
        )

    async def _asked(self, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        while True:
            try:
                return await self._source.outcomes(self._tenant, cursor, limit, wait_ms)
            except InputError as error:
                # the cursor is of another data directory or number of workers: from now on, rather than never again
                _log.error("webhook_cursor_lost", tenant=self._tenant, error=str(error))
                cursor = "latest"
            except VeredusError as error:
                _log.warning("webhook_waits", tenant=self._tenant, error=str(error))
                await asyncio.sleep(READ_RETRY_S)

    def _due(self) -> list[WaitingEvent]:
        """Give the events whose turn it is: the first of each message, when its time has come."""
        now, seen = self._now_ms(), set()
        first = []
        for one in self.kept.waiting:
            if one.event.message_id not in seen:
                seen.add(one.event.message_id)
                first.append(one)
        if self._is_down:
            probe = min(first, key=lambda one: one.tries, default=None)
            return [probe] if probe is not None and self._probe_ms <= now else []
        return [one for one in first if one.next_ms <= now][: self._settings.page]

    async def _round(self, due: list[WaitingEvent]) -> None:
        """Try each; keep what wasn't taken."""
        gate = asyncio.Semaphore(self._settings.concurrency)

        async def one(waiting: WaitingEvent) -> Posted:
            async with gate:
                return await self._post(waiting.event)

        results = await asyncio.gather(*(one(waiting) for waiting in due))
        now = self._now_ms()
        after = {waiting.event.id: waiting for waiting in self.kept.waiting}
        changes: dict[str, int | str] = {}
        delivered, given_up = self.kept.delivered, self.kept.given_up
        for waiting, posted in zip(due, results, strict=True):
            if posted.taken:
                del after[waiting.event.id]
                delivered += 1
                changes["last_delivered_ms"] = now
                continue
            reason = f"{posted.status or 'no answer'} {posted.reason}".strip()
            changes |= {"last_failure": reason, "last_failure_ms": now}
            if now - waiting.since_ms > self._settings.give_up_s * 1000:
                del after[waiting.event.id]
                given_up += 1
                _log.error("webhook_given_up", tenant=self._tenant, id=waiting.event.id)
            else:
                after[waiting.event.id] = self._later(waiting, posted, now)
        self._look(due, results, now)
        kept = msgspec.structs.replace(
            self.kept, waiting=tuple(after.values()), delivered=delivered, given_up=given_up
        )
        await self._keep(msgspec.structs.replace(kept, **changes))

    def _look(self, due: list[WaitingEvent], results: list[Posted], now: int) -> None:
        """Note whether anything is taken at all; while nothing is, the next probe comes later each time."""
        if any(posted.taken for posted in results):
            self._failing.clear()
            self._probes = 0
            return
        self._failing |= {waiting.event.message_id for waiting in due}
        if self._is_down:
            wait_s = min(
                self._settings.first_s * 2.0 ** min(self._probes, 30), self._settings.max_s
            )
            self._probe_ms = now + int(wait_s * 1000 * self._draw.uniform(0.8, 1.2))
            self._probes += 1

    def _later(self, waiting: WaitingEvent, posted: Posted, now: int) -> WaitingEvent:
        settings = self._settings
        wait_s = min(settings.first_s * 2.0 ** min(waiting.tries, 30), settings.max_s)
        wait_s = max(
            wait_s * self._draw.uniform(0.8, 1.2), min(posted.retry_after_s, settings.max_s)
        )
        return msgspec.structs.replace(
            waiting, tries=waiting.tries + 1, next_ms=now + int(wait_s * 1000)
        )

    def _until_next_s(self) -> float:
        """Tell how long nothing is due."""
        times = [self._probe_ms] if self._is_down else [one.next_ms for one in self.kept.waiting]
        return max((min(times, default=0) - self._now_ms()) / 1000, 0.001)

    async def _keep(self, kept: Kept) -> None:
        await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(kept))
        self.kept = kept


def _read(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Kept()
    except (OSError, msgspec.MsgspecError) as error:
        raise DamageError(f"{path}: {error}") from error
