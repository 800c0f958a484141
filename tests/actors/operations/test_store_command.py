"""`veredus store` on the data directory of a worker that has stopped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from actors.cli.main import run
from engine.store.format import settle, store_path
from tests.actors.operations.living import _message_id, config_of, living


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stopped")
    settle(made, 4, 1)

    async def story() -> None:
        async with living(config_of(made)) as here:
            await here.send(["ann", "bob", "carl"])
            await here.send(["later"], due=here.worker.now() + 3_600_000)
            await here.until(lambda: here.ends() == {"delivered": 3})
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())
    return made


def out(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    status = run(["store", *map(str, arguments)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def test_check_of_a_sound_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "check", "--data", folder).endswith("8 entities: no damage\n")
    checked = json.loads(out(capsys, "check", "--json", "--data", folder))
    assert (checked["entities"], checked["damage"]) == (8, [])


def test_get_shows_an_entity(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contact = json.loads(out(capsys, "get", "--contact", "ann", "--data", folder))
    assert (contact["kind"], contact["name"], contact["store"]) == ("contact", "ann", "0-of-1")
    message = json.loads(
        out(capsys, "get", "--message", _message_id("later").hex(), "--data", folder)
    )
    assert message["state"]["status"] == "scheduled"
    assert message["place"]["type"] == "at"
    by_key = json.loads(out(capsys, "get", "--key", message["key"], "--data", folder))
    assert by_key == message


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "--contact", "nobody"),
        ("get",),
        ("get", "--contact", "a", "--message", "b"),
        ("get", "--message", "zz"),
        ("get", "--key", "00"),
        ("dump", "nothing"),
        ("check", "--data", "/nowhere/at/all"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    where = () if "--data" in arguments else ("--data", str(folder))
    assert run(["store", *arguments, *where]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_dump_prints_a_line_for_each_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(index: str, *more: str) -> list[dict[str, Any]]:
        text = out(capsys, "dump", index, *more, "--data", folder)
        return [json.loads(line) for line in text.splitlines()]

    assert len(rows("entity")) == 8
    assert len(rows("entity", "--limit", "2")) == 2
    agenda = rows("agenda")
    assert [row["kind"] for row in agenda] == ["message"]
    assert len(rows("retired")) == 3
    assert [len(row["value"]) for row in rows("feed")] == [3]  # entries of one tick share a row
    assert len(rows("stand")) == 4
    assert all("damage" not in row for name in ("record", "tally", "meta") for row in rows(name))


def test_stats_measure_disk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "stats", "--data", folder)
    assert "4 contacts" in text
    found = json.loads(out(capsys, "stats", "--json", "--data", folder))
    assert found["indexes"]["entity"]["rows"] == 8
    assert found["disk_bytes"] > 0
    assert found["disk_bytes_a_contact"] == found["disk_bytes"] / 4


def test_a_damaged_store_fails_the_check(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    table = max(store_path(copy, 0, 1).glob("*.sst"), key=lambda path: path.stat().st_size)
    raw = bytearray(table.read_bytes())
    raw[100] ^= 0xFF
    table.write_bytes(raw)
    assert run(["store", "check", "--data", str(copy)]) == 1
    told = capsys.readouterr()
    assert "0-of-1" in told.out + told.err
    assert "Corruption" in told.out + told.err
