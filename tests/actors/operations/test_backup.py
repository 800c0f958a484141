"""Copies and moves of a deployment: all rows arrive, damage is seen, nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.cli.main import run
from actors.operations.homes import rocks_home
from bench.redis_server import RedisServer
from engine.store.copying import chunks, digest_of
from engine.store.format import read_format, settle
from engine.store.protocol import FEED, Batch, Stand, partition_prefix
from engine.store.rocksdb import RocksStore
from tests.engine.store.redis_servers import needs_redis

PARTITIONS, STORES = 8, 2


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with rows of every index, a catalog and a ledger."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    settle(folder, PARTITIONS, STORES)
    with rocks_home(folder, PARTITIONS, STORES) as home:
        for lot in home.lots():
            batch = Batch(lot.partition, Stand(3, 1))
            prefix = partition_prefix(lot.partition)
            if lot.partition == FEED:
                batch.puts = [(prefix + b"f" + bytes((n,)) * 12, b"told") for n in range(3)]
            else:
                batch.puts = [(prefix + b"M", b"meta"), (prefix + b"R" + bytes(20), b"record")]
                batch.puts += [(prefix + b"e" + bytes((n, 7)), b"v" * n) for n in range(0, 256, 5)]
                batch.puts += [(prefix + b"s" + bytes(4) + bytes((n,)) * 16, b"") for n in range(9)]
                batch.puts += [(prefix + b"a" + bytes((n,)) * 13, b"") for n in range(9)]
            store = home.place(lot)
            assert isinstance(store, RocksStore)
            assert store.commit([batch]) == []
    (folder / "catalog" / "objects").mkdir(parents=True)
    (folder / "catalog" / "objects" / "ab").write_bytes(b"template")
    (folder / "ledgers").mkdir()
    (folder / "ledgers" / "w0-1.ledger").write_bytes(b"begun")
    _configure(tmp_path, "data")
    return folder


def _configure(folder: Path, data: str, store: str = "") -> None:
    text = f'data_dir = "{data}"\n[store]\npartitions = {PARTITIONS}\n{store}'
    (folder / "veredus.toml").write_text(text)


def _digests(folder: Path) -> dict[str, object]:
    with rocks_home(folder, PARTITIONS, STORES, read_only=True) as home:
        return {lot.name: digest_of(chunks(home.place(lot), lot.partition)) for lot in home.lots()}


def test_a_restored_copy_is_what_was_copied(
    deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows, stands, feed, catalog and ledgers come back as they were; a copy isn't overwritten, nor is an instance."""
    assert run(["backup", "copy", "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["files"] == 2
    assert run(["backup", "copy"]) == 2
    assert run(["restore", "copy"]) == 2
    assert "restore into an empty data directory" in capsys.readouterr().err
    _configure(tmp_path, "again")
    assert run(["restore", "copy"]) == 0
    again = tmp_path / "again"
    assert _digests(again) == _digests(deployment)
    assert read_format(again) == read_format(deployment)
    for name in ("catalog/objects/ab", "ledgers/w0-1.ledger"):
        assert (again / name).read_bytes() == (deployment / name).read_bytes()


@pytest.mark.parametrize("part", ["rows/partition-00003.gz", "files/catalog/objects/ab"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_copy_is_refused(
    deployment: Path, tmp_path: Path, part: str, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever happened to a file of the copy is seen, and no instance comes of it."""
    assert run(["backup", "copy"]) == 0
    file = tmp_path / "copy" / part
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(raw if harm == "flipped" else raw[:-3])
    _configure(tmp_path, "again")
    assert run(["restore", "copy"]) == 1
    assert part in capsys.readouterr().err
    assert read_format(tmp_path / "again") is None


def test_a_copy_that_leads_outside_is_refused(deployment: Path, tmp_path: Path) -> None:
    """A hostile manifest writes nothing beside the data directory."""
    assert run(["backup", "copy"]) == 0
    manifest = tmp_path / "copy" / "manifest.json"
    told = msgspec.json.decode(manifest.read_bytes())
    told["files"]["../outside"] = told["files"]["catalog/objects/ab"]
    (tmp_path / "copy" / "outside").write_bytes(b"template")
    manifest.write_bytes(msgspec.json.encode(told))
    _configure(tmp_path, "again")
    assert run(["restore", "copy"]) == 1
    assert not (tmp_path / "outside").exists()


@needs_redis
def test_a_deployment_moves_to_redis_and_back(
    deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row arrives, both ways; what was left isn't served again by mistake; a copy of Redis is restored too."""
    before = _digests(deployment)
    server = RedisServer(tmp_path / "redis")
    server.start()
    redis = f'kind = "redis"\nredis.addresses = ["{server.address}"]\n'
    try:
        _configure(tmp_path, "data", redis)
        assert run(["store", "move", "--to", "redis", "--json"]) == 0
        assert msgspec.json.decode(capsys.readouterr().out)["feeds"] == STORES
        assert run(["store", "move", "--to", "redis"]) == 2
        assert run(["backup", "copy"]) == 0
        _configure(tmp_path, "other", redis + 'redis.name = "other"\n')
        assert run(["restore", "copy"]) == 0
        assert run(["store", "move", "--to", "rocksdb", "--workers", "1"]) == 2
        assert "ask for --workers 2" in capsys.readouterr().err
        assert run(["store", "move", "--to", "rocksdb", "--workers", "2"]) == 0
        assert _digests(tmp_path / "other") == before
        _configure(tmp_path, "data", redis)
        assert run(["store", "move", "--to", "rocksdb", "--workers", "2"]) == 0
        assert _digests(deployment) == before
        assert run(["store", "move", "--to", "redis"]) == 2
        assert "already" in capsys.readouterr().err
    finally:
        server.stop()
