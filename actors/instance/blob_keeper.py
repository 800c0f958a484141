"""Removes content that no message needs any more: all workers say what they need, then the folder is swept.

Every so often, at least once within the time that such content is kept. Nothing is swept unless every partition was
looked through; what a sweep does is told in the log (`blobs_swept`).
"""

from __future__ import annotations

__all__ = ("BlobKeeper",)

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from actors.operations.blob_marks import BlobMarks, needed_of
from actors.worker.injected import BLOBS_FOLDER
from engine.config import Config
from engine.errors import VeredusError
from engine.store.blob_files import BlobFiles, Swept, sweep

log = structlog.get_logger()

FIRST_S = 600.0
LOOK_S = 2.0
HOUR_MS = 3_600_000

Ask = Callable[[bool], Awaitable[Sequence[BlobMarks]]]
"""Asks every worker what it needs; True: let it look anew."""


class BlobKeeper:
    """One for an instance.

    Args:
        config: how long content is kept.
        ask: asks all workers.
        now: wall time, ms.
    """

    def __init__(self, config: Config, ask: Ask, now: Callable[[], int]) -> None:
        self._folder = Path(config.data_dir) / BLOBS_FOLDER
        self._kept_ms = config.store.blobs_kept_hours * HOUR_MS
        self._partitions = set(range(config.store.partitions))
        self._ask = ask
        self._now = now

    async def run(self) -> None:
        """Sweep for ever, now and then; not at all where content is kept for ever."""
        wait_s = FIRST_S
        while self._kept_ms:
            await asyncio.sleep(wait_s)
            wait_s = self._kept_ms / 1000
            try:
                await self.look()
            except VeredusError as error:
                log.warning("blobs_not_swept", error=str(error)[:300])

    async def look(self) -> Swept | None:
        """Look and sweep once. None: there is nothing, or it isn't known what is needed.

        Raises: VeredusError: a worker can't be asked, a file can't be moved.
        """
        if not self._folder.is_dir():
            return None
        began = self._now()
        told = await self._ask(True)
        while any(one.state == "running" for one in told):
            await asyncio.sleep(LOOK_S)
            told = await self._ask(False)
        seen = {number for one in told if one.state == "done" for number in one.numbers}
        if seen != self._partitions:
            why = next((one.why for one in told if one.why), "some are on their way")
            log.info("blobs_not_swept", missing=len(self._partitions - seen), why=why)
            return None
        references = {name for one in told for name in one.references}

        def work() -> Swept:
            needed = needed_of(references, BlobFiles(self._folder))
            return sweep(self._folder, needed, began, self._kept_ms)

        swept = await asyncio.to_thread(work)
        if swept.set_aside or swept.restored or swept.removed:
            log.info(
                "blobs_swept",
                kept=swept.kept,
                set_aside=swept.set_aside,
                restored=swept.restored,
                removed=swept.removed,
                freed_bytes=swept.freed_bytes,
            )
        return swept
