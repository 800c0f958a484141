"""The feed of a store: what machines emitted, in commit order, read by cursor.

An entry's place is the number of the commit that wrote it (`position`) and its number within that (`n`). Entries of one
commit lie together in pages: one row for up to `PAGE_MAX` of them, named by the first. A reader that goes on in the
middle of a page finds the page by looking back as far as one may reach.
"""

from __future__ import annotations

__all__ = ("PAGE_MAX", "Emitted", "Feed", "FeedEntry", "entries_of")

from collections.abc import Iterable

import msgspec

from engine.rows import FEED_INDEX
from engine.store.protocol import FEED, Batch, Stand, Store, partition_prefix

PAGE_MAX = 100
"""Entries in one row at most."""
PAGE_BYTES = 64 << 10
"""A page that is larger takes no more entries."""

Emitted = tuple[str, str, bytes]
"""Channel, tenant, body in msgpack."""

_START = partition_prefix(FEED) + FEED_INDEX
_END = partition_prefix(FEED) + bytes((FEED_INDEX[0] + 1,))
_ENTRY = b"\x95"  # an array of five: an entry
_ROWS_FIRST = 4


class FeedEntry(msgspec.Struct, frozen=True, array_like=True):
    """An entry of a store's feed: its place in commit order, and what was emitted."""

    position: int
    n: int
    channel: str
    tenant: str
    body: msgspec.Raw


class Feed:
    """The writer's side, and questions: how far a store's feed has come.

    Args:
        stand: how far, as the store says.
    """

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    def claimed(self) -> Batch:
        """Make the batch that claims the feed under the next epoch."""
        return Batch(FEED, Stand(self.stand.epoch + 1, self.stand.seq + 1))

    def again(self, stand: Stand) -> None:
        """After a failed commit: as the store says, but under the same epoch, so that no former owner writes."""
        self.stand = Stand(self.stand.epoch, stand.seq)

    def batch(self, emitted: Iterable[Emitted]) -> tuple[Batch, int] | None:
        """Make the batch of what a tick emitted; tells how many entries that are. None: nothing."""
        position = self.stand.seq + 1
        batch = Batch(FEED, Stand(self.stand.epoch, position))
        start = _START + position.to_bytes(8)
        # entries are framed by hand: a body is encoded already, and the head is the same for many
        head = _ENTRY + _encode(position)
        owners: dict[tuple[str, str], bytes] = {}
        page: list[bytes] = []
        first = n = size = 0
        for channel, tenant, body in emitted:
            owner = owners.get((channel, tenant))
            if owner is None:
                owner = owners[channel, tenant] = _encode(channel) + _encode(tenant)
            page += (head, _encode(n), owner, body)
            n += 1
            size += len(body)
            if n - first == PAGE_MAX or size > PAGE_BYTES:
                batch.puts.append((start + first.to_bytes(4), _page(n - first, page)))
                page, first, size = [], n, 0
        if n > first:
            batch.puts.append((start + first.to_bytes(4), _page(n - first, page)))
        return (batch, n) if n else None

    @staticmethod
    def after(store: Store, position: int, n: int, limit: int) -> list[FeedEntry]:
        """Read up to `limit` entries behind a place, in commit order."""
        place = (position, n)
        start = _START + position.to_bytes(8) + max(n + 2 - PAGE_MAX, 0).to_bytes(4)
        found: list[FeedEntry] = []
        wanted, read = _ROWS_FIRST, 0
        while len(found) < limit:
            rows = store.scan(start, _END, wanted)
            for _, value in rows:
                found += [one for one in entries_of(value) if (one.position, one.n) > place]
            if len(rows) < wanted:
                break
            read += len(rows)
            start = rows[-1][0] + b"\0"
            wanted = (limit - len(found)) * read // max(len(found), 1) + 1
            wanted = min(max(wanted, _ROWS_FIRST), limit)
        return found[:limit]


def entries_of(value: bytes) -> list[FeedEntry]:
    """Read the entries of a row: a page, or the one entry that a row of format 2 has.

    Raises: msgspec.MsgspecError
    """
    if value[:1] == _ENTRY:
        return [_ONE.decode(value)]
    return _PAGE.decode(value)


def _page(number: int, parts: list[bytes]) -> bytes:
    return b"".join((b"\xdd", number.to_bytes(4), *parts))  # an array, long form: never `_ENTRY`


_encode = msgspec.msgpack.Encoder().encode
_ONE = msgspec.msgpack.Decoder(FeedEntry)
_PAGE = msgspec.msgpack.Decoder(list[FeedEntry])
