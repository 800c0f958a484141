"""Whoever reads a feed for one tenant is sent what is theirs, and comes past everything else."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.worker import wire
from actors.worker.reading import FEED_LOOK, Reading
from engine.feed import FeedEntry

OURS = ("outcome", "shop")
PLACES = [("outcome", "shop"), ("outcome", "other"), ("call", "shop")]


class _Host:
    """The feed alone: two entries a position."""

    feed_position = 77

    def __init__(self, kinds: list[tuple[str, str]]) -> None:
        self.all = [
            FeedEntry(1 + at // 2, at % 2, channel, tenant, msgspec.Raw(b"%d" % at))
            for at, (channel, tenant) in enumerate(kinds)
        ]

    def feed_after(self, position: int, n: int, limit: int) -> list[FeedEntry]:
        return [one for one in self.all if (one.position, one.n) > (position, n)][:limit]


def reading(host: _Host) -> Reading:
    return Reading(0, cast("Any", host), cast("Any", None), cast("Any", None))


@given(st.lists(st.sampled_from(PLACES), max_size=40), st.integers(1, 5))
def test_page_by_page_one_channel_of_a_tenant_is_read_whole(
    kinds: list[tuple[str, str]], limit: int
) -> None:
    host = _Host(kinds)
    read, place, more = reading(host), (0, -1), True
    found: list[FeedEntry] = []
    while more:
        answer = read.feed(wire.FeedQuestion(*place, limit, wanted=OURS))
        assert len(answer.entries) <= limit
        assert answer.behind >= place
        found += answer.entries
        place, more = answer.behind, answer.more
        assert answer.position == 77
    assert found == [one for one in host.all if (one.channel, one.tenant) == OURS]
    assert place == ((host.all[-1].position, host.all[-1].n) if host.all else (0, -1))


def test_a_page_looks_at_so_many_entries_of_others_and_says_that_there_are_more() -> None:
    host = _Host([("outcome", "other")] * (FEED_LOOK + 10))
    first = reading(host).feed(wire.FeedQuestion(0, -1, 5, wanted=OURS))
    assert (first.entries, first.more) == ([], True)
    assert first.behind == (FEED_LOOK // 2, 1)
    second = reading(host).feed(wire.FeedQuestion(*first.behind, 5, wanted=OURS))
    assert (second.entries, second.more) == ([], False)


def test_without_a_wish_everything_comes() -> None:
    host = _Host(PLACES)
    assert reading(host).feed(wire.FeedQuestion(0, -1, 2)).entries == host.all[:2]
