"""Copies of an instance that runs: of one moment, verified, and nobody is left standing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.main import run
from actors.operations.homes import Home, rocks_home
from actors.operations.live import standing_still, workers_of
from actors.worker.pulse import Pulse, pulse_path
from bench.redis_server import RedisServer
from engine.store.copying import chunks, digest_of
from engine.store.format import settle
from engine.store.protocol import FEED, Batch, Stand, partition_prefix
from engine.store.redis import RedisStore
from engine.store.rocksdb import RocksStore
from tests.engine.store.redis_servers import needs_redis

PARTITIONS, STORES = 8, 2


def _write(home: Home, seq: int) -> None:
    for lot in home.lots():
        batch = Batch(lot.partition, Stand(3, seq))
        prefix = partition_prefix(lot.partition)
        if lot.partition == FEED:
            batch.puts = [(prefix + b"f" + bytes((seq,)) * 12, b"told")]
        else:
            batch.puts = [(prefix + b"e" + bytes((n, seq)), b"v" * n) for n in range(0, 256, 5)]
        store = home.place(lot)
        assert isinstance(store, RocksStore | RedisStore)
        assert store.commit([batch]) == []


def _digests(home: Home) -> dict[str, object]:
    return {lot.name: digest_of(chunks(home.place(lot), lot.partition)) for lot in home.lots()}


def _configure(folder: Path, data: str, more: str = "") -> None:
    text = f'data_dir = "{data}"\n[store]\npartitions = {PARTITIONS}\n{more}'
    (folder / "veredus.toml").write_text(text)


def test_a_copy_of_stores_in_use_is_of_the_moment_it_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner keeps its lock and goes on writing; the copy restores to what was there."""
    monkeypatch.chdir(tmp_path)
    settle(tmp_path / "data", PARTITIONS, STORES)
    _configure(tmp_path, "data")
    with rocks_home(tmp_path / "data", PARTITIONS, STORES) as home:
        _write(home, 1)
        before = _digests(home)
        assert run(["backup", "copy", "--live"]) == 0
        _write(home, 2)
        assert _digests(home) != before
    _configure(tmp_path, "again")
    assert run(["restore", "copy"]) == 0
    with rocks_home(tmp_path / "again", PARTITIONS, STORES, read_only=True) as home:
        assert _digests(home) == before


def test_from_is_of_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no Redis, a server isn't taken silently."""
    monkeypatch.chdir(tmp_path)
    settle(tmp_path / "data", PARTITIONS, STORES)
    _configure(tmp_path, "data")
    assert run(["backup", "copy", "--live", "--from", "127.0.0.1:6379"]) == 2
    assert "leave it out" in capsys.readouterr().err


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process to stop."""
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_processes_stand_still_and_go_on(sleeper: subprocess.Popen[bytes]) -> None:
    """Stopped inside, going on behind."""
    with standing_still([sleeper.pid]):
        assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
    assert os.WIFCONTINUED(os.waitpid(sleeper.pid, os.WCONTINUED)[1])


def test_they_go_on_when_who_stopped_them_dies(sleeper: subprocess.Popen[bytes]) -> None:
    """Somebody else lets them go on."""
    code = (
        "import os; from actors.operations.live import standing_still\n"
        f"still = standing_still([{sleeper.pid}], 0.5); still.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
    assert os.WIFCONTINUED(os.waitpid(sleeper.pid, os.WCONTINUED)[1])


def test_only_workers_are_stopped(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A number in a pulse may belong to somebody else by now."""
    pulse = Pulse(pulse_path(tmp_path, 0))
    pulse.beat(0, 0, 0)
    assert workers_of(tmp_path) == [], "this process is no worker"
    assert sleeper.poll() is None


@needs_redis
def test_a_copy_comes_from_a_replica_that_was_detached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that follows still, and the one that is written to, are refused; the instance goes on writing."""
    from actors.cli.homes import home_of
    from actors.config_file import load

    monkeypatch.chdir(tmp_path)
    master, replica = RedisServer(tmp_path / "one"), RedisServer(tmp_path / "two")
    master.start()
    replica.start("--replicaof", "127.0.0.1", str(master.port))
    redis = f'kind = "redis"\nredis.addresses = ["{master.address}"]\n'
    try:
        settle(tmp_path / "data", PARTITIONS, STORES, kind="redis")
        _configure(tmp_path, "data", redis)
        with home_of(load(None, os.environ)) as home:
            _write(home, 1)
            before = _digests(home)
            assert master.ask("WAIT", 1, 10_000) == 1
            assert run(["backup", "copy", "--live"]) == 2
            assert "--from" in capsys.readouterr().err
            assert run(["backup", "copy", "--live", "--from", replica.address]) == 2
            assert "follows a master" in capsys.readouterr().err
            assert run(["backup", "copy", "--live", "--from", master.address]) == 2
            assert "writes to" in capsys.readouterr().err
            replica.ask("REPLICAOF", "NO", "ONE")
            _write(home, 2)
            assert run(["backup", "copy", "--live", "--from", replica.address]) == 0
        _configure(tmp_path, "again", redis + 'redis.name = "again"\n')
        assert run(["restore", "copy"]) == 0
        with home_of(load(None, os.environ)) as home:
            assert _digests(home) == before
    finally:
        replica.stop()
        master.stop()
