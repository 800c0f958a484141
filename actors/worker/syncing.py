"""Waits for the sync of what a tick wrote, in a thread of its own where the disk is slow and there is other work.

A sync takes from a fraction of a millisecond to many. Where it takes long, the loop meanwhile reads replies, composes
and sends what earlier ticks handed over; only what follows from this tick waits, and whoever wants to read what may
not last. Where it is quick the loop waits: a thread that needs the GIL twice would come back later than the disk.
"""

from __future__ import annotations

__all__ = ("SLOW_S", "Syncing")

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from engine.store.protocol import LazyStore, Store

SLOW_S = 0.0015
"""A sync that takes so long is worth a thread."""
FOLLOWS = 0.2  # of the newest sync in what one is taken to cost
LOOK_EVERY = 32
"""Each so manieth sync of a slow disk is waited for: in a thread its time isn't the disk's alone."""


class Syncing:
    """The syncs of one worker, one after the other. Make it in the worker's loop.

    Args:
        store: whose commits are synced here, if it can defer that.
        slow_s: what counts as slow; 0: everything does.
    """

    def __init__(self, store: Store, slow_s: float = SLOW_S) -> None:
        self._slow_s = slow_s
        self._cost_s = 0.0
        self._slow_ones = 0
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
        """Make durable what was committed; `aside`: there is work to leave the loop to meanwhile.

        Raises: StoreError as a commit does.
        """
        self.others_s = 0.0
        if self._store is None or not self._store.unsynced:
            return
        if not aside or not self._is_slow():
            began = time.perf_counter()
            self._store.sync()
            self._cost_s += FOLLOWS * (time.perf_counter() - began - self._cost_s)
            return
        begin = time.thread_time()
        self._durable.clear()
        try:
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(self._thread, self._store.sync))
        finally:
            self._durable.set()
            self.others_s = time.thread_time() - begin

    def _is_slow(self) -> bool:
        if not self._slow_s:
            return True
        if self._cost_s < self._slow_s:
            return False
        self._slow_ones += 1
        return self._slow_ones % LOOK_EVERY != 0

    async def durable(self) -> None:
        """Wait until all that can be read is durable; it is so until the loop turns again."""
        while not self._durable.is_set():
            await self._durable.wait()

    def close(self) -> None:
        """Let a sync that is under way end."""
        self._thread.shutdown()
