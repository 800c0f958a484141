"""Weighted sources."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deliverability.routing.sources import Absence, Roster, SourceSpec, pools_of
from engine.settings_routes import Member, Pool, Source


def _spec(name: str) -> SourceSpec:
    return SourceSpec(name, "", "out.test")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
def test_work_is_shared_exactly_by_weight(weights: list[int]) -> None:
    """In each round of as many connections as the weights add up to."""
    roster = Roster([(_spec(f"s{n}"), weight) for n, weight in enumerate(weights)])
    for _ in range(3):
        chosen = Counter(roster.next({}, 0) for _ in range(sum(weights)))
        found = {source.name: number for source, number in chosen.items() if source}
        assert found == {f"s{n}": weight for n, weight in enumerate(weights) if weight}


def test_the_present_share_the_work_of_those_who_are_out() -> None:
    """Until their time is over; nobody left is nobody."""
    roster = Roster([(_spec("a"), 1), (_spec("b"), 1)])
    out = {"a": Absence("listed", 0, 1000)}
    assert {one.name for _ in range(4) if (one := roster.next(out, 999))} == {"b"}
    assert {one.name for _ in range(4) if (one := roster.next(out, 1000))} == {"a", "b"}
    assert roster.next({"a": Absence("x", 0), "b": Absence("y", 0)}, 5000) is None


def test_pools_of_a_configuration() -> None:
    """Named ones; without any, all sources; without sources, the machine's own choice."""
    sources = [Source(name="a", address="192.0.2.1", ehlo_name="a.test"), Source(name="b")]
    pool = Pool(name="news", members=(Member(source="a", weight=3), Member(source="b")))
    made = pools_of(sources, [pool], "out.test", {})
    assert [(one.name, one.ehlo_name, weight) for one, weight in made["news"]] == [
        ("a", "a.test", 3),
        ("b", "out.test", 1),
    ]
    assert [one.name for one, _ in made["default"]] == [""]
    assert [one.name for one, _ in pools_of(sources, [], "out.test", {})["default"]] == ["a", "b"]


def test_a_password_is_not_shown() -> None:
    """Not in logs, not in errors."""
    spec = SourceSpec("a", "", "out.test", "socks5", "192.0.2.9", 1080, "user", "hunter2")
    assert "hunter2" not in repr(spec)
