"""The host: one commit a tick, shares of a batch, credits, a former owner, determinism however inputs are grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RefusedError, StoreError
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import EntityKey, Keyspace
from engine.lanes import lane_of
from engine.machine import At, Credit, Place, Ready
from engine.quarantine import NOT_THERE
from engine.rows import FEED_INDEX, RECORD
from engine.store.memory import MemoryStore
from engine.store.protocol import FEED, STAND, Batch, Store, partition_prefix
from engine.store.rocksdb import RocksStore
from engine.tick import Answer, CreditOffer, HostSettings, Repair, TickInputs
from tests.engine.puppet import Do, NoCatalog, arrival, due, host_on, keys_in, tick, total

NOW = 1_700_000_000_000
KEYS = [one for partition in range(4) for one in keys_in(partition, Keyspace(4), 3)]
CREDIT = Credit(b"holder", 1, 99)
LANE = b"lane"


class Failing(MemoryStore):
    """Fails the next commits, before or after they were written."""

    def __init__(self) -> None:
        super().__init__()
        self.fail = ""

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        fail, self.fail = self.fail, ""
        if fail == "before":
            raise StoreError("before")
        stale = super().commit(batches)
        if fail == "after":
            raise StoreError("after")
        return stale


# ---- a failed commit, a former owner


@pytest.mark.parametrize("fail", ["before", "after"])
def test_after_a_failed_commit_nothing_was_released_and_the_truth_is_read_again(fail: str) -> None:
    """Whether it was written or not: the same inputs again have their effect once."""
    store = Failing()
    host = host_on(store)
    tick(host, NOW, arrival(KEYS[0], Do(add=1), 1))
    store.fail = fail
    with pytest.raises(StoreError):
        tick(host, NOW + 1, arrival(KEYS[0], Do(add=10, emit="x"), 2))
    host.recover()
    verdict = "duplicate" if fail == "after" else "accepted"
    assert tick(host, NOW + 1, arrival(KEYS[0], Do(add=10, emit="x"), 2)).verdicts == [verdict]
    assert total(host, KEYS[0]) == 11
    assert len(host.feed_after(0, -1, 10)) == 1


def test_a_former_owner_acknowledges_nothing_and_changes_nothing() -> None:
    """Its verdicts say `lost`, its Tells aren't confirmed, its feed isn't written, also after it read again."""
    store = MemoryStore()
    former = host_on(store)
    tick(former, NOW, arrival(KEYS[0], Do(add=1), 1))
    owner = host_on(store)
    before = store.dump()
    for n in (2, 3):
        released = tick(former, NOW, arrival(KEYS[0], Do(add=1, emit="x", place=At(NOW)), n))
        assert released.verdicts == ["lost"]
        assert released.lost == [0]
        assert not released.confirms
        assert released.fed == 0
        former.recover()
    assert store.dump() == before
    assert tick(owner, NOW, arrival(KEYS[0], Do(add=5), 2)).verdicts == ["accepted"]
    assert total(owner, KEYS[0]) == 6


def test_two_that_claim_at_once_cant_both_have_it() -> None:
    """The second to write is refused."""

    class Overtaken(MemoryStore):
        rival: Host | None = None
        calls = 0

        def commit(self, batches: Sequence[Batch]) -> list[int]:
            self.calls += 1
            if self.calls == 1:
                self.rival = host_on(self)
            return super().commit(batches)

    with pytest.raises(RefusedError, match="claimed by somebody else"):
        host_on(Overtaken())


# ---- shares of a batch


def test_intake_and_timers_share_a_batch_neither_below_a_quarter() -> None:
    """Beyond the bound, arrivals stay in the list, in order; outcomes are never refused."""
    host = host_on(settings=HostSettings(batch_max=8))
    for n in range(3):
        tick(
            host, NOW, *[arrival(k, due(NOW + 10, add=1), 100 * n + m) for m, k in enumerate(KEYS)]
        )
    inputs = TickInputs(
        answers=[Answer(KEYS[0], Do(add=1)) for _ in range(50)],
        arrivals=[arrival(KEYS[n % 12], Do(add=1), 1000 + n) for n in range(20)],
    )
    released = host.tick(NOW + 10, inputs)
    assert released.answered == 50
    assert len(released.verdicts) == 2
    assert released.woken >= 2
    assert [int.from_bytes(one.input_id) for one in inputs.arrivals] == list(range(1002, 1020))
    while inputs.arrivals:
        host.tick(NOW + 10, inputs)
    assert sum(total(host, one) for one in KEYS) >= 50 + 20 + 12


def test_under_lasting_overload_every_partition_has_its_share_of_the_timers() -> None:
    """What is due longest goes first, wherever it is: no partition starves, whatever its number."""
    host = host_on(settings=HostSettings(batch_max=4))
    late = keys_in(3, Keyspace(4), 1)[0]
    busy = keys_in(0, Keyspace(4), 40)
    tick(host, NOW, arrival(late, due(NOW + 10, add=1), 1))
    for n, one in enumerate(busy):
        tick(host, NOW, arrival(one, due(NOW + 5 + n % 2, add=1), 100 + n))
    for now in range(NOW + 10, NOW + 13):
        released = tick(host, now, arrival(busy[0], due(now, add=1), now))
        assert released.woken <= 4
    assert host.entry(late)[0].decided == 2
    while host.tick(NOW + 99, TickInputs()).woken:
        pass
    assert host.next_due() is None


# ---- credits


def _ready(n: int, order: int, lane: bytes = LANE, tenant: bytes = b"t") -> Arrival:
    return arrival(KEYS[n], Do(place=Ready(lane + b"\0" + tenant, order), bucket="queued"), 50 + n)


def test_credits_go_to_the_oldest_over_all_partitions() -> None:
    """Whatever partition or tenant they are of; what nobody could use comes back in the same tick."""
    host = host_on()
    tick(
        host, NOW, _ready(0, 30), _ready(4, 10), _ready(8, 20, tenant=b"u"), _ready(5, 1, b"other")
    )
    assert host.ready_lanes() == {LANE: 10, b"other": 1}
    released = tick(host, NOW, credits=[CreditOffer(LANE, 2, CREDIT)])
    assert [release.body for _, release in released.releases] == [KEYS[4], KEYS[8]]
    released = tick(
        host, NOW, credits=[CreditOffer(LANE, 7, CREDIT), CreditOffer(b"none", 3, CREDIT)]
    )
    assert [release.body for _, release in released.releases] == [KEYS[0]]
    assert [(left.lane, left.number) for left in released.credits_left] == [(LANE, 6), (b"none", 3)]
    assert host.ready_lanes() == {b"other": 1}
    assert {held for _, _, held in host.held()} == {KEYS[0], KEYS[4], KEYS[8]}


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 99)), max_size=12), st.integers(0, 15))
@settings(deadline=None)
def test_hand_overs_never_exceed_the_credits(places: list[tuple[int, int]], number: int) -> None:
    """And all credits are used while anybody is ready."""
    host = host_on()
    chosen = dict(places)
    tick(host, NOW, *[_ready(n, order) for n, order in chosen.items()])
    released = tick(host, NOW, credits=[CreditOffer(LANE, number, CREDIT)])
    handed = len(released.releases)
    assert handed == min(number, len(chosen))
    assert handed + sum(left.number for left in released.credits_left) == number
    expected = sorted(chosen.items(), key=lambda one: one[1])[:handed]
    assert sorted(chosen[KEYS.index(r.body)] for _, r in released.releases) == sorted(
        order for _, order in expected
    )


def test_grants_of_a_tick_are_bounded() -> None:
    """So that one tick doesn't take long; the rest comes with the next."""
    host = host_on(settings=HostSettings(grants_max=2))
    tick(host, NOW, *[_ready(n, n) for n in range(5)])
    released = tick(host, NOW, credits=[CreditOffer(LANE, 5, CREDIT)])
    assert len(released.releases) == 2
    assert released.credits_left[0].number == 3


