"""One instance at a time on a data directory; who has it is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.instance.lock import lock_holder, locked
from engine.errors import RefusedError
from engine.store.rocksdb import RocksStore
from engine.store.rocksdb import lock_holder as store_holder


def test_a_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    async def both() -> None:
        async with locked(tmp_path):
            assert lock_holder(tmp_path) == os.getpid()
            with pytest.raises(RefusedError, match=f"process {os.getpid()}"):
                async with locked(tmp_path, wait_s=0.15):
                    pass
        assert lock_holder(tmp_path) is None

    asyncio.run(both())


def test_it_waits_for_one_that_is_about_to_end(tmp_path: Path) -> None:
    async def both() -> None:
        first = locked(tmp_path)
        await first.__aenter__()
        second = asyncio.ensure_future(_enter(tmp_path))
        await asyncio.sleep(0)
        assert not second.done()
        await first.__aexit__(None, None, None)
        await asyncio.wait_for(second, 5)

    asyncio.run(both())


async def _enter(folder: Path) -> None:
    async with locked(folder):
        assert lock_holder(folder) == os.getpid()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from actors.instance.lock import locked\n"
        "async def main():\n"
        "    async with locked(pathlib.Path(sys.argv[1])):\n"
        "        print('held', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert lock_holder(tmp_path) == holder.pid
        holder.kill()
    assert lock_holder(tmp_path) is None


def test_the_holder_of_a_store_is_told(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from engine.store.rocksdb import RocksStore\n"
        "store = RocksStore(pathlib.Path(sys.argv[1]), 8)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert store_holder(tmp_path) == holder.pid
        holder.communicate()
    assert store_holder(tmp_path) is None
    RocksStore(tmp_path, 8).close()
