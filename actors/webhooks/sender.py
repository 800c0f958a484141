"""One endpoint: reads events behind a cursor, posts each, and keeps what wasn't taken for later.

The cursor and what waits are one file, written durably before anything more is read: so each event is posted at
least once, over any crash, under the same id. Events of one message (or journey) are posted one after the other; those
of others don't wait for it. When nothing is taken any more (the endpoint is down) nothing more is read, and what waits
is tried at growing intervals. Who must know how an event ended is told before it is forgotten.
"""

from __future__ import annotations

__all__ = ("EventPage", "Kept", "Posted", "Read", "Sender", "SenderSettings", "WaitingEvent")

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from actors.webhooks.signing import Event
from engine.errors import DamageError, InputError, VeredusError
from engine.store.catalog_files import write_durably

_log = structlog.get_logger("veredus.webhook")

READ_WAIT_MS = 1_000
DOWN_AFTER = 5
"""Messages of which an event must fail, with none taken meanwhile, before the endpoint counts as down."""


class SenderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a sender is."""

    page: int = 100  # events read at a time
    lot: int = 100  # events tried before what came of them is kept
    concurrency: int = 8  # posts at a time
    waiting_max: int = 1_000  # events kept for later; with more nothing is read
    first_s: float = 5.0  # before the second try
    max_s: float = 3_600.0
    give_up_s: float = 3 * 86_400.0
    again_s: float = 1.0  # after which our own side is asked again, where it couldn't answer


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
    refused: int = 0
    dropped: int = 0


class Posted(msgspec.Struct, frozen=True):
    """What became of one try. `status` 0: there was no answer, for the reason.

    `end`: it won't be tried again though it wasn't taken: the endpoint refused it for good, or nobody wants it any
    more. `fields`: of the answer.
    """

    status: int
    reason: str = ""
    retry_after_s: float = 0.0
    end: Literal["", "refused", "unwanted"] = ""
    fields: dict[str, Any] = {}

    @property
    def taken(self) -> bool:
        """Whether it was answered with 2xx."""
        return 200 <= self.status < 300


class EventPage(msgspec.Struct, frozen=True):
    """Events behind a cursor, and the cursor behind them."""

    events: tuple[Event, ...]
    next: str


Fate = Literal["", "delivered", "refused", "dropped", "given_up"]

Read = Callable[[str, int, int], Awaitable[EventPage]]
"""Reads events: (cursor, how many at most, how long to wait for the first, ms). Raises: VeredusError."""


class Sender:
    """Posts the events of one endpoint.

    Args:
        tenant: whose.
        read: where events are read.
        post: makes one try.
        path: where the cursor is kept.
        now_ms: wall time.
        draw: chance, for the spread of retries.
        begin: the first cursor: "latest", from now on, or "", from the beginning of what is kept.
        ended: is told how an event ended, taken or not, before it is forgotten; may be told twice.
    """

    def __init__(
        self,
        tenant: str,
        read: Read,
        post: Callable[[Event], Awaitable[Posted]],
        path: Path,
        now_ms: Callable[[], int],
        draw: random.Random,
        settings: SenderSettings | None = None,
        *,
        begin: Literal["latest", ""] = "latest",
        ended: Callable[[Event, Posted], Awaitable[None]] | None = None,
    ) -> None:
        self._tenant = tenant
        self._source = read
        self._begins = begin
        self._ended = ended
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
            await self._expire()
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
        """Begin: what became of mail before there was a webhook isn't told, but a call may have been made before."""
        page = await self._asked(self._begins, 1 if self._begins else 0, 0)
        await self._keep(msgspec.structs.replace(self.kept, cursor=page.next))

    async def _read_on(self) -> None:
        wait_ms = READ_WAIT_MS
        if self.kept.waiting:
            wait_ms = min(wait_ms, int(self._until_next_s() * 1000))
        page = await self._asked(self.kept.cursor, self._settings.page, wait_ms)
        if page.next == self.kept.cursor:
            return
        now = self._now_ms()
        fresh = tuple(
            WaitingEvent(event, now, next_ms=now)
            for event in page.events
            if not _is_over(event, now)
        )
        # kept before they are tried: what is read is never read again
        await self._keep(
            msgspec.structs.replace(
                self.kept, cursor=page.next, waiting=(*self.kept.waiting, *fresh)
            )
        )

    async def _asked(self, cursor: str, limit: int, wait_ms: int) -> EventPage:
        while True:
            try:
                return await self._source(cursor, limit, wait_ms)
            except InputError as error:
                # the cursor is of another data directory or number of workers: from now on, rather than never again
                _log.error("webhook_cursor_lost", tenant=self._tenant, error=str(error))
                cursor = self._begins
            except VeredusError as error:
                _log.warning("webhook_waits", tenant=self._tenant, error=str(error))
                await asyncio.sleep(self._settings.again_s)

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
        return [one for one in first if one.next_ms <= now][: self._settings.lot]

    async def _round(self, due: list[WaitingEvent]) -> None:
        """Try each; keep what wasn't taken."""
        gate = asyncio.Semaphore(self._settings.concurrency)

        async def one(waiting: WaitingEvent) -> Posted:
            async with gate:
                return await self._post(waiting.event)

        results = await asyncio.gather(*(one(waiting) for waiting in due))
        now = self._now_ms()
        after = {waiting.event.id: waiting for waiting in self.kept.waiting}
        fates: list[Fate] = []
        changes: dict[str, int | str] = {}
        for waiting, posted in zip(due, results, strict=True):
            fate = self._fate(waiting, posted, now)
            fates.append(fate)
            if fate in ("delivered", "refused", "dropped"):
                await self._tell(waiting.event, posted)
            if fate == "":
                after[waiting.event.id] = self._later(waiting, posted, now)
            else:
                del after[waiting.event.id]
            if fate == "delivered":
                changes["last_delivered_ms"] = now
            elif fate != "dropped":
                reason = f"{posted.status or 'no answer'} {posted.reason}".strip()
                changes |= {"last_failure": reason, "last_failure_ms": now}
        self._look(due, results, now)
        await self._keep(
            msgspec.structs.replace(self._counted(fates), waiting=tuple(after.values()), **changes)
        )

    def _fate(self, waiting: WaitingEvent, posted: Posted, now: int) -> Fate:
        """Tell what becomes of an event after a try; "": it is tried again."""
        if posted.taken:
            return "delivered"
        if posted.end:
            return "refused" if posted.end == "refused" else "dropped"
        if now < self._last_try(waiting):
            return ""
        _log.error("webhook_given_up", tenant=self._tenant, id=waiting.event.id)
        return "given_up"

    def _counted(self, fates: Sequence[Fate]) -> Kept:
        sums: dict[str, Any] = {
            what: getattr(self.kept, what) + fates.count(what) for what in set(fates) if what
        }
        return msgspec.structs.replace(self.kept, **sums)

    async def _expire(self) -> None:
        """Give up what may not be posted any more, also where the endpoint is down."""
        now = self._now_ms()
        left = tuple(one for one in self.kept.waiting if not _is_over(one.event, now))
        late: list[Fate] = ["given_up"] * (len(self.kept.waiting) - len(left))
        if late:
            _log.warning("webhook_out_of_time", tenant=self._tenant, events=len(late))
            await self._keep(msgspec.structs.replace(self._counted(late), waiting=left))

    async def _tell(self, event: Event, posted: Posted) -> None:
        """Tell how an event ended, until it is heard: it isn't forgotten before."""
        ended = self._ended
        while ended is not None:
            try:
                await ended(event, posted)
            except VeredusError as error:
                _log.warning("webhook_waits", tenant=self._tenant, error=str(error))
                await asyncio.sleep(self._settings.again_s)
            else:
                return

    def _last_try(self, waiting: WaitingEvent) -> float:
        """Tell when an event that still isn't taken is given up, ms."""
        return waiting.event.not_after or waiting.since_ms + self._settings.give_up_s * 1000

    def _look(self, due: list[WaitingEvent], results: list[Posted], now: int) -> None:
        """Note whether anything is taken at all; while nothing is, the next probe comes later each time."""
        if any(posted.taken or posted.end for posted in results):
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


def _is_over(event: Event, now: int) -> bool:
    """Tell whether an event may not be posted any more."""
    return 0 < event.not_after <= now


def _read(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Kept()
    except (OSError, msgspec.MsgspecError) as error:
        raise DamageError(f"{path}: {error}") from error