def test_a_lane_is_what_stands_before_the_first_nul() -> None:
    """The rest of a queue's name is the tenant."""
    assert lane_of(b"2pool/site\0tenant") == b"2pool/site"


# ---- the feed


def test_the_feed_is_in_commit_order_and_read_by_cursor() -> None:
    """No entry that is committed later can lie before one that was read."""
    host = host_on()
    for n in range(4):
        tick(
            host,
            NOW,
            arrival(KEYS[n], Do(emit=f"a{n}"), n),
            arrival(KEYS[11 - n], Do(emit="b"), 90 + n),
        )
    everything = host.feed_after(0, -1, 100)
    places = [(entry.position, entry.n) for entry in everything]
    assert places == sorted(set(places))
    assert len(places) == 8
    assert [host.feed_after(*place, 1) for place in places[:-1]] == [
        [one] for one in everything[1:]
    ]
    assert host.feed_after(*places[-1], 5) == []


def test_two_lives_of_a_worker_lose_nothing_of_their_feed() -> None:
    """One begins on another node while the former still has partitions: what either makes durable is told, once."""
    store = MemoryStore()
    former = host_on(store, numbers=range(3))
    keyspace = former.keyspace
    first, second, third = (keys_in(number, keyspace, 1)[0] for number in (1, 2, 3))
    tick(former, NOW, arrival(first, Do(emit="a"), 1))
    newer = host_on(store, numbers=())
    assert newer.take([3]) == [3]
    assert tick(former, NOW, arrival(first, Do(emit="b"), 2)).fed == 1
    assert tick(newer, NOW, arrival(third, Do(emit="c"), 3)).fed == 1
    assert newer.take([1]) == [1]
    two = (arrival(first, Do(emit="lost"), 4), arrival(second, Do(emit="d"), 5))
    released = tick(former, NOW, *two)
    assert (released.verdicts, released.fed) == (["lost", "accepted"], 1)
    assert newer.take([2]) == [2]
    assert tick(former, NOW, arrival(second, Do(emit="lost too"), 6)).fed == 0
    assert tick(newer, NOW, arrival(first, Do(emit="e"), 7)).fed == 1
    told = [msgspec.msgpack.decode(bytes(one.body))["say"] for one in newer.feed_after(0, -1, 100)]
    assert told == ["a", "b", "c", "d", "e"]
    assert former.feed_after(0, -1, 100) == newer.feed_after(0, -1, 100)


