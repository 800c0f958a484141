"""A partition: units whole or undone, quarantine, ids seen once, Tells in order, retention."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.entities import EntityCache, Machines
from engine.errors import DamageError
from engine.inputs import PartitionSettings, TellOut
from engine.keyspace import EntityKey, Keyspace
from engine.machine import At, Context, Credit, Held, Place, Ready, Retired, Stuck
from engine.rows import ENTITY, RECORD, SEEN
from engine.store.memory import MemoryStore
from engine.store.protocol import partition_prefix
from engine.tick import Answer, CreditOffer, HostSettings, TickInputs
from tests.engine.puppet import (
    HORIZON,
    PUPPET,
    Do,
    NoCatalog,
    Puppet,
    arrival,
    due,
    host_on,
    keys_in,
    tick,
    total,
)

NOW = 10 * HORIZON
A, B, C = keys_in(0, Keyspace(4), 3)
CREDIT = Credit(b"holder", 1, 99)
UNWRITABLE: tuple[Place, ...] = (
    At(-1),
    At(1 << 64),
    Ready(b"q" * 256, 1),
    Ready(b"q", -5),
    Held(b"h" * 256),
    Retired(-1),
)


def _rows(store: MemoryStore, index: bytes) -> list[bytes]:
    return [row for row in store.dump() if row[2:3] == index]


# ---- units


def test_a_unit_decides_all_its_tells_before_the_next_input() -> None:
    """A tells B, B tells A: both are decided once, and the next input sees it."""
    host = host_on()
    there_and_back = Do(add=1, tells=((B, Do(add=10, tells=((A, Do(add=100)),))),))
    released = tick(host, NOW, arrival(A, there_and_back, 1), arrival(B, Do(add=1000), 2))
    assert released.verdicts == ["accepted", "accepted"]
    assert (total(host, A), total(host, B)) == (101, 1010)
    assert not released.tells


@pytest.mark.parametrize("fails_at", range(3))
def test_a_unit_that_raises_is_undone_as_a_whole(fails_at: int) -> None:
    """Whoever of the unit raises: no state, place, counter, emission or release of it stays."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, Do(add=1, bucket="queued"), 1), arrival(B, Do(add=2), 2))
    before = store.dump()
    fails = [Do(add=50, emit="no", bucket="delivered", fail=n == fails_at) for n in range(3)]
    bad = msgspec.structs.replace(
        fails[0], tells=((B, msgspec.structs.replace(fails[1], tells=((C, fails[2]),))),)
    )
    released = tick(host, NOW + 1, arrival(A, bad, 3))
    assert released.verdicts == ["quarantined"]
    assert (total(host, A), total(host, B), total(host, C)) == (1, 2, 0)
    assert released.fed == 0
    assert not released.releases
    after = store.dump()
    changed = {
        row[2:3] for row in before.keys() | after.keys() if before.get(row) != after.get(row)
    }
    assert changed <= {b"\0", b"M", b"C", b"Q", b"e"}
    states = [
        [host.machines.read(row[3:], at[row]) for row in at if row[2:3] == ENTITY]
        for at in (before, after)
    ]
    assert states[0] == states[1], "an entity's record has its seen ids alone for news"
    assert host.counts()["t\0stream"] == {"accepted": 1, "queued": 1}
    assert host.facts()["quarantined_inputs"] == 1


@pytest.mark.parametrize("place", UNWRITABLE)
def test_a_place_that_cant_be_written_is_undone_too(place: Place) -> None:
    """A queue's name of 256 bytes or a time before the epoch is the input's fault, not the worker's end."""
    host = host_on()
    assert tick(host, NOW, arrival(A, Do(add=1, place=place), 1)).verdicts == ["quarantined"]
    assert total(host, A) == 0
    assert tick(host, NOW, arrival(A, Do(add=1), 2)).verdicts == ["accepted"]


