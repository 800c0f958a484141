"""Seen ids: whatever goes from the record to rows, an input is seen as long as its bucket or the next lasts."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.inputs import PartitionSettings
from engine.keyspace import Keyspace
from engine.machine import Retired
from engine.rows import ENTITY, META, SEEN
from engine.seen import (
    KEPT_MAX,
    NOTHING,
    UNKNOWN,
    added,
    bucket_bytes,
    digest_of,
    head_of,
    is_scattered,
    items_of,
    saw,
)
from engine.store.memory import MemoryStore
from engine.store.protocol import partition_prefix
from engine.tick import HostSettings
from tests.engine.puppet import HORIZON, Do, arrival, host_on, keys_in, tick, total

NOW = 50 * HORIZON
A, B = keys_in(0, Keyspace(4), 2)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=120),
    st.sampled_from((NOTHING, UNKNOWN, bucket_bytes(3))),
)
def test_an_id_is_found_in_the_record_or_in_rows_until_its_buckets_are_over(
    steps: list[tuple[int, int]], ids: bytes
) -> None:
    """Against a plain model: (id, bucket) pairs; a record never holds more than its bound."""
    bucket, rows, model = 3, set[bytes](), dict[int, int]()
    for number, later in steps:
        bucket += later
        oldest, digest = bucket_bytes(bucket - 1), digest_of(b"key", number.to_bytes(2))
        in_rows = is_scattered(ids, oldest) and any(
            bucket_bytes(one) + digest in rows for one in (bucket, bucket - 1)
        )
        expected = model.get(number, -9) >= bucket - 1
        assert (saw(ids, digest, oldest) or in_rows) is expected
        if not expected:
            ids, gone = added(ids, digest, bucket_bytes(bucket), oldest)
            rows.update(gone)
            model[number] = bucket
        assert len(items_of(ids)) <= KEPT_MAX
        assert head_of(ids) == UNKNOWN or head_of(ids) <= bucket_bytes(bucket)


def test_an_entity_with_many_inputs_keeps_some_in_its_record_and_the_rest_in_rows() -> None:
    """A repetition of any of them is seen, also after a restart."""
    store = MemoryStore()
    host = host_on(store)
    for n in range(3 * KEPT_MAX):
        tick(host, NOW + n, arrival(A, Do(add=1), n))
    rows = [row for row in store.dump() if row[2:3] == SEEN]
    assert 0 < len(rows) < 3 * KEPT_MAX
    again = host_on(store)
    found = tick(again, NOW + 99, *(arrival(A, Do(add=1), n) for n in range(3 * KEPT_MAX)))
    assert set(found.verdicts) == {"duplicate"}
    assert total(again, A) == 3 * KEPT_MAX


def test_one_tick_sees_its_own_rows() -> None:
    """More inputs than a record holds, each twice, in one batch."""
    host = host_on(MemoryStore())
    inputs = [arrival(A, Do(add=1), n) for n in range(3 * KEPT_MAX) for _ in range(2)]
    assert tick(host, NOW, *inputs).verdicts == ["accepted", "duplicate"] * (3 * KEPT_MAX)


def test_what_an_entity_saw_outlives_it() -> None:
    """It ended, or was dropped after its retention: its inputs are seen all the same."""
    store = MemoryStore()
    host = host_on(store)
    tick(host, NOW, arrival(A, Do(add=1), 1), arrival(A, Do(place=Retired(NOW + 5)), 2))
    tick(host, NOW + 10, arrival(B, Do(), 3))
    assert not [row for row in store.dump() if row[2:3] == ENTITY and row[3:] == A]
    host = host_on(store)
    assert tick(host, NOW + 11, arrival(A, Do(), 1), arrival(A, Do(), 2)).verdicts == [
        "duplicate",
        "duplicate",
    ]
    tick(host, NOW + 12, arrival(A, Do(add=7), 4))
    assert tick(host, NOW + 13, arrival(A, Do(), 1), arrival(A, Do(), 4)).verdicts == [
        "duplicate",
        "duplicate",
    ]


def test_an_input_in_quarantine_or_of_nobody_is_seen() -> None:
    """With an entity and without one."""
    host = host_on(MemoryStore())
    bad, gone = Do(fail=True), Do(gone=True)
    assert tick(host, NOW, arrival(A, bad, 1), arrival(A, bad, 1)).verdicts == [
        "quarantined",
        "duplicate",
    ]
    assert tick(host, NOW, arrival(A, gone, 2), arrival(A, gone, 2)).verdicts == [
        "accepted",
        "duplicate",
    ]
    tick(host, NOW, arrival(A, Do(add=1), 3), arrival(A, bad, 4))
    found = tick(host, NOW, *(arrival(A, Do(add=1), n) for n in (1, 2, 3, 4)))
    assert found.verdicts == ["duplicate"] * 4
    assert total(host, A) == 1


def test_records_of_the_former_format_are_read_and_their_rows_looked_at() -> None:
    """Envelope version 1, seen ids as rows alone, control state without the newest bucket."""
    store = MemoryStore()
    host = host_on(store, settings=HostSettings(partition=PartitionSettings(horizon_ms=HORIZON)))
    tick(host, NOW, arrival(A, Do(add=1), 1))
    prefix = partition_prefix(0)
    batch = host.partitions[0].batch()
    record = store.dump()[prefix + ENTITY + A]
    ids = record[5:29]
    former = b"\1" + record[1:4] + record[29:]
    gone = ids[4:8] + digest_of(B, (1).to_bytes(8))  # of an entity that left nothing else
    meta = msgspec.msgpack.encode(msgspec.msgpack.decode(store.dump()[prefix + META])[:9])
    batch.puts = [(prefix + ENTITY + A, former), (prefix + META, meta)]
    batch.puts += [(prefix + SEEN + row, b"") for row in (ids[4:], gone)]
    assert store.commit([batch]) == []
    upgraded = host_on(store)
    assert total(upgraded, A) == 1
    assert tick(upgraded, NOW + 1, arrival(B, Do(add=1), 1)).verdicts == ["duplicate"]
    assert tick(upgraded, NOW + 1, arrival(A, Do(add=1), 1)).verdicts == ["duplicate"]
    assert tick(upgraded, NOW + 1, arrival(A, Do(add=1), 2)).verdicts == ["accepted"]
    found = tick(upgraded, NOW + 2, arrival(A, Do(add=1), 1), arrival(A, Do(add=1), 2))
    assert found.verdicts == ["duplicate", "duplicate"]
