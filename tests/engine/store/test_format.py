"""A data directory says what it is; what can't be read for certain is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.errors import DamageError, RefusedError
from engine.store.format import (
    FORMAT_FILE,
    VERSION,
    DataFormat,
    begin_replay,
    read_format,
    settle,
    store_path,
)


def test_a_new_directory_is_written_down_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert settle(folder, 256, 2) == DataFormat(VERSION, 256, 2)
    assert read_format(folder) == DataFormat(VERSION, 256, 2)
    assert settle(folder, 256, 2) == DataFormat(VERSION, 256, 2)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).write_bytes(b'{"version": 99, "layout": {"unknown": true}}')
    with pytest.raises(RefusedError, match=r"format 99.*up to 3.*newer"):
        settle(tmp_path, 256, 2)


def test_another_number_of_workers_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    settle(tmp_path, 256, 2)
    with pytest.raises(RefusedError, match=r"made for 2 workers, and 3.*workers.count = 2"):
        settle(tmp_path, 256, 3)


def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    settle(tmp_path, 256, 2)
    with pytest.raises(RefusedError, match=r"256 partitions.*store.partitions = 256"):
        settle(tmp_path, 512, 2)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": "1"}'])
def test_a_file_that_cant_be_read_is_damage(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / FORMAT_FILE).write_bytes(raw)
    with pytest.raises(DamageError, match=FORMAT_FILE):
        settle(tmp_path, 256, 2)


def test_a_directory_from_before_the_file_is_migrated_by_its_stores(tmp_path: Path) -> None:
    for index in range(2):
        store_path(tmp_path, index, 2).mkdir(parents=True)
    with pytest.raises(RefusedError, match="made for 2 workers"):
        settle(tmp_path, 256, 4)
    assert settle(tmp_path, 256, 2) == DataFormat(VERSION, 256, 2)


def test_stores_of_two_numbers_are_never_guessed_about(tmp_path: Path) -> None:
    store_path(tmp_path, 0, 2).mkdir(parents=True)
    store_path(tmp_path, 0, 3).mkdir(parents=True)
    with pytest.raises(RefusedError, match="2 and of 3 workers"):
        settle(tmp_path, 256, 2)


def test_migrations_run_in_order_and_a_cut_short_one_is_repeated(tmp_path: Path) -> None:
    raw = msgspec.json.encode({"version": -1, "partitions": 4, "stores": 1})
    (tmp_path / FORMAT_FILE).write_bytes(raw)
    ran: list[str] = []

    def first(folder: Path, found: DataFormat) -> DataFormat:
        ran.append(f"first of {found.version}")
        if len(ran) == 1:
            raise OSError("the power failed")
        return found

    def second(folder: Path, found: DataFormat) -> DataFormat:
        ran.append(f"second of {found.version}")
        return msgspec.structs.replace(found, partitions=8)

    migrations = {-1: first, 0: second, **dict.fromkeys(range(1, VERSION), lambda _, found: found)}
    with pytest.raises(OSError, match="power"):
        settle(tmp_path, 8, 1, migrations=migrations)
    assert settle(tmp_path, 8, 1, migrations=migrations) == DataFormat(VERSION, 8, 1)
    assert ran == ["first of -1", "first of -1", "second of 0"]
    assert settle(tmp_path, 8, 1, migrations=migrations) == DataFormat(VERSION, 8, 1)
    assert len(ran) == 3


def test_a_version_without_migration_is_refused(tmp_path: Path) -> None:
    raw = msgspec.json.encode({"version": -7, "partitions": 4, "stores": 1})
    (tmp_path / FORMAT_FILE).write_bytes(raw)
    with pytest.raises(RefusedError, match="format -7, which can't be migrated"):
        settle(tmp_path, 4, 1)


def test_a_replay_never_throws_an_instance_away(tmp_path: Path) -> None:
    assert begin_replay(tmp_path, 64, 2).purpose == "replay"
    assert begin_replay(tmp_path, 64, 1) == DataFormat(VERSION, 64, 1, "replay")
    assert settle(tmp_path, 64, 1).purpose == "instance"
    with pytest.raises(RefusedError, match="data of an instance"):
        begin_replay(tmp_path, 64, 1)
    assert read_format(tmp_path) == DataFormat(VERSION, 64, 1, "instance")


def test_a_worker_without_partitions_is_refused(tmp_path: Path) -> None:
    """More workers than partitions would leave some without anything to do, and the number is fixed for ever."""
    with pytest.raises(RefusedError, match="33 workers can't share 32 partitions"):
        settle(tmp_path, 32, 33)
    with pytest.raises(RefusedError, match="5 workers can't share 4 partitions"):
        begin_replay(tmp_path, 4, 5)
    assert settle(tmp_path, 4, 4).stores == 4
