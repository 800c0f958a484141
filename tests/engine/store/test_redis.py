"""The store in Redis answers as memory does, on every server installed; and what only a server can do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from bench.redis_server import DURABLE, RedisServer, free_port
from engine.errors import DamageError, RefusedError, StoreError
from engine.redis_config import Redis
from engine.store.memory import MemoryStore
from engine.store.protocol import FEED, Batch, Stand, Store, partition_prefix
from engine.store.redis import RedisStore
from tests.certificates import self_signed
from tests.engine.store.driver import PARTITIONS, batches_of
from tests.engine.store.redis_servers import SERVERS, needs_redis
from tests.engine.store.test_stores import STEPS, BatchPlan, all_rows, batch_of

ROOT = Path(__file__).parents[3]
pytestmark = needs_redis
INDEXES = b"eaor"  # hashed, ordered, ordered with values


@pytest.fixture(scope="module", params=SERVERS, ids=lambda path: path.name)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """A durable server of each kind that is installed."""
    made = RedisServer(tmp_path_factory.mktemp("redis"), request.param)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def fresh(server: RedisServer) -> RedisServer:
    """The server, empty and with its settings."""
    with server.client() as client:
        client.flushall()
        client.config_set("appendfsync", "always")
        client.config_set("maxmemory", "0")
    return server


def _settings(server: RedisServer, **changes: object) -> Redis:
    return msgspec.structs.replace(Redis(addresses=(server.address,)), **changes)


def _batch(partition: int, stand: Stand, **rows: bytes) -> Batch:
    batch = Batch(partition, stand)
    batch.puts = [(partition_prefix(partition) + b"e" + k.encode(), v) for k, v in rows.items()]
    return batch


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_redis_answers_as_memory_does(steps: list[tuple[str, object]], fresh: RedisServer) -> None:
    """Commits with stale members, ranges, deletes, scans, reopening: rows, stands and refusals are the same."""
    with fresh.client() as client:
        client.flushall()
    model, real = MemoryStore(), RedisStore(_settings(fresh))
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
        keys = [row for row, _ in all_rows(model)] + [b"absent", b"", b"\0"]
        assert model.get(keys) == real.get(keys)
        assert [model.stand(p) for p in (0, 1, FEED)] == [real.stand(p) for p in (0, 1, FEED)]
    assert all_rows(model) == all_rows(real)
    real.close()
    real.close()


def test_rows_of_every_index_are_read_scanned_and_dropped_alike(fresh: RedisServer) -> None:
    """Hashed, bucketed, ordered and valued indexes: what lies differently there is the same from outside."""
    model, real = MemoryStore(), RedisStore(_settings(fresh))
    prefix = partition_prefix(7)
    seen = [prefix + b"s" + bucket.to_bytes(4) + bytes(15) + b"%d" % bucket for bucket in range(5)]
    ordered = [prefix + bytes((index,)) + bytes((n,)) * 9 for index in b"aohQRzr" for n in range(9)]
    steps = []
    first = Batch(7, Stand(1, 1))
    first.puts = [(row, b"") for row in seen]
    first.puts += [(row, b"value" if row[2] in b"oQR" else b"") for row in ordered]
    first.puts += [(prefix + b"M", b"meta"), (prefix + b"C", b"tally")]
    steps.append(first)
    second = Batch(7, Stand(1, 2))
    second.ranges = [
        (prefix + b"s", prefix + b"s" + (3).to_bytes(4)),
        (prefix + b"R", prefix + b"R" + bytes((4,)) * 5),
        (prefix + b"s" + (4).to_bytes(4), prefix + b"s" + (4).to_bytes(4) + b"\xff" * 17),
    ]
    second.deletes = ordered[3:20:2]
    second.puts = [(prefix + b"s" + (9).to_bytes(4) + bytes(16), b"")]
    steps.append(second)
    for batch in steps:
        assert model.commit([batch]) == real.commit([batch]) == []
        assert all_rows(model) == all_rows(real)
        rows = seen + ordered + [prefix + b"M", prefix + b"C", prefix + b"\0"]
        assert model.get(rows) == real.get(rows)
        for start, end in ((b"a", b"b"), (b"o\4", b"z\3"), (b"s", b"t"), (b"R\2", b"R\6")):
            asked = (prefix + start, prefix + end, 4)
            assert model.scan(*asked) == real.scan(*asked)
    real.close()


def test_a_former_owner_writes_nothing_and_the_rest_of_the_commit_stands(
    fresh: RedisServer,
) -> None:
    """The epoch is compared where the rows are: a stale member is reported, the others are written."""
    former, owner = RedisStore(_settings(fresh)), RedisStore(_settings(fresh))
    assert former.commit([_batch(0, Stand(1, 1), k=b"1"), _batch(1, Stand(1, 1), k=b"1")]) == []
    assert owner.commit([_batch(1, Stand(2, 2), k=b"2")]) == []
    late = [_batch(0, Stand(1, 2), k=b"3"), _batch(1, Stand(1, 2), k=b"former")]
    assert former.commit(late) == [1]
    assert former.commit([_batch(1, Stand(1, 3), k=b"former")]) == [1]
    assert owner.get([b"\0\0ek", b"\0\1ek"]) == [b"3", b"2"]
    for store in (former, owner):
        store.close()


def test_a_server_that_may_forget_is_refused_unless_told_otherwise(fresh: RedisServer) -> None:
    """Each reason is named, and how to mend it."""
    with fresh.client() as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(RefusedError, match=r"everysec.*allkeys-lru.*appendfsync always"):
        RedisStore(_settings(fresh))
    with pytest.raises(RefusedError, match="0 replicas online"):
        RedisStore(_settings(fresh, replicas_min=1))
    RedisStore(_settings(fresh, durability="as_it_is")).close()
    with fresh.client() as client:
        client.config_set("maxmemory-policy", "noeviction")


def test_a_user_who_may_not_ask_is_told_so(fresh: RedisServer, tmp_path: Path) -> None:
    """An ACL user without CONFIG can't show that the server is durable; with `as_it_is` it works for it."""
    fresh.ask("ACL", "SETUSER", "mail", "+@all", "-config", "~{acl:*", "on", ">secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    mine = {"username": "mail", "password_file": str(password), "name": "acl"}
    with pytest.raises(RefusedError, match="CONFIG GET is denied"):
        RedisStore(_settings(fresh, **mine))
    store = RedisStore(_settings(fresh, **mine, durability="as_it_is"))
    assert store.commit([_batch(0, Stand(1, 1), k=b"v")]) == []
    store.close()
    password.write_text("wrong\n")
    with pytest.raises(StoreError, match=r"(?i)wrongpass|invalid username-password"):
        RedisStore(_settings(fresh, **mine))


def test_a_flushed_script_cache_is_filled_again(fresh: RedisServer) -> None:
    """`SCRIPT FLUSH`, or a failover, forgets the script: the commit loads it and is written once."""
    store = RedisStore(_settings(fresh))
    store.commit([_batch(0, Stand(1, 1), k=b"1")])
    with fresh.client() as client:
        client.script_flush()
    assert store.commit([_batch(0, Stand(1, 2), k=b"2"), _batch(1, Stand(1, 1))]) == []
    assert store.get([b"\0\0ek"]) == [b"2"]
    store.close()


def test_out_of_memory_writes_nothing_and_goes_on_when_there_is_room(fresh: RedisServer) -> None:
    """A server at its maxmemory refuses a commit whole; after `reopen` and with room it is taken."""
    store = RedisStore(_settings(fresh))
    store.commit([_batch(0, Stand(1, 1), k=b"1")])
    with fresh.client() as client:
        client.config_set("maxmemory", "1")
    two = [_batch(0, Stand(1, 2), k=b"2"), _batch(1, Stand(1, 1), k=b"2")]
    with pytest.raises(StoreError, match=r"OOM|OutOfMemory"):
        store.commit(two)
    with pytest.raises(StoreError, match="not reopened"):
        store.commit(two)
    store.reopen()
    assert store.get([b"\0\0ek", b"\0\1ek"]) == [b"1", None]
    with fresh.client() as client:
        client.config_set("maxmemory", "0")
    assert store.commit(two) == []
    store.close()


def test_a_server_that_went_back_in_time_is_damage(fresh: RedisServer) -> None:
    """What was acknowledged isn't there any more: nothing is built on it."""
    store = RedisStore(_settings(fresh))
    store.commit([_batch(3, Stand(1, 1), k=b"1")])
    store.commit([_batch(3, Stand(1, 2), k=b"2")])
    with fresh.client() as client:
        client.hset("{veredus:3}c", b"\0", (1).to_bytes(8) + (1).to_bytes(8))
    with pytest.raises(DamageError, match=r"partition 3 stands at \(epoch 1, seq 1\)"):
        store.reopen()
    with pytest.raises(StoreError, match="not reopened"):
        store.commit([_batch(3, Stand(1, 2))])
    store.close()


def test_a_silent_server_is_a_failure_whose_fate_is_asked_for(fresh: RedisServer) -> None:
    """A paused server: the commit fails at the time-out, may be written later, and `reopen` tells."""
    store = RedisStore(_settings(fresh, timeout_ms=300))
    store.commit([_batch(0, Stand(1, 1), k=b"1")])
    fresh.pause()
    with pytest.raises(StoreError, match=r"(?i)timeout"):
        store.commit([_batch(0, Stand(1, 2), k=b"2")])
    with pytest.raises(StoreError):
        store.reopen()
    fresh.resume()
    store.reopen()
    held = store.stand(0)
    assert held in (Stand(1, 1), Stand(1, 2))
    assert store.commit([_batch(0, Stand(1, held.seq + 1), k=b"3")]) == []
    store.close()


@pytest.mark.parametrize("program", SERVERS, ids=lambda path: path.name)
def test_killed_in_the_middle_every_commit_is_whole_or_absent(
    program: Path, tmp_path: Path
) -> None:
    """SIGKILL of the server while it commits, then its restart: what was acknowledged is there, by partition whole."""
    server = RedisServer(tmp_path, program)
    server.start()
    try:
        for life, commits in enumerate((7, 23)):
            told = _driven(server, commits)
            server.start()
            store = RedisStore(_settings(server))
            stands = [store.stand(partition).seq for partition in range(PARTITIONS)]
            assert min(stands) >= told
            assert max(stands) <= told + 1, life
            model = MemoryStore()
            for seq in range(1, max(stands) + 1):
                taken = [b for b in batches_of(5, seq) if b.stand.seq <= stands[b.partition]]
                assert model.commit(taken) == []
            assert all_rows(model) == all_rows(store)
            store.close()
    finally:
        server.stop()


def _driven(server: RedisServer, commits: int) -> int:
    """Let the driver commit for a while, kill the server, and tell what it said last."""
    command = [sys.executable, "-m", "tests.engine.store.driver", server.address, "5"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        assert driver.stdout is not None
        told = [int(driver.stdout.readline()) for _ in range(commits)]
        server.kill()
        told += [int(line) for line in driver.stdout.read().splitlines() if line]
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
    return told[-1]


@pytest.mark.parametrize("program", SERVERS, ids=lambda path: path.name)
def test_a_commit_waits_for_its_replicas(program: Path, tmp_path: Path) -> None:
    """With `replicas_min` a commit that the replica hasn't is a failure, and committed means awaited again."""
    at_once = (*DURABLE, "--repl-diskless-sync-delay", "0")
    master = RedisServer(tmp_path / "m", program, options=at_once)
    replica = RedisServer(tmp_path / "r", program, options=at_once)
    master.start()
    replica.start()
    try:
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(master.port))
        store = _when_replicated(master)
        assert store.commit([_batch(0, Stand(1, 1), k=b"1")]) == []
        hasty = RedisStore(_settings(master, replicas_min=1, timeout_ms=400))
        replica.pause()
        with pytest.raises(StoreError, match="0 replicas hold the commit"):
            hasty.commit([_batch(0, Stand(1, 2), k=b"2")])
        with pytest.raises(StoreError, match="0 replicas hold"):
            hasty.reopen()
        replica.resume()
        _reopened(hasty)
        assert hasty.stand(0) == Stand(1, 2)
        assert store.commit([_batch(0, Stand(1, 3), k=b"3")]) == []
        hasty.close()
        store.close()
        with replica.client() as client:
            assert client.hget("{veredus:0}ek", b"") == b"3"
    finally:
        master.stop()
        replica.stop()


def _when_replicated(master: RedisServer) -> RedisStore:
    for _ in range(400):
        try:
            return _store_with_replica(master)
        except RefusedError:
            signal.sigtimedwait([], 0.05)
    raise AssertionError("the replica never connected")


def _store_with_replica(master: RedisServer) -> RedisStore:
    store: Store = RedisStore(_settings(master, replicas_min=1, timeout_ms=60_000))
    assert isinstance(store, RedisStore)
    return store


@pytest.mark.parametrize("program", SERVERS, ids=lambda path: path.name)
def test_a_redis_cluster_answers_as_memory_does(program: Path, tmp_path: Path) -> None:
    """Partitions lie on several nodes; a slot that moves is a failed commit, and found again by `reopen`."""
    clustered = (*DURABLE, "--cluster-enabled", "yes", "--cluster-port")
    buses = [free_port() for _ in range(2)]
    nodes = [
        RedisServer(tmp_path / str(bus), program, options=(*clustered, str(bus))) for bus in buses
    ]
    try:
        for node in nodes:
            node.start()
        _join(nodes, buses[1])
        model = MemoryStore()
        real = RedisStore(_settings(nodes[0], topology="cluster"))
        assert len({server.run_id for server in real.servers}) == 2
        for seq in range(1, 8):
            offered = [_batch(p, Stand(1, seq + (p == seq)), k=b"%d" % seq) for p in range(6)]
            assert model.commit(offered) == real.commit(offered)
        assert all_rows(model) == all_rows(real)
        _move_all_slots(nodes)
        offered = [_batch(p, Stand(1, model.stand(p).seq + 1), k=b"moved") for p in range(6)]
        with pytest.raises(StoreError, match=r"(?i)moved"):
            real.commit(offered)
        real.reopen()
        for batch in offered:
            if real.stand(batch.partition) != batch.stand:
                assert real.commit([batch]) == []
        assert model.commit(offered) == []
        assert all_rows(model) == all_rows(real)
        real.close()
    finally:
        for node in nodes:
            node.stop()


def _join(nodes: list[RedisServer], bus: int) -> None:
    half = 8192
    nodes[0].ask("CLUSTER", "ADDSLOTSRANGE", 0, half - 1)
    nodes[1].ask("CLUSTER", "ADDSLOTSRANGE", half, 16383)
    nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, bus)
    for node in nodes:
        while node.ask("CLUSTER INFO")["cluster_state"] != "ok":
            signal.sigtimedwait([], 0.05)


