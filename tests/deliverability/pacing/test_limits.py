"""Limits: all scopes or none, the tightest is named, and no sum ever passes its limit."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.limits import Demand, Dimension, LimitBook
from deliverability.shaping.quantities import Throttle

_SCOPES = ("source a", "provider p", "tenant t")
_STEPS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(_SCOPES), min_size=1),
        st.integers(0, 300),
        st.integers(0, 1),
        st.booleans(),
    ),
    max_size=80,
)


@given(_STEPS, st.integers(1, 9), st.integers(1, 4))
def test_no_order_of_calls_passes_any_limit(
    steps: list[tuple[set[str], int, int, bool]], quantity: int, connections: int
) -> None:
    book, now_ms = LimitBook(), 0
    for scope in _SCOPES:
        book.set_rate(scope, Dimension.MESSAGES, Throttle(quantity, 1_000))
        book.set_connections(scope, connections)
    open_lists: list[list[str]] = []
    taken: list[tuple[int, set[str]]] = []
    for scopes, step_ms, opens, closes in steps:
        now_ms += step_ms
        if closes and open_lists:
            book.close(open_lists.pop())
        if book.take(sorted(scopes), Demand(opens=opens), now_ms).wait_ms == 0:
            taken.append((now_ms, scopes))
            if opens:
                open_lists.append(sorted(scopes))
        for scope in _SCOPES:
            opened = sum(scope in each for each in open_lists)
            assert book.open_connections(scope) == opened <= connections
            assert sum(now_ms - 1_000 < at and scope in used for at, used in taken) <= quantity


def test_the_tightest_limit_is_named_and_nothing_is_taken_elsewhere() -> None:
    book = LimitBook()
    book.set_rate("tenant t", Dimension.MESSAGES, Throttle(1, 60_000))
    book.set_rate("source a", Dimension.BYTES, Throttle(1_000, 1_000), largest=600)
    scopes = ("tenant t", "source a")
    assert book.take(scopes, Demand(size_bytes=600), 0).wait_ms == 0
    verdict = book.take(scopes, Demand(size_bytes=300), 0)
    assert (verdict.scope, verdict.dimension) == ("tenant t", Dimension.MESSAGES)
    assert book.ask(("source a",), Demand(size_bytes=1), 1_000).wait_ms == 0


def test_setting_the_same_limit_again_keeps_what_was_used() -> None:
    book = LimitBook()
    for _ in range(2):
        book.set_rate("s", Dimension.RECIPIENTS, Throttle(1, 1_000))
        book.take(("s",), Demand(), 0)
    assert book.take(("s",), Demand(), 0).wait_ms == 1_000
    book.drop("s")
    assert book.take(("s",), Demand(), 0).wait_ms == 0
