"""Waits for the sync of what a tick wrote, in a thread of its own where there is something else to be getting on with.

A sync takes from a fraction of a millisecond to many. Meanwhile the loop reads replies, composes and sends what earlier
ticks handed over; only what follows from this tick waits, and whoever wants to read what may not last.
"""

from __future__ import annotations

__all__ = ("Syncing",)

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from engine.store.protocol import LazyStore, Store


class Syncing:
    """The syncs of one worker, one after the other. Make it in the worker's loop."""

    def __init__(self, store: Store) -> None:
        self._store = store if isinstance(store, LazyStore) else None
        if self._store is not None:
            self._store.defer()
        self._thread = ThreadPoolExecutor(1, "sync")
        self._durable = asyncio.Event()
        self._durable.set()
        self.others_s = 0.0
        """CPU, s, that others had in the loop while it waited for the last sync."""

    @property
    def under_way(self) -> bool:
        """Whether something that was written isn't known to be durable yet."""
        return not self._durable.is_set()

    async def sync(self, *, aside: bool) -> None:
        """Make durable what was committed; `aside`: leave the loop to others meanwhile.

        Raises: StoreError as a commit does.
        """
        self.others_s = 0.0
        if self._store is None or not self._store.unsynced:
            return
        if not aside:
            self._store.sync()
            return
        begin = time.thread_time()
        self._durable.clear()
        try:
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(self._thread, self._store.sync))
        finally:
            self._durable.set()
            self.others_s = time.thread_time() - begin

    async def durable(self) -> None:
        """Wait until all that can be read is durable; it is so until the loop turns again."""
        while not self._durable.is_set():
            await self._durable.wait()

    def close(self) -> None:
        """Let a sync that is under way end."""
        self._thread.shutdown()
