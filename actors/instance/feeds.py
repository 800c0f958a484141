"""What becomes of messages, in the order in which each store committed it: the feeds, and cursors in them.

A cursor names a place in each worker's store, since commit order exists only within a store.
"""

from __future__ import annotations

__all__ = ("Feeds",)

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from actors.backend import CallPage, Notice, NoticePage, OutcomeEntry, OutcomePage
from actors.instance.reach import Reach
from deliverability.message.records import OutcomeRecord
from engine.errors import InputError
from engine.feed import FeedEntry
from engine.vocabulary import CALLS, Call

POLL_S = 0.05
N_MAX = 2**31  # behind every entry of one position
_OUTCOME = msgspec.msgpack.Decoder(OutcomeRecord)
_CALL = msgspec.msgpack.Decoder(Call)
_CURSOR = msgspec.msgpack.Decoder(list[tuple[int, int]])


class Feeds:
    """The feeds of all workers."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def reader(self, index: int) -> Callable[[int, int, int], Awaitable[list[FeedEntry]]]:
        """Give what reads the feed of a worker, behind a place in it."""

        async def feed(position: int, n: int, limit: int) -> list[FeedEntry]:
            return (await self._reach.feed(index, (position, n), limit)).entries

        return feed

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read the feeds behind a cursor; waits for the first entry if there is none."""
        entries, behind, more = await self._entries("outcome", tenant, cursor, limit, wait_ms)
        return OutcomePage([_outcome(entry) for entry in entries], behind, more)

    async def calls(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> CallPage:
        """Read the calls of a tenant's scenarios behind a cursor."""
        entries, behind, more = await self._entries(CALLS, tenant, cursor, limit, wait_ms)
        return CallPage([_CALL.decode(entry.body) for entry in entries], behind, more)

    async def notices(
        self, tenant: str, channel: str, cursor: str, limit: int, wait_ms: int
    ) -> NoticePage:
        """Read what a tenant's scenarios put on a channel, behind a cursor."""
        place = (f"notify.{channel}", tenant, cursor)
        entries, behind, more = await self._entries(*place, limit, wait_ms)
        return NoticePage([_notice(channel, entry) for entry in entries], behind, more)

    async def _entries(
        self, channel: str, tenant: str, cursor: str, limit: int, wait_ms: int
    ) -> tuple[list[FeedEntry], str, bool]:
        places = await self._places(cursor)
        deadline = asyncio.get_running_loop().time() + wait_ms / 1000
        while True:
            items, places, more = await self._read_feeds((channel, tenant), places, limit)
            if items or asyncio.get_running_loop().time() >= deadline:
                return items, _cursor(places), more
            if not more:
                await asyncio.sleep(POLL_S)

    async def _read_feeds(
        self, wanted: tuple[str, str], places: list[tuple[int, int]], limit: int
    ) -> tuple[list[FeedEntry], list[tuple[int, int]], bool]:
        items: list[FeedEntry] = []
        after = places + [(0, 0)] * (self._reach.feeds - len(places))
        more = False
        for number, place in enumerate(after):
            room = limit - len(items)
            if room <= 0:
                more = True
                break
            page = await self._reach.feed(number, place, room, wanted)
            items += page.entries
            after[number] = page.behind
            more = more or page.more
        return items, after, more

    async def _places(self, cursor: str) -> list[tuple[int, int]]:
        count = self._reach.feeds
        if not cursor:
            return [(0, 0)] * count
        if cursor == "latest":
            pages = [self._reach.feed(number, (0, 0), 1) for number in range(count)]
            return [(page.position, N_MAX) for page in await asyncio.gather(*pages)]
        try:
            places = _CURSOR.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            places = []
        # one for fewer feeds is older than the others, which begin behind it
        if not 0 < len(places) <= count:
            raise InputError("the cursor isn't one of this instance's", mend="begin without one")
        return places


def _notice(channel: str, entry: FeedEntry) -> Notice:
    body: dict[str, Any] = msgspec.msgpack.decode(entry.body)
    shown = {key: one.hex() if isinstance(one, bytes) else one for key, one in body.items()}
    return Notice(channel, shown)


def _cursor(places: list[tuple[int, int]]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(places)).rstrip(b"=").decode()


def _outcome(entry: FeedEntry) -> OutcomeEntry:
    record = _OUTCOME.decode(entry.body)
    reply = " ".join(
        part for part in (str(record.code or ""), record.enhanced, record.text) if part
    )
    return OutcomeEntry(
        message_id=record.message_id,
        contact=record.contact,
        kind=record.kind,
        attempt=record.attempt,
        at_ms=record.at,
        final=record.final,
        stream=record.stream,
        scenario=record.scenario,
        step=record.step,
        cause=record.cause,
        reply=reply,
    )
