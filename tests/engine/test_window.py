"""A window gives the same order as a sorted set of everything, whatever is shed, loaded, added or drained meanwhile."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store.memory import MemoryStore
from engine.store.protocol import Batch, Stand
from engine.window import HELD_MAX, LOAD, Window

PREFIX = b"\0\x01a"
FOREVER = 1 << 62


class Index:
    """An index on disk, its window, and the naive model: a set of live entries."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.window = Window(PREFIX, empty=True)
        self.live: set[tuple[int, bytes]] = set()
        self.durable: set[tuple[int, bytes]] = set()
        self.seq = 0

    def add(self, number: int, key: bytes) -> None:
        if (number, key) not in self.live:
            self.live.add((number, key))
            self.window.add(number, key)

    def leave(self, entry: tuple[int, bytes]) -> None:
        """An entity moves away: the window isn't told."""
        self.live.discard(entry)

    def pop(self, until: int) -> tuple[int, bytes] | None:
        """Take the first live entry, skipping stale ones as a partition does."""
        while True:
            entry = self.window.pop(self.store, until)
            if entry is None or entry in self.live:
                if entry is not None:
                    self.live.discard(entry)
                return entry

    def commit(self) -> None:
        self.seq += 1
        batch = Batch(1, Stand(1, self.seq))
        batch.deletes = [_row(entry) for entry in self.durable - self.live]
        batch.puts = [(_row(entry), b"") for entry in self.live - self.durable]
        assert self.store.commit([batch]) == []
        self.durable = set(self.live)
        self.window.settled()

    def restart(self) -> None:
        """What wasn't committed is gone; the mark is what the last commit would have written."""
        self.commit()
        self.window = Window(PREFIX, self.window.mark)


def _row(entry: tuple[int, bytes]) -> bytes:
    return PREFIX + entry[0].to_bytes(8) + entry[1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "pop", "pop_until", "leave", "commit", "restart")),
        st.integers(1, 900),
        st.integers(0, 3000),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 1 << 32))
def test_a_window_agrees_with_a_sorted_set(
    steps: list[tuple[str, int, int]], chance_seed: int
) -> None:
    """Adds beyond the edge, sheds, refills in the middle of a tick and stale entries lose and reorder nothing."""
    chance, index = Random(chance_seed), Index()
    for step, number, where in steps:
        if step == "add":
            for _ in range(number):
                index.add(where + chance.randrange(500), chance.randbytes(3))
        elif step == "pop":
            _expect(index, number, FOREVER)
        elif step == "pop_until":
            _expect(index, number, where)
        elif step == "leave":
            for entry in chance.sample(sorted(index.live), min(number // 4, len(index.live))):
                index.leave(entry)
        elif step == "commit":
            index.commit()
        else:
            index.restart()
        lowest = min(index.live, default=None)
        first = index.window.first()
        assert lowest is None or (first is not None and first <= lowest[0])
        assert lowest is None or index.window.mark <= lowest[0]
    _expect(index, len(index.live) + 1, FOREVER)


def _expect(index: Index, number: int, until: int) -> None:
    expected = sorted(entry for entry in index.live if entry[0] <= until)[:number]
    got = [index.pop(until) for _ in range(min(number, len(expected) + 1))]
    padded: list[tuple[int, bytes] | None] = [*expected]
    if number > len(expected):
        padded.append(None)
    assert got == padded


def test_more_than_a_window_holds_is_left_to_the_disk() -> None:
    """The heap is bounded; what was shed comes back in order, also before it is on disk."""
    index = Index()
    total = HELD_MAX * 3
    for number in range(total):
        index.add(number, b"k")
    assert [index.pop(FOREVER) for _ in range(10)] == [(n, b"k") for n in range(10)]
    index.commit()
    assert [index.pop(FOREVER) for _ in range(total - 10)] == [(n, b"k") for n in range(10, total)]
    assert index.pop(FOREVER) is None


def test_a_lower_number_lowers_the_mark() -> None:
    """The mark says that no row lies below it, so a scan after a restart may begin there."""
    index = Index()
    for number in range(100, 200):
        index.add(number, b"k")
    for _ in range(50):
        index.pop(FOREVER)
    assert index.window.mark == 149
    index.add(7, b"late")
    assert index.window.mark == 7
    index.restart()
    assert index.pop(FOREVER) == (7, b"late")


@pytest.mark.parametrize("rows", [LOAD - 1, LOAD, LOAD + 1, 2 * LOAD])
def test_a_refill_that_ends_at_its_own_bound_misses_nothing(rows: int) -> None:
    """Whether the rows on disk are a whole number of refills or not."""
    index = Index()
    for number in range(rows):
        index.add(5, number.to_bytes(4))
    index.restart()
    assert [index.pop(FOREVER) for _ in range(rows)] == [(5, n.to_bytes(4)) for n in range(rows)]
    assert index.pop(FOREVER) is None
    assert index.window.first() is None


def test_an_empty_index_has_no_first() -> None:
    """A window over nothing says so, once it has looked."""
    window = Window(PREFIX)
    assert window.first() == 0  # a lower bound: it hasn't looked yet
    assert window.pop(MemoryStore(), FOREVER) is None
    assert window.first() is None