def _move_all_slots(nodes: list[RedisServer]) -> None:
    """Let the second node serve everything: its keys are copied as a migration would."""
    one, two = nodes
    first, second = (node.ask("CLUSTER", "MYID").decode() for node in nodes)
    slots = {int(one.ask("CLUSTER", "KEYSLOT", f"veredus:{p}")) for p in range(6)}
    for slot in sorted(slot for slot in slots if slot < 8192):
        two.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", first)
        one.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", second)
        keys = one.ask("CLUSTER", "GETKEYSINSLOT", slot, 100)
        one.ask("MIGRATE", "127.0.0.1", two.port, "", 0, 5000, "KEYS", *keys)
        for node in (two, one):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", second)


@pytest.mark.long  # sentinels on a busy machine may take longer to agree than anybody waits
def test_the_master_is_found_by_its_sentinels_and_after_a_failover_all_is_there(
    tmp_path: Path,
) -> None:
    """A replica that was awaited takes over: the store finds it, verifies, and goes on."""
    program = SERVERS[0]
    options = (*DURABLE, "--repl-diskless-sync-delay", "0")
    master, replica = (RedisServer(tmp_path / n, program, options=options) for n in "mr")
    guard = tmp_path / "sentinel.conf"
    servers = [master, replica]
    try:
        master.start()
        replica.start()
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(master.port))
        _when_replicated(master).close()
        guard.write_text(
            f"sentinel monitor mail 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds mail 300\nsentinel failover-timeout mail 2000\n"
        )
        sentinel = RedisServer(tmp_path, program, options=(), before=(str(guard), "--sentinel"))
        servers.append(sentinel)
        sentinel.start()
        found = {"topology": "sentinel", "sentinel_master": "mail", "timeout_ms": 1000}
        store = RedisStore(_settings(sentinel, **found))
        assert store.commit([_batch(0, Stand(1, 1), k=b"1")]) == []
        with master.client() as client:
            client.wait(1, 5000)
        master.kill()
        with pytest.raises(StoreError):
            store.commit([_batch(0, Stand(1, 2), k=b"2")])
        _reopened(store)
        assert store.stand(0) == Stand(1, 1)
        assert store.commit([_batch(0, Stand(1, 2), k=b"2")]) == []
        assert store.servers[0].address == f"port {replica.port}"
        store.close()
    finally:
        for server in servers:
            server.stop()