def test_a_newer_catalog_is_used_and_an_older_one_refused() -> None:
    """Its version never goes back."""
    host = host_on()
    newer = NoCatalog()
    newer.version = 3
    host.publish(newer)
    with pytest.raises(AssertionError):
        host.publish(NoCatalog())


# ---- determinism

PLACES: st.SearchStrategy[Place | None] = st.one_of(
    st.none(),
    st.integers(11, 60).map(lambda later: At(later * 1000)),  # from when it is given
    st.builds(Ready, st.sampled_from((b"lane\0t", b"lane\0u")), st.integers(0, 9)),
)
DEEDS = st.recursive(
    st.builds(
        Do,
        add=st.integers(0, 9),
        place=PLACES,
        emit=st.sampled_from(("", "e")),
        bucket=st.sampled_from(("", "queued", "delivered")),
        fail=st.integers(0, 9).map(lambda n: n == 0),
    ),
    lambda inner: st.builds(
        Do,
        add=st.integers(0, 9),
        place=PLACES,
        tells=st.lists(st.tuples(st.sampled_from([bytes(k) for k in KEYS]), inner), max_size=2).map(
            tuple
        ),
    ),
    max_leaves=4,
)
MOMENTS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(KEYS), DEEDS), max_size=3),  # answers
        st.lists(st.tuples(st.sampled_from(KEYS), DEEDS), max_size=6),  # arrivals
        st.integers(0, 3),  # credits
    ),
    min_size=1,
    max_size=8,
)
Moments = list[tuple[list[tuple[EntityKey, Do]], list[tuple[EntityKey, Do]], int]]


