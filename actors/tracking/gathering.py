"""Gathers what many requests tell into few calls: one call of the engine costs more than a hundred requests."""

from __future__ import annotations

__all__ = ("Gatherer",)

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from actors.backend import ItemResult
from deliverability.returned import Reported
from engine.errors import CapacityError, VeredusError

WAIT_S = 0.004
BATCH_MAX = 500
WAITING_MAX = 5000


class Gatherer:
    """Tells in batches. Each `tell` answers when its own report is durable.

    Args:
        told: takes a batch (`Backend.returned`).
    """

    def __init__(self, told: Callable[[Sequence[Reported]], Awaitable[list[ItemResult]]]) -> None:
        self._told = told
        self._waiting: list[tuple[Reported, asyncio.Future[ItemResult]]] = []
        self._task: asyncio.Task[None] | None = None

    async def tell(self, report: Reported) -> ItemResult:
        """Tell one report. Raises: CapacityError: it wasn't taken. StoreError: it may have been."""
        if len(self._waiting) >= WAITING_MAX:
            raise CapacityError("reports of recipients")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ItemResult] = loop.create_future()
        self._waiting.append((report, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    async def _run(self) -> None:
        """Give batches until nothing waits; the next report begins anew."""
        await asyncio.sleep(WAIT_S)
        while self._waiting:
            batch = self._waiting[:BATCH_MAX]
            del self._waiting[:BATCH_MAX]
            try:
                results = await self._told([report for report, _ in batch])
            except VeredusError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        self._task = None
