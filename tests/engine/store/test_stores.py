"""Memory is the model: RocksDB gives the same answers to the same operations, crashes included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import DamageError, StoreError
from engine.store.memory import MemoryStore
from engine.store.protocol import FEED, Batch, Rows, Stand, Store, accepts, partition_prefix
from engine.store.rocksdb import RocksStore
from tests.engine.store.driver import PARTITIONS, batches_of

ROOT = Path(__file__).parents[3]
EVERYTHING = (b"", b"\xff" * 8, 1_000_000)
KEYS = st.binary(min_size=1, max_size=2)
BATCHES = st.lists(
    st.tuples(
        st.sampled_from((0, 1, FEED)),
        st.sampled_from((1, 1, 1, 0, 2)),  # epoch, relative to the one held
        st.sampled_from((1, 1, 1, 1, 0, 2)),  # seq, relative to the one held
        st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=5)), max_size=5),
        st.lists(st.tuples(KEYS, KEYS), max_size=1),
    ),
    max_size=3,
    unique_by=lambda one: one[0],
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), BATCHES),
        st.tuples(st.just("scan"), st.tuples(st.binary(max_size=4), st.binary(max_size=4))),
        st.tuples(st.just("reopen"), st.just(())),
    ),
    max_size=8,
)


def all_rows(store: Store) -> Rows:
    return store.scan(*EVERYTHING)


BatchPlan = tuple[int, int, int, dict[bytes, bytes | None], list[tuple[bytes, bytes]]]


def batch_of(store: Store, plan: BatchPlan) -> Batch:
    partition, epoch, seq, rows, ranges = plan
    held = store.stand(partition)
    batch = Batch(partition, Stand(max(held.epoch + epoch - 1, 0), held.seq + seq))
    prefix = partition_prefix(partition) + b"e"
    batch.ranges = [(prefix + min(r), prefix + max(r)) for r in ranges]
    batch.puts = [(prefix + key, value) for key, value in rows.items() if value is not None]
    batch.deletes = [prefix + key for key, value in rows.items() if value is None]
    return batch


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_rocksdb_answers_as_memory_does(
    steps: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Commits with stale members, ranges, deletes, scans, reopening: rows, stands and refusals are the same."""
    model = MemoryStore()
    real = RocksStore(tmp_path_factory.mktemp("db"), cache_mb=1)
    for what, details in steps:
        if what == "commit":
            offered = [batch_of(model, plan) for plan in cast("list[BatchPlan]", details)]
            assert model.commit(offered) == real.commit(offered)
        elif what == "scan":
            start, end = cast("tuple[bytes, bytes]", details)
            for limit in (1, 3, 1000):
                assert model.scan(start, end, limit) == real.scan(start, end, limit)
        else:
            real.reopen()
        keys = [row for row, _ in all_rows(model)] + [b"absent"]
        assert model.get(keys) == real.get(keys)
        assert [model.stand(p) for p in (0, 1, FEED)] == [real.stand(p) for p in (0, 1, FEED)]
    assert all_rows(model) == all_rows(real)
    real.close()
    real.close()


@given(st.tuples(*[st.integers(0, 5)] * 4))
def test_a_batch_is_taken_only_by_the_next_number_of_an_owner_who_isnt_older(
    numbers: tuple[int, ...],
) -> None:
    """The compare-and-swap, by itself."""
    held, offered = Stand(*numbers[:2]), Stand(*numbers[2:])
    taken = accepts(held, offered)
    assert taken == (offered.seq - held.seq == 1 and not offered.epoch < held.epoch)


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    """RocksDB's own lock; it is free once the store is closed."""
    store = RocksStore(tmp_path / "db", cache_mb=1)
    with pytest.raises(StoreError, match=r"(?i)lock"):
        RocksStore(tmp_path / "db", cache_mb=1)
    store.close()
    RocksStore(tmp_path / "db", cache_mb=1).close()


def test_a_closed_store_says_so_and_comes_back(tmp_path: Path) -> None:
    """Between a reopen that failed and the next, every call is a failure of the store, nothing else."""
    store = RocksStore(tmp_path / "db", cache_mb=1)
    batch = Batch(0, Stand(1, 1))
    batch.puts = [(b"\0\0ekey", b"value")]
    store.commit([batch])
    store.close()
    for call in (
        lambda: store.get([b"k"]),
        lambda: store.scan(b"", b"\xff", 1),
        lambda: store.stand(0),
        lambda: store.commit([Batch(0, Stand(1, 2))]),
    ):
        with pytest.raises(StoreError, match="it is closed"):
            call()
    store.reopen()
    assert store.get([b"\0\0ekey"]) == [b"value"]
    assert store.get([]) == []
    assert store.size_bytes() > 0
    store.close()


def test_damage_is_told_apart_from_failure(tmp_path: Path) -> None:
    """A store whose manifest was overwritten refuses to open, and says what it is."""
    RocksStore(tmp_path / "db", cache_mb=1).close()
    for manifest in (tmp_path / "db").glob("MANIFEST-*"):
        manifest.write_bytes(b"\xff" * 64)
    with pytest.raises(DamageError, match=str(tmp_path)):
        RocksStore(tmp_path / "db", cache_mb=1)


def test_killed_in_the_middle_every_commit_is_whole_or_absent(tmp_path: Path) -> None:
    """SIGKILL at random times: what was told as durable is there, and all rows are what the model says."""
    chance, seed = Random(11), 5
    path = tmp_path / "db"
    for _ in range(5):
        told = _killed_after(path, seed, chance.randrange(1, 60))
        store = RocksStore(path, cache_mb=1)
        stands = {store.stand(partition).seq for partition in range(PARTITIONS)}
        assert len(stands) == 1
        durable = stands.pop()
        assert told <= durable <= told + 1
        model = MemoryStore()
        for seq in range(1, durable + 1):
            assert model.commit(batches_of(seed, seq)) == []
        assert all_rows(store) == all_rows(model)
        store.close()


def _killed_after(path: Path, seed: int, commits: int) -> int:
    """Let the driver commit for a while, kill it, and tell what it said last."""
    command = [sys.executable, "-m", "tests.engine.store.driver", str(path), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        told = [int(driver.stdout.readline()) for _ in range(commits)]
        os.kill(driver.pid, signal.SIGKILL)
        told += [int(line) for line in driver.stdout.read().splitlines() if line]
    return told[-1]


def test_a_deferred_sync_is_one_of_its_own(tmp_path: Path) -> None:
    """What was committed shows at once and is owed a sync; who closes or opens again owes nothing any more."""
    store = RocksStore(tmp_path / "store")
    store.commit([_step(0, 1)])
    assert not _owes(store)
    store.defer()
    store.commit([_step(0, 2)])
    assert _owes(store)
    assert store.stand(0) == Stand(1, 2)
    store.sync()
    assert not _owes(store)
    store.commit([_step(0, 3)])
    store.reopen()
    assert not _owes(store)
    store.commit([_step(0, 4)])
    assert _owes(store), "it stays deferred"
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.sync()
    again = RocksStore(tmp_path / "store")
    assert again.stand(0) == Stand(1, 4)
    again.close()


def _step(partition: int, seq: int) -> Batch:
    batch = Batch(partition, Stand(1, seq))
    batch.puts = [(partition_prefix(partition) + b"ek", b"%d" % seq)]
    return batch


def _owes(store: RocksStore) -> bool:
    return store.unsynced
