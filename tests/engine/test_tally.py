"""The conservation law in counters: it holds after every move, and survives its own encoding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.tally import ACCEPTED, BUCKETS, Tally, holds, merged

OWNERS = st.sampled_from(("t\0marketing", "t\0transactional", "u\0marketing"))
PLAN = st.lists(st.tuples(OWNERS, st.integers(0, 30), st.sampled_from((*BUCKETS, None))))


@given(PLAN)
def test_the_law_holds_after_every_move(plan: list[tuple[str, int, str | None]]) -> None:
    """Accepted is the sum of all buckets, dropped ones included, and buckets are what a recount finds."""
    tally = Tally()
    where: dict[tuple[str, int], str | None] = {}
    dropped = 0
    for owner, entity, bucket in plan:
        before = where.get((owner, entity))
        if before == bucket:
            continue
        tally.move(owner, before, bucket)
        dropped += bucket is None
        where[owner, entity] = bucket
        assert all(holds(counts) for counts in tally.counts.values())
    living: dict[str, dict[str, int]] = {}
    for (owner, _), bucket in where.items():
        if bucket is not None:
            counts = living.setdefault(owner, {})
            counts[bucket] = counts.get(bucket, 0) + 1
    told = merged((living, tally.dropped))
    assert {o: {k: n for k, n in c.items() if k != ACCEPTED} for o, c in tally.counts.items()} == (
        {owner: told.get(owner, {}) for owner in tally.counts}
    )
    assert sum(sum(c.values()) for c in tally.dropped.values()) == dropped


@given(PLAN, st.dictionaries(st.text(max_size=5), st.integers(1, 9)))
def test_counters_survive_their_encoding(
    plan: list[tuple[str, int, str | None]], facts: dict[str, int]
) -> None:
    """Equal counters give equal bytes, in whatever order they came about."""
    tally = Tally()
    for owner, _, bucket in plan:
        tally.move(owner, None, bucket or "queued")
    for fact, number in facts.items():
        tally.count(fact, number)
    read = Tally.decode(tally.encode())
    assert (read.counts, read.dropped, read.facts) == (tally.counts, tally.dropped, tally.facts)
    assert read.encode() == tally.encode()
    backwards = Tally()
    for fact, number in reversed(facts.items()):
        backwards.count(fact, number)
    for owner, _, bucket in reversed(plan):
        backwards.move(owner, None, bucket or "queued")
    assert backwards.encode() == tally.encode()


def test_a_partition_that_was_never_written_has_no_counters() -> None:
    """None reads as empty, and emptiness obeys the law."""
    tally = Tally.decode(None)
    assert tally.counts == {}
    assert not tally.changed
    assert holds({})


def test_a_moved_counter_without_its_entity_breaks_the_law() -> None:
    """The check can fail."""
    assert not holds({ACCEPTED: 2, "delivered": 1})
