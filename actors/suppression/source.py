"""Tells other nodes of the suppression list: reads what the desk writes, on the desk's node, and answers questions.

It depends on the desk's files only, so it lives in a process of its own and may begin anew at any time.
"""

from __future__ import annotations

__all__ = ("Source", "list_id_of")

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from actors.suppression.files import changes_path, current_version, key_of, map_raw, packed_path
from deliverability.suppression.broadcast import (
    PAGE_BYTES,
    Asked,
    Backlog,
    News,
    PageAsked,
    Snapshot,
)
from deliverability.suppression.packed import Buffer
from engine.errors import DamageError, VeredusError

log = structlog.get_logger()

LOOK_S = 0.02
FETCHED_MS = (
    60_000  # a sorted file that was replaced is kept so long after the last page was asked for
)


def list_id_of(key: bytes) -> str:
    """Name a list by its key, which it tells nothing of."""
    return hashlib.sha256(b"veredus suppression list\0" + key).hexdigest()[:16]


class Source:
    """Answers for the list in a folder.

    Args:
        data_dir: where key and list of the instance are.
        monotonic_ms: measures how long a question waited.

    One loop calls it. No method raises for files that can't be read: then there is no answer, which is what a node
    hears of a source that is away.
    """

    def __init__(self, data_dir: Path, monotonic_ms: Callable[[], int]) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / "suppression"
        self._monotonic_ms = monotonic_ms
        self._backlog: Backlog | None = None
        self._mark: tuple[int, int] | None = None  # of `current`
        self._changes = -1
        self._read = 0
        self._files: dict[
            int, tuple[Buffer, int]
        ] = {}  # sorted files, and when a page was asked for
        self._snapshots: dict[int, Snapshot] = {}
        self._base = 0
        self._looked_at = 0
        self._waiting = 0
        self._came = asyncio.Event()
        self._looker: asyncio.Task[None] | None = None
        self._failed = False

    def key(self) -> bytes:
        """Give the key that addresses are hashed with. Raises: StoreError."""
        return key_of(self._data_dir)

    async def news(self, asked: Asked) -> News | None:
        """Tell what came after a place; waits for something if there is nothing. None: not known now."""
        began = self._monotonic_ms()
        if not self._look():
            return None
        assert self._backlog is not None, "a look that went well knows the list"
        news = self._backlog.answer(asked)
        if news is None:
            news = await self._from_snapshot(asked)
        elif not news.frames and asked.wait_ms:
            await self._wait(min(asked.wait_ms, 10_000))
            later = self._backlog.answer(asked)
            news = later if later is not None else news
            waited = max(self._looked_at - began, 0)  # the last look began then
            return News(
                news.list_id,
                news.after,
                news.version,
                news.stamp,
                news.frames,
                news.more,
                waited,
            )
        return news

    def page(self, asked: PageAsked) -> bytes:
        """Give a page of a sorted file; empty: there is no such file any more."""
        held = self._files.get(asked.version)
        if held is None:
            return b""
        raw = held[0]
        self._files[asked.version] = (raw, self._monotonic_ms())
        return bytes(raw[asked.at : asked.at + PAGE_BYTES])

    # ---- inside

    async def _wait(self, wait_ms: int) -> None:
        self._waiting += 1
        if self._looker is None or self._looker.done():
            self._looker = asyncio.get_running_loop().create_task(self._keep_looking())
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._came.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def _keep_looking(self) -> None:
        """Look for all who wait, as long as somebody does."""
        while self._waiting:
            before = self._backlog.version if self._backlog is not None else -1
            self._look()
            if self._backlog is not None and self._backlog.version != before:
                self._came.set()
                self._came = asyncio.Event()
            await asyncio.sleep(LOOK_S)

    async def _from_snapshot(self, asked: Asked) -> News | None:
        """Answer a node that is too far behind, or of another history."""
        assert self._backlog is not None, "called after a look"
        version = self._base
        snapshot = self._snapshots.get(version)
        if snapshot is None:
            raw = self._files[version][0]
            digest = await asyncio.to_thread(lambda: hashlib.sha256(raw).digest())
            snapshot = self._snapshots[version] = Snapshot(version, len(raw), digest)
        self._backlog.know(snapshot)
        news = self._backlog.answer(asked)  # it may have just this file
        if news is not None:
            return news
        if version in self._files:
            self._files[version] = (self._files[version][0], self._monotonic_ms())
        list_id = self._backlog.list_id
        return News(list_id, asked.version, version, 0, snapshot=snapshot)

    def _look(self) -> bool:
        started = self._monotonic_ms()
        try:
            self._read_files()
        except (OSError, VeredusError) as error:
            if not self._failed:
                log.warning("suppression_source_away", folder=str(self._folder), error=str(error))
            self._failed = True
            return False
        self._failed = False
        self._looked_at = started
        return True

    def _read_files(self) -> None:
        stat = (self._folder / "current").stat()
        mark = (stat.st_ino, stat.st_mtime_ns)
        if mark == self._mark:
            self._read_changes()
            return
        if self._changes >= 0:
            self._read_changes()  # what was written to the old file last
        version = current_version(self._folder)
        if version is None:
            raise DamageError(f"{self._folder}: there is no suppression list")
        raw = map_raw(packed_path(self._folder, version))
        changes = os.open(changes_path(self._folder, version), os.O_RDONLY)
        if self._changes >= 0:
            os.close(self._changes)
        self._changes, self._read = changes, 0
        if self._backlog is None:
            self._backlog = Backlog(list_id_of(self.key()), version)
            self._read_former(version)
        else:
            self._backlog.rebase(version)
        self._base = version
        now = self._monotonic_ms()
        self._files = {
            number: held for number, held in self._files.items() if held[1] > now - FETCHED_MS
        }
        self._files[version] = (raw, now)
        self._snapshots = {n: one for n, one in self._snapshots.items() if n in self._files}
        self._mark = mark
        self._read_changes()

    def _read_former(self, version: int) -> None:
        """After a beginning: know the changes that led to the sorted file, for nodes that have some of them."""
        assert self._backlog is not None, "called when there is one"
        older = [int(path.stem) for path in self._folder.glob("*.changes") if path.stem.isdigit()]
        former = max((number for number in older if number < version), default=None)
        if former is None:
            return
        led = Backlog(self._backlog.list_id, former)
        led.append(changes_path(self._folder, former).read_bytes())
        if led.version == version:
            led.rebase(version)
            self._backlog = led

    def _read_changes(self) -> None:
        assert self._backlog is not None, "files are read after it is made"
        size = os.fstat(self._changes).st_size
        if size > self._read:
            raw = os.pread(self._changes, size - self._read, self._read)
            self._read += self._backlog.append(raw)
