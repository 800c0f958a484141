"""The feed: pages are how entries lie, never what a reader sees."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.feed import PAGE_BYTES, PAGE_MAX, Feed, FeedEntry, entries_of
from engine.rows import FEED_INDEX
from engine.store.memory import MemoryStore
from engine.store.protocol import FEED, Batch, Stand, partition_prefix

BODY = msgspec.msgpack.encode({"say": "hello"})
LARGE = msgspec.msgpack.encode(b"x" * PAGE_BYTES)

TICKS = st.lists(st.sampled_from((1, 2, PAGE_MAX - 1, PAGE_MAX, PAGE_MAX + 1, 250)), max_size=6)


def _filled(ticks: list[int], body: bytes = BODY) -> tuple[MemoryStore, list[tuple[int, int]]]:
    store = MemoryStore()
    feed = Feed(store.stand(FEED))
    places = []
    for number in ticks:
        made = feed.batch(("test", f"t{n % 3}", body) for n in range(number))
        assert made is not None
        batch, told = made
        assert told == number
        assert store.commit([batch]) == []
        feed.stand = batch.stand
        places += [(batch.stand.seq, n) for n in range(number)]
    return store, places


@given(TICKS, st.integers(1, 400), st.data())
def test_a_reader_goes_on_behind_any_place(
    ticks: list[int], limit: int, data: st.DataObject
) -> None:
    """Also in the middle of a page; and never gets more than it asked for."""
    store, places = _filled(ticks)
    at = data.draw(st.integers(-1, len(places) - 1))
    place = places[at] if at >= 0 else (0, -1)
    found = Feed.after(store, *place, limit)
    assert [(one.position, one.n) for one in found] == places[at + 1 : at + 1 + limit]
    assert all(one.tenant == f"t{one.n % 3}" and bytes(one.body) == BODY for one in found)


def test_behind_all_of_a_position() -> None:
    """Whoever asks with a number beyond any of a position gets what the next commits emitted."""
    store, places = _filled([250, 3])
    found = Feed.after(store, places[0][0], 2**31, 100)
    assert [(one.position, one.n) for one in found] == places[250:]


def test_large_bodies_have_rows_of_their_own() -> None:
    """A page doesn't grow far beyond its bound."""
    store, places = _filled([5], LARGE)
    rows = [row for row in store.dump() if row[2:3] == FEED_INDEX]
    assert len(rows) == len(places)
    assert [(one.position, one.n) for one in Feed.after(store, 0, -1, 9)] == places


def test_rows_of_the_former_format_are_read_among_pages() -> None:
    """There every entry had a row of its own."""
    store, places = _filled([3])
    position = store.stand(FEED).seq + 1
    batch = Batch(FEED, Stand(0, position))
    for n in range(2):
        row = partition_prefix(FEED) + FEED_INDEX + position.to_bytes(8) + n.to_bytes(4)
        one = FeedEntry(position, n, "test", "t0", msgspec.Raw(BODY))
        batch.puts.append((row, msgspec.msgpack.encode(one)))
        assert entries_of(batch.puts[-1][1]) == [one]
    store.commit([batch])
    expected = [*places, (position, 0), (position, 1)]
    assert [(one.position, one.n) for one in Feed.after(store, 0, -1, 9)] == expected
    assert [(one.position, one.n) for one in Feed.after(store, position, 0, 9)] == expected[-1:]


def test_nothing_emitted_is_nothing_written() -> None:
    """No batch, no number."""
    assert Feed(Stand(1, 7)).batch(()) is None