def test_tells_without_end_are_bounded() -> None:
    """A loop of Tells ends in quarantine."""
    host = host_on()
    wide = Do(add=1, tells=tuple((B, Do(add=1)) for _ in range(300)))
    assert tick(host, NOW, arrival(A, wide, 1)).verdicts == ["quarantined"]
    assert (total(host, A), total(host, B)) == (0, 0)


def test_an_input_for_an_unknown_kind_is_kept_in_quarantine() -> None:
    """The worker goes on."""
    host = host_on()
    alien = EntityKey(A[:4] + b"?" + A[5:])
    released = tick(host, NOW, arrival(alien, Do(), 1), arrival(B, Do(add=1), 2))
    assert released.verdicts == ["quarantined", "accepted"]


def test_quarantine_tells_what_and_why() -> None:
    """Its rows have the input, whose it was and what was raised."""
    host = host_on()
    tick(host, NOW, arrival(A, Do(fail=True), 7))
    (number, held), *more = host.partitions[0].quarantine.listed()
    assert (number, more) == (1, [])
    assert (held.at, held.source, held.key) == (NOW, "arrive", A)
    assert held.input_id == (7).to_bytes(8)
    assert held.reason == "ValueError: told to fail"


# ---- turns


def test_a_wake_that_raises_isnt_due_again() -> None:
    """It is stuck and counted as quarantined, so nothing spins; a later input frees it."""
    host = host_on()
    tick(host, NOW, arrival(A, due(NOW + 5, bucket="queued", then=Do(fail=True)), 1))
    assert tick(host, NOW + 5).woken == 1
    assert host.entry(A)[1] == Stuck()
    assert host.next_due() is None
    assert host.counts()["t\0stream"] == {"accepted": 1, "quarantined": 1}
    tick(host, NOW + 6, arrival(A, Do(add=1, bucket="delivered"), 2))
    assert host.counts()["t\0stream"] == {"accepted": 1, "delivered": 1}


def test_a_wake_that_leaves_the_entity_due_is_a_fault_of_its_machine() -> None:
    """Else it would be awake for ever, or asleep until the next restart."""
    host = host_on()
    tick(host, NOW, arrival(A, due(NOW + 5, add=1, then=due(NOW + 5, add=1)), 1))
    tick(host, NOW + 5)
    assert host.entry(A)[1] == Stuck()
    assert tick(host, NOW + 6).woken == 0


def test_a_grant_that_raises_gives_the_credit_to_the_next() -> None:
    """The first is stuck; the second gets what it left."""
    host = host_on()
    queue = b"lane\0t"
    bad = Do(place=Ready(queue, 1), bucket="queued", then=Do(fail=True))
    good = Do(place=Ready(queue, 2), bucket="queued")
    tick(host, NOW, arrival(A, bad, 1), arrival(B, good, 2))
    released = tick(host, NOW, credits=[CreditOffer(b"lane", 1, CREDIT)])
    assert [release.body for _, release in released.releases] == [B]
    assert host.entry(A)[1] == Stuck()
    assert host.entry(B)[1] == Held(b"holder")
    assert not released.credits_left


def test_an_answer_that_raises_doesnt_leave_the_entity_in_hand() -> None:
    """Else the next restart would find it held, ask, hear of nothing, and hand it over again."""
    host = host_on()
    tick(host, NOW, arrival(A, Do(place=Ready(b"lane\0t", 1), bucket="queued"), 1))
    tick(host, NOW, credits=[CreditOffer(b"lane", 1, CREDIT)])
    assert [held for _, _, held in host.held()] == [A]
    tick(host, NOW, answers=[Answer(A, Do(fail=True))])
    assert host.held() == []
    assert host.counts()["t\0stream"] == {"accepted": 1, "quarantined": 1}


