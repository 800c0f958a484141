"""One address of the list: scopes, ranks, expiry, repeated failures, lifting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.suppression.entry import Entry, Hasher, check_scope, normalised
from deliverability.suppression.machine import (
    Change,
    Lift,
    SoftBounce,
    Suppress,
    SuppressedAddress,
    SuppressionMachine,
    address_key,
    digest_of_key,
)
from engine.catalog import Catalog, Head
from engine.errors import InputError
from engine.machine import At, Context, Emit, Transition, Wake

DAY = 86_400_000
DIGEST = bytes(range(16))
MACHINE = SuppressionMachine()
TENANT = "tenant/shop"


def entry(reason: str = "manual", scope: str = TENANT, created: int = 0, expires: int = 0) -> Entry:
    return Entry(scope, reason, "test", "", created, expires)


def decide(state: SuppressedAddress | None, body: Any, now: int = 1) -> Transition:
    context = Context(Catalog(Head(), {}, {}), now)
    context.key = address_key(DIGEST)
    return MACHINE.decide(state, body, context)


def after(*bodies: Any) -> SuppressedAddress | None:
    state = None
    for body in bodies:
        state = decide(state, body).state
    return state


def told(transition: Transition) -> list[Change]:
    return [one.body for one in transition.effects if isinstance(one, Emit)]


def test_a_key_gives_its_digest_back() -> None:
    """A key sorts as its digest and names it."""
    assert digest_of_key(address_key(DIGEST)) == DIGEST


def test_each_scope_has_one_entry_and_the_graver_reason() -> None:
    """A complaint outweighs a bounce of the same scope; another scope stands beside it."""
    state = after(
        Suppress(entry("hard-bounce")),
        Suppress(entry("complaint")),
        Suppress(entry("soft-bounces")),
        Suppress(entry("unsubscribe", "topic/shop/news")),
    )
    assert state is not None
    assert {(TENANT, "complaint"), ("topic/shop/news", "unsubscribe")} == {
        (one.scope, one.reason) for one in state.entries
    }


def test_what_changes_nothing_is_not_told() -> None:
    """A repeated suppression emits no change."""
    first = decide(None, Suppress(entry()))
    assert [Change(DIGEST, (entry(),))] == told(first)
    assert told(decide(first.state, Suppress(entry()))) == []


def test_an_entry_ends_when_its_time_is_over() -> None:
    """It wakes at its expiry, is told as gone, and leaves nothing."""
    made = decide(None, Suppress(entry(expires=DAY)), now=1)
    assert At(DAY) == made.place
    gone = decide(made.state, Wake(), now=DAY)
    assert (None, None, [Change(DIGEST, ())]) == (gone.state, gone.place, told(gone))


def test_failures_count_within_their_window_by_cause() -> None:
    """Three of one cause within thirty days suppress; of another cause, or too far apart, they don't."""

    def soft(day: int, cause: str = "mailbox-full") -> SoftBounce:
        return SoftBounce(entry("soft-bounces", created=day * DAY), cause, 3, 30 * DAY)

    apart = after(soft(1), soft(20), soft(45))
    assert apart is not None
    assert apart.entries == ()
    mixed = after(soft(1), soft(2, "timed-out"), soft(3))
    assert mixed is not None
    assert mixed.entries == ()
    near = after(soft(1), soft(2), soft(3))
    assert near is not None
    assert [one.reason for one in near.entries] == ["soft-bounces"]


def test_lifting_is_by_scope_and_reason() -> None:
    """A granted consent lifts an unsubscribe, not a complaint; lifting all leaves nothing."""
    state = after(Suppress(entry("complaint")), Suppress(entry("unsubscribe", "topic/shop/news")))
    assert state is not None
    one = decide(state, Lift("topic/shop/news", ("unsubscribe", "manual")))
    assert [left.scope for left in one.state.entries] == [TENANT]
    assert state == decide(state, Lift(TENANT, ("unsubscribe",))).state
    assert None is decide(state, Lift()).state


bodies = st.one_of(
    st.builds(
        Suppress,
        st.builds(
            Entry,
            st.sampled_from(("operator", TENANT, "topic/shop/a")),
            st.sampled_from(("manual", "complaint", "hard-bounce", "strange")),
            st.just("test"),
            st.just(""),
            st.integers(0, 100),
            st.integers(0, 100),
        ),
    ),
    st.builds(Lift, st.sampled_from(("", TENANT)), st.sampled_from(((), ("manual",)))),
    st.builds(
        SoftBounce, st.just(entry("soft-bounces")), st.just("x"), st.integers(1, 3), st.just(DAY)
    ),
    st.just(Wake()),
)


@given(st.lists(st.tuples(bodies, st.integers(0, 50)), max_size=12))
def test_what_is_told_is_what_holds(said: list[tuple[Any, int]]) -> None:
    """A listener who keeps the last change knows exactly the state, at every time."""
    state: SuppressedAddress | None = None
    heard: tuple[Entry, ...] = ()
    now = 0
    for body, passed in said:
        now += passed
        transition = decide(state, body, now)
        for change in told(transition):
            heard = change.entries
        state = transition.state
        assert (state.entries if state else ()) == heard
        assert len({one.scope for one in heard}) == len(heard)
        assert transition.place is None or transition.place.due > now  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "tenant", "tenant/", "stream/a", "topic/a/", "operator/x", "tenant/a/b", "x/y"]
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    """A scope that nothing falls under would suppress nobody, silently."""
    with pytest.raises(InputError, match="is no scope"):
        check_scope(text)


def test_addresses_are_hashed_in_one_form() -> None:
    """Case and the form of the domain don't matter; another key gives another hash."""
    hasher = Hasher(b"k" * 32)
    assert hasher.of(normalised("Ann@Example.ORG")) == hasher.of("ann@example.org")
    assert normalised("@bücher.example") == "@xn--bcher-kva.example"
    assert hasher.of("ann@example.org") != Hasher(b"l" * 32).of("ann@example.org")
    assert "key" not in repr(hasher)