def _from(do: Do, now: int) -> Do:
    """Let waits begin now: an input that sets a time in the past is a timer of its own moment."""
    place = At(now + do.place.due) if isinstance(do.place, At) else do.place
    tells = tuple((to, _from(told, now)) for to, told in do.tells)
    return msgspec.structs.replace(do, place=place, tells=tells)


def _grouped(moments: Moments, store: Store, cuts: list[int], restart_at: int) -> Host:
    """Give the inputs in order: at each moment answers, Tells, timers, arrivals, credits; cut into ticks anyhow."""
    host = host_on(store)
    number = 0
    waiting = host.outboxes()
    for moment, (answers, arrivals, granted) in enumerate(moments):
        now = NOW + moment * 10_000
        if moment == restart_at:
            host = host_on(store)
            assert host.outboxes() == waiting
        inputs = [arrival(to, _from(do, now), number + n) for n, (to, do) in enumerate(arrivals)]
        number += len(arrivals)
        cut = cuts[moment % len(cuts)]
        held = [Answer(to, _from(do, now)) for to, do in answers]
        confirms = [(tell.source, tell.target, tell.seq) for tell in waiting]
        told = []
        first = TickInputs(answers=held, delivers=waiting, arrivals=inputs[:cut])
        told += host.tick(now, first).tells
        for one in inputs[cut:]:
            told += host.tick(now, TickInputs(arrivals=[one])).tells
        offers = [CreditOffer(LANE, granted, CREDIT)] if granted else []
        told += host.tick(now, TickInputs(credits=offers, confirms=confirms)).tells
        waiting = host.outboxes()
        assert waiting == sorted(told, key=lambda tell: (tell.source, tell.target, tell.seq))
    return host


def _contents(store: Store) -> dict[bytes, bytes]:
    """All that must be equal: everything but how ticks were counted (records and feed are numbered by tick)."""
    rows = dict(store.scan(b"", b"\xff" * 4, 1_000_000))
    apart = (STAND, RECORD, b"M", FEED_INDEX)
    feed = partition_prefix(FEED)
    return {k: v for k, v in rows.items() if k[2:3] not in apart and not k.startswith(feed)}


def _said(host: Host) -> list[bytes]:
    return sorted(bytes(entry.body) for entry in host.feed_after(0, -1, 10_000))


@settings(max_examples=60, deadline=None)
@given(MOMENTS, st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 8))
def test_grouping_and_a_restart_change_nothing(
    moments: Moments, cuts: list[int], restart_at: int
) -> None:
    """The same inputs with the same `now` in the same order: byte-identical entities, agenda, counters and outbox."""
    whole, cut = MemoryStore(), MemoryStore()
    one = _grouped(moments, whole, [100], -1)
    other = _grouped(moments, cut, cuts, restart_at)
    a, b = _contents(whole), _contents(cut)
    assert {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)} == {}
    assert _said(one) == _said(other)


@pytest.fixture
def rocks(tmp_path: Path) -> Callable[[str], RocksStore]:
    def make(name: str) -> RocksStore:
        return RocksStore(tmp_path / name, cache_mb=1)

    return make


def test_rocksdb_and_memory_decide_the_same(rocks: Callable[[str], RocksStore]) -> None:
    """A fixed mixture of everything, cut differently, with a close and reopen in the middle."""
    moments: Moments = []
    for n in range(12):
        to = KEYS[n % len(KEYS)]
        do = Do(
            add=n,
            place=At(11_000 + n * 900) if n % 3 else Ready(b"lane\0t", n),
            tells=((KEYS[(n * 5) % 12], Do(add=1)), (KEYS[(n * 7) % 12], Do(add=2, fail=n == 7))),
            bucket="queued",
        )
        moments.append(([(to, Do(add=1, place=At(11_000 + n)))], [(to, do), (KEYS[n], do)], n % 3))
    memory, disk = MemoryStore(), rocks("a")
    _grouped(moments, memory, [100], -1)
    _grouped(moments[:6], disk, [1, 0], 3)
    again = MemoryStore()
    _grouped(moments[:6], again, [2], -1)
    disk.reopen()
    assert _contents(disk) == _contents(again)
    disk.close()
    other = rocks("b")
    _grouped(moments, other, [1, 2], 5)
    assert _contents(other) == _contents(memory)
    other.close()