def test_a_stale_entry_in_a_window_wakes_nobody() -> None:
    """An entity that moved before its time came isn't woken at the old one."""
    host = host_on()
    tick(host, NOW, arrival(A, due(NOW + 5, add=1), 1))
    tick(host, NOW + 1, arrival(A, due(NOW + 50, add=1), 2))
    tick(host, NOW + 5)
    assert total(host, A) == 2
    assert host.entry(A)[0].decided == 2
    tick(host, NOW + 50)
    assert host.entry(A)[0].decided == 3


# ---- what was seen


def test_an_input_is_decided_once() -> None:
    """Twice in a tick, in two ticks, after a restart: the same id has no second effect."""
    store = MemoryStore()
    host = host_on(store)
    twice = arrival(A, Do(add=1), 1)
    assert tick(host, NOW, twice, twice).verdicts == ["accepted", "duplicate"]
    assert tick(host, NOW, twice).verdicts == ["duplicate"]
    host = host_on(store)
    assert tick(host, NOW, twice).verdicts == ["duplicate"]
    assert tick(host, NOW, arrival(B, Do(add=1), 1)).verdicts == ["accepted"]
    assert total(host, A) == 1


@settings(deadline=None)
@given(st.integers(0, 3 * HORIZON), st.integers(0, HORIZON))
def test_a_repetition_within_the_horizon_is_recognised(start: int, later: int) -> None:
    """Also over the border of a bucket of seen ids, and after its predecessor was dropped."""
    host = host_on()
    first = NOW + start
    assert tick(host, first, arrival(A, Do(add=1), 1)).verdicts == ["accepted"]
    again = arrival(A, Do(add=1), 1)
    assert tick(host, first + later, again, arrival(B, Do(), 2)).verdicts[0] == "duplicate"
    assert total(host, A) == 1