def _reopened(store: RedisStore) -> None:
    for _ in range(600):
        try:
            store.reopen()
        except StoreError:
            signal.sigtimedwait([], 0.05)
        else:
            return
    raise AssertionError("no failover")


def _speaks_tls(program: Path) -> bool:
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return "libssl" in told.stdout


@pytest.mark.skipif(
    not any(map(_speaks_tls, SERVERS)), reason="no server with TLS: Debian's has it"
)
def test_tls_is_verified(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused; with its own CA file the server is taken."""
    program = next(filter(_speaks_tls, SERVERS))
    pem, port = self_signed(tmp_path, "127.0.0.1"), free_port()
    options: tuple[str, ...] = (*DURABLE, "--tls-port", str(port), "--tls-cert-file", str(pem))
    options += (
        "--tls-key-file",
        str(pem),
        "--tls-ca-cert-file",
        str(pem),
        "--tls-auth-clients",
        "no",
    )
    server = RedisServer(tmp_path, program, options=options)
    server.start()
    try:
        guarded = Redis(addresses=(f"127.0.0.1:{port}",), tls=True)
        with pytest.raises(StoreError, match=r"(?i)certificate"):
            RedisStore(guarded)
        store = RedisStore(msgspec.structs.replace(guarded, ca_file=str(pem)))
        assert store.commit([_batch(0, Stand(1, 1), k=b"1")]) == []
        store.close()
    finally:
        server.stop()
