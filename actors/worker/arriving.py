"""Inputs of partitions that are on their way here wait for them a moment, in place of being sent back and forth.

A partition that moves has no owner for as long as a report and a claim take. Who asks its next owner meanwhile would be
told to look elsewhere, look, come back, and so miss the moment when it is there.
"""

from __future__ import annotations

__all__ = ("WAIT_S", "Arriving")

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from actors.worker.holding import Holding

WAIT_S = 0.5
"""Longer than a move takes; then the caller looks again who owns what."""


class Arriving:
    """Who waits for partitions of one worker. Make it in the worker's loop.

    Args:
        holding: the partitions, had and to come.
        bound: so many inputs wait at most; further ones aren't made to wait.
        wait_s: nobody waits for longer.
    """

    def __init__(self, holding: Holding, bound: int, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._holding = holding
        self._bound = bound
        self._waiting = 0
        self._taken = asyncio.Event()

    async def wait(self, partitions: Iterable[int], inputs: int) -> None:
        """Wait until none of these is on its way any more, or for a while; at once when none is."""
        if not self._holding.incomplete:
            return
        numbers = set(partitions)
        if not self._holding.coming(numbers) or self._waiting + inputs > self._bound:
            return
        self._waiting += inputs
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    while self._holding.coming(numbers):
                        await self._taken.wait()
        finally:
            self._waiting -= inputs

    def took(self) -> None:
        """Say that partitions came, or that what is ours changed."""
        self._taken.set()
        self._taken = asyncio.Event()