@given(st.integers(0, 3 * HORIZON), st.integers(0, 5 * HORIZON))
@settings(deadline=None)
def test_an_input_with_a_time_of_its_own_is_never_decided_twice(start: int, later: int) -> None:
    """While its id is remembered it is a duplicate; after that it is too old."""
    host = host_on()
    first = NOW + start
    assert tick(host, first, arrival(A, Do(add=1), 1, at=first)).verdicts == ["accepted"]
    for moment in sorted((later // 2, later)):
        again = tick(host, first + moment, arrival(A, Do(add=1), 1, at=first))
        assert again.verdicts[0] in ("duplicate", "too_old")
        tick(host, first + moment, arrival(B, Do(), moment + 10))
    assert total(host, A) == 1


def test_what_is_too_old_is_refused_unless_it_is_historical() -> None:
    """By its own time, not by that of its arrival."""
    host = host_on()
    old = NOW - HORIZON - 1
    released = tick(
        host,
        NOW,
        arrival(A, Do(add=1), 1, at=old),
        arrival(A, Do(add=10), 2, at=old, historical=True),
        arrival(A, Do(add=100), 3, at=NOW - HORIZON),
    )
    assert released.verdicts == ["too_old", "accepted", "accepted"]
    assert total(host, A) == 110


def test_time_never_goes_back() -> None:
    """A clock that is set back stands still for decisions, also after a restart."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, Do(), 1))
    tick(host, NOW - 5000, arrival(A, Do(), 2))
    assert host.entry(A)[0].last == NOW
    host = host_on(store)
    tick(host, NOW - 9000, arrival(A, Do(), 3))
    assert host.entry(A)[0].last == NOW


# ---- Tells between partitions

ELSEWHERE = keys_in(1, Keyspace(4), 1)[0]


def test_tells_to_another_partition_are_numbered_and_repeated() -> None:
    """In order, once each, whatever arrives twice or too early; confirmed they leave the outbox."""
    host = host_on()
    tells = tuple((ELSEWHERE, Do(add=10**n)) for n in range(3))
    told = tick(host, NOW, arrival(A, Do(tells=tells), 1)).tells
    assert [tell.seq for tell in told] == [1, 2, 3]
    assert host.outboxes() == told
    late = tick(host, NOW, delivers=[told[2], told[1]])
    assert late.confirms == []
    assert total(host, ELSEWHERE) == 0
    released = tick(host, NOW, delivers=[told[0], told[0], told[1], told[0], told[2]])
    assert released.confirms == [(0, 1, 1), (0, 1, 1), (0, 1, 2), (0, 1, 1), (0, 1, 3)]
    assert total(host, ELSEWHERE) == 111
    assert host.partitions[0].has_outbox
    tick(host, NOW, confirms=[(0, 1, 2)])
    assert host.outboxes() == told[2:]
    tick(host, NOW, confirms=[(0, 1, 3), (0, 1, 1)])
    assert host.outboxes() == []
    assert not host.partitions[0].has_outbox


def test_a_tell_that_cant_be_read_or_decided_goes_into_quarantine_and_counts_as_applied() -> None:
    """told = applied + in the outbox, those in quarantine among the applied; its successors follow."""
    host = host_on()
    broken = TellOut(0, 1, 1, ELSEWHERE, b"\xc1 no msgpack")
    fails = TellOut(0, 1, 2, ELSEWHERE, msgspec.msgpack.encode(Do(fail=True)))
    good = TellOut(0, 1, 3, ELSEWHERE, msgspec.msgpack.encode(Do(add=1)))
    released = tick(host, NOW, delivers=[broken, fails, good])
    assert [seq for _, _, seq in released.confirms] == [1, 2, 3]
    assert host.partitions[1].meta.applied == {0: 3}
    assert len(host.partitions[1].quarantine.listed()) == 2
    assert total(host, ELSEWHERE) == 1


def test_an_outbox_of_thousands_is_listed_whole() -> None:
    """A target takes none whose predecessor is missing, so a bounded list would never be confirmed."""
    store = MemoryStore()
    host = host_on(store)
    for n in range(15):
        tick(host, NOW, arrival(A, Do(tells=((ELSEWHERE, Do(add=1)),) * 150), n))
    host = host_on(store)
    waiting = host.outboxes()
    assert [tell.seq for tell in waiting] == list(range(1, 15 * 150 + 1))
    tick(host, NOW, delivers=waiting)
    assert total(host, ELSEWHERE) == 15 * 150


# ---- retention


def test_retired_entities_are_dropped_without_another_input() -> None:
    """Some time after their time; the counters remember in which bucket they were."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, Do(place=Retired(NOW + 10), bucket="delivered"), 1))
    tick(host, NOW + 9, arrival(B, Do(), 2))
    assert host.entry(A)[0] is not None
    tick(host, NOW + 10, arrival(B, Do(), 3))
    assert host.entry(A) == (None, None)
    assert _rows(store, ENTITY) == [partition_prefix(0) + ENTITY + B]
    assert host.counts()["t\0stream"] == {"accepted": 1, "delivered": 1}
    assert host.partitions[0].tally.dropped == {"t\0stream": {"delivered": 1}}


def test_a_retired_entity_that_was_used_again_stays() -> None:
    """Only who still stands there is dropped."""
    host = host_on()
    tick(host, NOW, arrival(A, Do(place=Retired(NOW + 10)), 1))
    tick(host, NOW + 5, arrival(A, Do(add=1, place=Retired(NOW + 100)), 2))
    tick(host, NOW + 20, arrival(B, Do(), 3))
    assert total(host, A) == 1


def test_seen_ids_and_records_are_dropped_in_whole_buckets() -> None:
    """Two buckets of seen ids at most; records until their time to live ends."""
    store = MemoryStore()
    kept = PartitionSettings(
        horizon_ms=HORIZON, record_bucket_ms=HORIZON, records_kept_ms=3 * HORIZON
    )
    host = host_on(store, settings=HostSettings(partition=kept))
    for n in range(12):
        tick(host, NOW + n * HORIZON, arrival(A, Do(gone=True), n))
    assert len(_rows(store, SEEN)) == 2
    assert len(_rows(store, RECORD)) <= 5


def test_an_entity_can_end_without_a_trace_but_its_records() -> None:
    """State None: there is no such entity."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, due(NOW + 5, add=1), 1))
    tick(host, NOW, arrival(A, Do(gone=True), 2))
    assert host.entry(A) == (None, None)
    assert not _rows(store, ENTITY)
    assert tick(host, NOW + 5).woken in (0, 1)
    tick(host, NOW + 6, arrival(A, Do(gone=True), 3))
    assert host.entry(A) == (None, None)


def test_each_tick_leaves_one_record_with_inputs_and_facts() -> None:
    """Time, source, entity, id, input and what was decided about it."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, Do(add=5), 1), arrival(B, Do(add=6), 2))
    records = [msgspec.msgpack.decode(store.dump()[row]) for row in _rows(store, RECORD)]
    assert len(records) == 1
    assert [(r[0], r[1], r[2]) for r in records[0]] == [(NOW, "arrive", A), (NOW, "arrive", B)]
    assert [r[5][0][0] for r in records[0]] == ["decided", "decided"]
    assert [r[5][0][1]["total"] for r in records[0]] == [5, 6]


# ---- reading


def test_a_record_of_another_codec_or_form_is_damage() -> None:
    """Starting is refused rather than guessed."""
    machines = Machines((Puppet(),))
    good = machines.write(A, machines.by_kind[PUPPET].decide(None, Do(), _context()).state, None)
    assert machines.read(A, good)[0].decided == 1
    with pytest.raises(DamageError, match="unknown codec 9"):
        machines.read(A, good[:2] + b"\x09" + good[3:])
    with pytest.raises(DamageError, match=A.hex()):
        machines.read(A, good[:-1])
    assert machines.read(A, None) == (None, None)


def _context() -> Context:
    return Context(NoCatalog())


def test_a_cache_forgets_the_oldest_and_never_grows_beyond_twice_its_size() -> None:
    """What is used stays."""
    cache = EntityCache(10)
    cache.put(b"used", (1, None, b""))
    for n in range(200):
        cache.put(n.to_bytes(4), (n, None, b""))
        assert cache.get(b"used") == (1, None, b"")
    assert cache.get((0).to_bytes(4)) is None
    assert len(cache._young) + len(cache._old) <= 22
    cache.clear()
    assert cache.get(b"used") is None


def test_a_cache_forgets_a_few_entities_at_a_time() -> None:
    """Nobody waits for thousands of them to go; and none stays for longer than the next half takes to fill."""
    cache = EntityCache(100)
    held = 0
    for n in range(1_000):
        cache.put(n.to_bytes(4), (n, None, b""))
        now = len(cache._young) + len(cache._old) + len(cache._leaving)
        assert held - now <= 1  # one comes, two go
        assert now <= 302
        held = now
    for start in (2_000, 3_000):
        cache.put_all({n.to_bytes(4): (n, None, b"") for n in range(start, start + 60)})
    assert len(cache._leaving) == 0  # as many again as came
    cache.clear()
    assert (cache._young, cache._old, cache._leaving) == ({}, {}, {})


def test_a_small_cache_changes_nothing() -> None:
    """Entities that fell out are read again, in the tick under way too."""
    keys = keys_in(0, Keyspace(4), 30)
    wide = host_on()
    small = host_on(settings=HostSettings(cache_entities=2))
    for host in (wide, small):
        inputs = [
            arrival(one, Do(add=n, tells=((keys[0], Do(add=1)),)), n) for n, one in enumerate(keys)
        ]
        assert set(host.tick(NOW, TickInputs(arrivals=inputs)).verdicts) == {"accepted"}
    assert [total(wide, one) for one in keys] == [total(small, one) for one in keys]
