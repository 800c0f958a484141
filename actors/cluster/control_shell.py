"""The actor that controls: the `Controller`, and beside it the governor and who places partitions."""

from __future__ import annotations

__all__ = ("ControllerShell",)

import os
import time
from pathlib import Path
from typing import Any

from actors.cluster.controller import Controller, Registration
from actors.cluster.governing import GoverningDesk, budgets_of, ledger_unlocked
from actors.cluster.placing import PlacingDesk
from actors.pacing_desk import PacingQuestion, pacing_desk_of
from actors.pacing_views import PacingView
from actors.suppression.source import Source
from actors.worker import wire
from deliverability.governor import Limit
from deliverability.leasing.terms import Ask
from deliverability.pacing.exchange import PaceAsk
from deliverability.suppression.broadcast import Asked, PageAsked
from engine.config import Config
from engine.errors import RefusedError
from engine.other_versions import decode_known
from engine.placement.steward import Report


class ControllerShell:
    """What Ray runs: the `Controller`, and the governor beside it."""

    def __init__(
        self,
        folder: str,
        run: int,
        partitions: int,
        owners: int,
        senders: int,
        limits: bytes,
        *,
        placed: bool,
        config: bytes = b"",
    ) -> None:
        self._controller = Controller(Path(folder), run, partitions, owners, senders)
        budget_of = budgets_of(wire.decode(list[Limit], limits))
        mono_ms = lambda: time.monotonic_ns() // 1_000_000  # noqa: E731
        is_over = ledger_unlocked(Path(folder))
        self._governor = GoverningDesk(Path(folder), run, budget_of, mono_ms, is_over)
        wall_ms = lambda: time.time_ns() // 1_000_000  # noqa: E731
        decoded = decode_known(config, Config) if config else None
        self._pacing = pacing_desk_of(Path(folder), decoded, wall_ms) if decoded else None
        names = [f"w{number}" for number in range(owners)]
        self._folder = Path(folder)
        self._source: Source | None = None
        self._placing = PlacingDesk(Path(folder), partitions, names, mono_ms) if placed else None

    async def report(self, raw: bytes) -> bytes:
        """Hear what a worker holds; answer with orders. Repeated or late ones have no effect."""
        report, version = wire.decode(tuple[Report, int], raw)
        return wire.encode(self._placer().report(report, version))

    async def placement(self) -> bytes:
        """Tell who owns what."""
        placing = self._placing
        if placing is None:
            return wire.encode(None)
        placing.look()
        return wire.encode(placing.view())

    async def drain(self, worker: str, back: int) -> None:
        """Take all partitions from a worker, or let it have some again. Idempotent."""
        self._placer().drain(worker, back=bool(back))

    async def forget(self, worker: str) -> None:
        """Hear that a worker has gone for good. Idempotent."""
        self._placer().forget(worker)
        self._controller.forget(worker)
        self._governor.ended(worker)

    async def rebalance(self) -> int:
        """Place by load. Returns how many partitions will move."""
        return self._placer().rebalance()

    def _placer(self) -> PlacingDesk:
        if self._placing is None:
            raise RefusedError(
                "partitions of this instance don't move: each worker has a store of its own",
                mend='store.kind = "redis" lets them',
            )
        return self._placing

    async def lease(self, raw: bytes) -> bytes:
        """Answer an egress that asks for leases. A repeated or late question has no answer and no effect."""
        return wire.encode(self._governor.ask(wire.decode(Ask, raw)))

    async def pace(self, raw: bytes) -> bytes:
        """Answer a sender that asks for messages to start. A repeated or late question has no answer and no effect."""
        assert self._pacing is not None, "who asks is paced"
        return wire.encode(self._pacing.ask(wire.decode(PaceAsk, raw)))

    async def pacing(self, raw: bytes) -> bytes:
        """Tell how lanes are doing, and hear what feedback says of them."""
        question = wire.decode(PacingQuestion, raw)
        view = self._pacing.tell(question) if self._pacing is not None else PacingView(on=False)
        return wire.encode(view)

    async def budgets(self) -> bytes:
        """Tell how much of each limit is promised."""
        return wire.encode(self._governor.uses())

    async def register(self, raw: bytes, workers: list[Any]) -> bytes:
        """Hear of a worker's life, with its handle. Idempotent."""
        registration = wire.decode(Registration, raw)
        worker = workers[0]
        self._governor.begins(registration.name, registration.incarnation)

        async def publish() -> int:
            version: int = await worker.publish.remote()
            return version

        return wire.encode(self._controller.register(registration, publish))

    async def publish(self, version: int) -> dict[str, int]:
        """Let all workers look for a catalog. Idempotent."""
        return await self._controller.publish(version)

    async def suppression_key(self) -> bytes:
        """Give the key that addresses of the list are hashed with, to a node that shares no folder."""
        return self._news().key()

    async def suppression_news(self, raw: bytes) -> bytes:
        """Tell a node what came to the suppression list; waits for something if there is nothing yet."""
        return wire.encode(await self._news().news(wire.decode(Asked, raw)))

    async def suppression_page(self, raw: bytes) -> bytes:
        """Give a node a page of the list's sorted file; empty: it is there no more."""
        return self._news().page(wire.decode(PageAsked, raw))

    def _news(self) -> Source:
        """Give what answers for the list. These three are called in a concurrency group: it has one loop."""
        if self._source is None:
            self._source = Source(self._folder, lambda: time.monotonic_ns() // 1_000_000)
        return self._source

    async def home(self) -> str:
        """Name the node that this runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    async def pid(self) -> int:
        """Tell its process."""
        return os.getpid()

    async def view(self) -> bytes:
        """Tell everything."""
        return wire.encode(self._controller.view())
