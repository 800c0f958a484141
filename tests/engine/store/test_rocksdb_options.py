"""What RocksDB is told holds for a store that exists as for a new one."""

from __future__ import annotations

import re
from pathlib import Path

from engine.store.protocol import Batch, Stand
from engine.store.rocksdb import RocksStore


def _filters(store: Path) -> list[str]:
    newest = max(store.glob("OPTIONS-*"), key=lambda file: int(file.name.partition("-")[2]))
    return re.findall(r"filter_policy=(\S+)", newest.read_text("utf-8"))


def test_a_store_that_is_opened_again_still_has_its_filters(tmp_path: Path) -> None:
    """RocksDB writes down the options that it runs with, at each opening."""
    for turn in range(3):
        store = RocksStore(tmp_path, 8)
        batch = Batch(0, Stand(1, turn + 1))
        batch.puts.append((b"\0\0e%d" % turn, b"row"))
        assert store.commit([batch]) == []
        assert _filters(tmp_path) == ["bloomfilter"]
        store.reopen()
        assert _filters(tmp_path) == ["bloomfilter"]
        store.close()
