"""Content goes when no message needs it any more: not before the last one has ended, in doubt or held up counts."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from actors.cli.main import run as veredus
from actors.gateway.server import Gateway
from actors.instance.blob_keeper import BlobKeeper
from engine.store.blob_files import blob_files
from engine.store.format import settle
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded, wall_ms

DAY = 86_400_000
LATER = "2099-01-01T00:00:00Z"


async def post(here: Embedded, body: Any) -> None:
    gateway = Gateway(here.config, here.backend, CollectorRegistry(), injector=here.injector)
    async with network_client(gateway) as client:
        response = await client.post("/v1/messages", json=body)
    assert response.status_code == 202, response.text


def with_attachment(text: str, **more: Any) -> dict[str, Any]:
    return {
        "inline": {"subject": "Yours", "html": f"<p>{text}</p>"},
        "attachments": [{"name": "a.txt", "content": base64.b64encode(text.encode()).decode()}],
        "to": [{"address": "ann@inbox.example"}],
        "idempotency_key": text,
        **more,
    }


def contents(folder: Path) -> set[bytes]:
    found = {file.read_bytes() for file in blob_files(folder / "blobs")}
    return {one for one in found if not one.startswith(b"{")}


def aged(folder: Path) -> None:
    for file in blob_files(folder / "blobs"):
        at = (wall_ms() - 3 * DAY) * 1_000_000
        os.utime(file, ns=(at, at))


def test_content_goes_with_its_last_message(tmp_path: Path) -> None:
    """What waits keeps template, attachment and segment; what is delivered doesn't; a second sweep frees the disk."""
    config = config_of(tmp_path)

    async def run() -> None:
        async with embedded(config) as here:
            now = wall_ms()
            keeper = BlobKeeper(config, lambda s: here.backend.blobs(start=s), lambda: now)
            assert await keeper.look() is None  # nothing was ever brought
            await post(here, with_attachment("now"))
            await post(here, with_attachment("later", send_at=LATER))
            await here.until(lambda: len(here.mails) == 1)
            swept = await keeper.look()
            assert swept is not None
            assert swept.set_aside == 0  # all of it is young
            aged(Path(config.data_dir))
            swept = await keeper.look()
            assert swept is not None
            assert (swept.kept, swept.set_aside) == (2, 2)
            now += 2 * DAY
            swept = await keeper.look()
            assert swept is not None
            assert swept.removed == 2
            assert contents(Path(config.data_dir)) == {b"later"}

    asyncio.run(run())


def test_a_look_that_fails_or_is_partial_sweeps_nothing(tmp_path: Path) -> None:
    """Who isn't asked may need anything."""
    config = config_of(tmp_path)

    async def run() -> None:
        async with embedded(config) as here:
            await post(here, with_attachment("now"))
            aged(Path(config.data_dir))

            async def partial(start: bool) -> Any:  # as the keeper calls it
                told = await here.backend.blobs(start=start)
                numbers = told[0].numbers[1:]
                return [type(told[0])(told[0].state, numbers, told[0].references)]

            assert await BlobKeeper(config, partial, wall_ms).look() is None
            assert contents(Path(config.data_dir)) == {b"now"}

    asyncio.run(run())


def test_a_directory_that_is_down_tells_and_removes_at_once(tmp_path: Path, capsys: Any) -> None:
    """`veredus store blobs`, first without `--remove`."""
    config = config_of(tmp_path)
    settle(tmp_path, config.store.partitions, 1)

    async def run() -> None:
        async with embedded(config) as here:
            await post(here, with_attachment("now"))
            await post(here, with_attachment("later", send_at=LATER))
            await here.until(lambda: len(here.mails) == 1)

    asyncio.run(run())
    folder = str(config.data_dir)
    capsys.readouterr()
    assert veredus(["store", "blobs", "--data", folder]) == 0
    assert "2 files" in capsys.readouterr().out
    assert contents(Path(folder)) == {b"now", b"later"}
    assert veredus(["store", "blobs", "--remove", "--data", folder]) == 0
    assert "were removed" in capsys.readouterr().out
    assert contents(Path(folder)) == {b"later"}