# ---- partitions that move


def test_a_partition_moves_between_hosts_with_all_that_is_its_own() -> None:
    """State, timers and ready queues go along; inputs at the old place are `lost`, and nothing of them is there."""
    store = MemoryStore()
    one, other = host_on(store, numbers=range(4)), host_on(MemoryStore(), numbers=())
    other.store = store
    keyspace = one.keyspace
    moved, stays = keys_in(1, keyspace, 2), keys_in(2, keyspace, 1)
    tick(one, NOW, arrival(moved[0], Do(add=1, place=At(NOW + 50)), 1))
    tick(one, NOW, _ready_in(moved[1], 2), arrival(stays[0], Do(add=7), 3))
    one.give([1])
    assert one.oldest_ready() == {}
    assert other.take([1]) == [1]
    assert set(other.ready_lanes()) == {LANE}
    assert other.oldest_ready() == {}, "nothing of it was read yet: its age isn't that of the clock"
    released = tick(one, NOW, arrival(moved[0], Do(add=100), 4), arrival(stays[0], Do(add=1), 5))
    assert released.verdicts == ["lost", "accepted"]
    assert tick(other, NOW, arrival(moved[0], Do(add=2), 6)).verdicts == ["accepted"]
    assert (total(other, moved[0]), total(one, stays[0])) == (3, 8)
    assert set(other.ready_lanes()) == {LANE}
    assert LANE not in one.ready_lanes()
    assert one.take([1]) == [1]
    assert tick(other, NOW, arrival(moved[0], Do(add=50), 7)).lost == [1]
    assert total(one, moved[0]) == 3


def test_what_waits_for_a_partition_that_went_is_left_to_its_owner() -> None:
    """An answer, a repair and a Tell that were asked for before it went: none of them ends the worker."""
    store = MemoryStore()
    host = host_on(store, numbers=range(4))
    (gone,), (stays,) = keys_in(1, host.keyspace, 1), keys_in(2, host.keyspace, 1)
    told = tick(host, NOW, arrival(stays, Do(tells=((gone, Do(add=1)),)), 1)).tells
    host.give([1])
    waiting = TickInputs(
        answers=[Answer(gone, Do(add=1)), Answer(stays, Do(add=5))],
        repairs=[Repair(1, 1, "replay"), Repair(2, 1, "replay")],
        delivers=list(told),
    )
    released = host.tick(NOW, waiting)
    assert released.answered == 1
    assert released.repaired == [None, NOT_THERE]
    assert released.elsewhere == told, "it is in our outbox, and nobody else would bring it"
    assert not released.confirms
    assert total(host, stays) == 5
    assert host.take([1]) == [1]
    assert host.tick(NOW, TickInputs(delivers=released.elsewhere)).confirms == [(2, 1, 1)]
    assert total(host, gone) == 1


def _ready_in(to: EntityKey, n: int) -> Arrival:
    return arrival(to, Do(place=Ready(LANE + b"\0t", 5)), n)


def test_a_frozen_partition_hands_nothing_over_until_it_is_thawed() -> None:
    """Intake goes on; a change of mind costs nothing."""
    host = host_on()
    (key_,) = keys_in(1, host.keyspace, 1)
    tick(host, NOW, _ready_in(key_, 1))
    host.freeze({1})
    assert host.ready_lanes() == {}
    assert tick(host, NOW, arrival(key_, Do(add=1), 2)).verdicts == ["accepted"]
    assert host.oldest_ready() == {}
    host.freeze(set())
    assert host.ready_lanes() == host.oldest_ready() == {LANE: 5}
