"""A process that takes mail by SMTP, and kills itself between the sync and the 250, or between blobs and entity.

    python -m tests.actors.submission.killed FOLDER TWIN_PORT PORT MOMENT NUMBER

`MOMENT` is `accepted` (after the sync, before the answer), `kept` (content durable, nothing accepted) or `never`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry

from actors.backend import Backend, SendRequest, SendResult
from actors.submission.listener import Submission
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from engine.config import Submission as Door
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded, wall_ms


class _Killing:
    """A backend whose process dies around its n-th acceptance."""

    def __init__(self, here: Embedded, moment: str, number: int) -> None:
        self._backend = here.backend
        self._moment = moment
        self._left = number

    async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        self._left -= len(requests)
        if self._moment == "kept" and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        results = await self._backend.send(requests)
        if self._moment == "accepted" and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return results


async def main(folder: Path, twin_port: int, port: int, moment: str, number: int) -> None:
    config = msgspec.structs.replace(config_of(folder), submission=Door(port=port))
    async with embedded(config, twin_port) as here:
        backend = cast(Backend, cast(Any, _Killing(here, moment, number)))
        heads = letterheads(config, secret_of)
        door = Submission(config, backend, here.injector, heads, CollectorRegistry(), wall_ms)
        await door.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
        await door.stop()
        law = await here.law()
        sys.stdout.write(msgspec.json.encode(law).decode() + "\n")


if __name__ == "__main__":
    folder, twin_port, port, moment, number = sys.argv[1:]
    asyncio.run(main(Path(folder), int(twin_port), int(port), moment, int(number)))
