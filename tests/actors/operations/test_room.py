"""A full disk, a failing store, too little memory, a damaged store: intake stops, nothing is lost, all goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.operations.room import MIB, Room
from actors.worker.assembly import Ports, open_store
from actors.worker.wire import WorkerSettings
from actors.worker.worker import Worker
from engine.errors import DamageError, StoreError
from engine.store.format import store_path
from engine.store.protocol import Batch
from engine.store.rocksdb import RocksStore
from tests.actors.operations.living import config_of, living, publish_hello

ROOT = Path(__file__).resolve().parents[3]


def test_a_full_disk_loses_nothing_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.operations.full_disk", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    saw = json.loads(done.stdout.splitlines()[-1])
    assert saw["told"][-1].startswith(("unknown: store", "refused: its store fails"))
    assert saw["refused"].startswith(("unknown: store", "refused: its store fails"))
    assert saw["trouble"].startswith("its store fails: store ")
    assert saw["failures"] >= 1
    assert saw["lost"] == []
    assert saw["distinct"] == saw["messages"]
    assert saw["arrived"] <= saw["messages"] + saw["doubts"]
    assert saw["agrees"], saw["findings"]


class Free:
    """Disk and memory that somebody else fills."""

    def __init__(self) -> None:
        self.disk = 1000 * MIB
        self.memory: int | None = 1000 * MIB

    def ports(self) -> Ports:
        return Ports(disk_free=lambda _folder: self.disk, memory_free=lambda: self.memory)


def test_while_the_disk_is_short_outcomes_still_fit_and_nothing_new_is_taken(
    tmp_path: Path,
) -> None:
    """What is in hand comes to its end; new mail, hand-overs and timers wait; then all goes on by itself."""

    async def story() -> None:
        free = Free()
        config = config_of(tmp_path, free_mb_min=100, timeouts={"dot_s": 30})
        async with living(config, free.ports()) as here:
            here.sink.manner = "holds the dot"
            await here.send([f"p{n}" for n in range(100)])
            soon = here.worker.now() + 1500
            await here.send(["soon"], due=soon)
            await here.until(lambda: here.sink.dots > 0)
            free.disk = 99 * MIB
            await here.until(lambda: bool(here.worker.status().trouble))
            status = here.worker.status()
            assert status.trouble == (
                "the disk of the data directory has 99 MiB left, store.free_mb_min is 100"
            )
            assert (await here.send(["new"])) == [f"refused: {status.trouble}"]
            # the peer gives up its connections: what was begun is in doubt, and that is written
            here.sink.manner = "good"
            here.sink.hang_up()
            await here.until(lambda: here.worker.status().in_hand == 0)
            assert any(one.kind == "in_doubt" for one in here.outcomes())
            await here.until(lambda: here.worker.now() > soon)
            assert here.state("soon") == "scheduled"
            ready = [n for n in range(100) if here.state(f"p{n}") == "ready"]
            assert ready, "most never were handed over"
            free.disk = 105 * MIB
            assert here.worker.status().trouble, "a tenth more is asked for before it goes on"
            free.disk = 200 * MIB
            await here.until(lambda: here.ends() == {"delivered": 101})
            assert (await here.send(["new"])) == ["accepted"]

    asyncio.run(story())


def test_too_little_memory_stops_intake(tmp_path: Path) -> None:
    free = Free()
    ports = free.ports()
    room = Room(tmp_path, 100, 50, ports.disk_free, ports.memory_free)
    assert room.look() == ""
    free.memory = 49 * MIB
    assert room.look() == "49 MiB of memory are left, workers.memory_free_mb_min is 50"
    free.memory = 54 * MIB
    assert room.look() != ""
    free.memory = 56 * MIB
    assert room.look() == ""
    free.memory = None
    assert room.look() == ""


def test_this_machine_tells_its_room(tmp_path: Path) -> None:
    room = Room(tmp_path, 0, 0)
    assert room.look() == ""
    assert room.disk_free > 0
    assert room.memory_free > 0


# ---- damage


def _lived_in(folder: Path) -> Path:
    """Make a store with rows in its log, as after a SIGKILL. Returns its folder."""
    script = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.actors.operations.living import config_of, living\n"
        "async def story():\n"
        "    async with living(config_of(Path(sys.argv[1]))) as here:\n"
        "        for n in range(50):\n"
        "            await here.send([f'p{n}'])\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(story())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=False, timeout=60)
    return store_path(folder, 0, 1)


def _start(folder: Path) -> None:
    config = config_of(folder)
    publish_hello(config)

    async def once() -> None:
        worker = Worker(WorkerSettings(0, 1, config.data_dir, config))
        try:
            await worker.start()
        finally:
            await worker.stop()

    asyncio.run(once())


def _flip(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 0xFF
    file.write_bytes(raw)


def test_a_damaged_log_refuses_to_start_and_names_the_store(tmp_path: Path) -> None:
    store = _lived_in(tmp_path)
    log = max(store.glob("*.log"), key=lambda path: path.stat().st_size)
    whole = log.read_bytes()
    for part in (0.1, 0.5, 0.9):
        _flip(log, int(len(whole) * part))
        with pytest.raises(DamageError, match="0-of-1: Corruption"):
            _start(tmp_path)
        log.write_bytes(whole)
    _start(tmp_path)


def test_damage_in_control_rows_refuses_to_start(tmp_path: Path) -> None:
    store = _lived_in(tmp_path)
    rows = RocksStore(store, 8)
    rows._db.flush()
    rows._db.compact_range(None, None)
    rows.close()
    for table in store.glob("*.sst"):
        size = table.stat().st_size
        for at in range(64, size, 97):
            _flip(table, at)
    with pytest.raises(DamageError, match="0-of-1"):
        _start(tmp_path)


def test_damage_that_is_met_later_stops_the_worker_and_says_so(tmp_path: Path) -> None:
    """A store that turns out damaged while it runs decides nothing more; intake is refused by its name."""

    async def story() -> None:
        made: list[Turning] = []

        async def opened(settings: WorkerSettings) -> Turning:
            store = await open_store(settings)
            assert isinstance(store, RocksStore)
            made.append(Turning(store))
            return made[0]

        async with living(config_of(tmp_path), Ports(open_store=opened)) as here:
            assert await here.send(["ann"]) == ["accepted"]
            made[0].damaged = True
            with pytest.raises(DamageError, match="block checksum"):
                await here.send(["bob"])
            told = (await here.send(["carl"]))[0]
            assert told.startswith("refused: its store is damaged: store x: Corruption")
            assert here.worker.status().trouble == told.removeprefix("refused: ")

    asyncio.run(story())


class Turning:
    """A store that turns bad."""

    def __init__(self, inner: RocksStore) -> None:
        self.inner = inner
        self.damaged = False
        self.scan = inner.scan
        self.stand = inner.stand
        self.commit = inner.commit
        self.reopen = inner.reopen
        self.close = inner.close

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.damaged and keys:
            raise DamageError("store x: Corruption: block checksum mismatch")
        return self.inner.get(keys)


def test_a_store_that_fails_once_is_opened_again(tmp_path: Path) -> None:
    async def story() -> None:
        made: list[FailingOnce] = []

        async def opened(settings: WorkerSettings) -> FailingOnce:
            store = await open_store(settings)
            assert isinstance(store, RocksStore)
            made.append(FailingOnce(store))
            return made[0]

        async with living(config_of(tmp_path), Ports(open_store=opened)) as here:
            made[0].failures = 1
            with pytest.raises(StoreError, match="no space"):
                await here.send(["ann"])
            await here.until(lambda: not here.worker.status().trouble)
            assert await here.send(["ann"]) == ["accepted"]
            await here.until(lambda: here.ends() == {"delivered": 1})
            assert here.worker.status().store_failures == 1

    asyncio.run(story())


class FailingOnce:
    """A store whose next commits fail."""

    def __init__(self, inner: RocksStore) -> None:
        self.inner = inner
        self.failures = 0
        self.get = inner.get
        self.scan = inner.scan
        self.stand = inner.stand
        self.reopen = inner.reopen
        self.close = inner.close

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        if self.failures:
            self.failures -= 1
            raise StoreError("no space left on device")
        return self.inner.commit(batches)
