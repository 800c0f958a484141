"""Which connection takes the next mail: empty ones and new ones before deep windows, unless the server is quick."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from deliverability.transport.filling import QUICK_S, Filling, emptiest


class Berth(msgspec.Struct, eq=False):
    in_flight: int = 0


def test_nothing_is_spread_before_the_server_is_known_or_while_it_is_quick() -> None:
    filling = Filling()
    assert not filling.spreads
    filling.accepted(QUICK_S / 2)
    filling.accepted(QUICK_S * 50)
    assert not filling.spreads, "one that waited in our own loop says nothing"


def test_a_server_that_became_slow_is_found_out() -> None:
    filling = Filling()
    filling.accepted(QUICK_S / 2)
    for _ in range(1000):
        filling.accepted(QUICK_S * 5)
    assert filling.spreads


def test_mails_in_windows_of_a_slow_server_are_a_wish_for_connections() -> None:
    """Else a lease that follows what is wished for would never grow beyond the few whose windows are full."""
    filling = Filling()
    filling.in_flight = 40
    assert filling.wanted(3, 2) == 5, "a quick server has enough of three"
    filling.accepted(QUICK_S * 2)
    assert filling.wanted(3, 2) == 42


def test_the_emptiest_has_clearly_fewer() -> None:
    three, one, none = Berth(3), Berth(1), Berth(0)
    assert emptiest([three, one, none], 1) is none
    assert emptiest([three, one], 4) is one
    assert emptiest([three], 4) is None, "windows that are deep needn't be equal"
    assert emptiest([one], 1) is None


@given(st.integers(1, 12), st.integers(1, 60))
def test_windows_get_deep_alike(connections: int, mails: int) -> None:
    """Whoever asks: no connection has a second mail while one has none, and depths differ by a quarter at most."""
    berths = [Berth() for _ in range(connections)]
    for _ in range(mails):
        asking = berths[0]
        (emptiest(berths[1:], asking.in_flight) or asking).in_flight += 1
    depths = [one.in_flight for one in berths]
    assert min(depths) == 0 or max(depths) - min(depths) <= 1 + max(depths) // 4
    assert max(depths) <= 1 or min(depths) >= 1
