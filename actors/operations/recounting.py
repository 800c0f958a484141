"""A recount in a running worker: in slices between its ticks, over a view that doesn't change."""

from __future__ import annotations

__all__ = ("REST_PER_WORK", "Recounting", "view_of")

import asyncio
import time
from typing import Literal, Protocol, runtime_checkable

import msgspec
import structlog

from actors.backend import Recount
from actors.operations.counting import Counted, StoreCount, Tells, View
from engine.errors import StoreError
from engine.host import Host
from engine.store.protocol import Store

log = structlog.get_logger()

REST_PER_WORK = 1.0
"""A slice is followed by a rest of so many times its length, so that a busy worker keeps half of its time or more."""


@runtime_checkable
class _Viewed(Protocol):
    """A store that can give a consistent view."""

    def view(self) -> _Closable:
        """Take it."""


class _Closable(View, Protocol):
    def close(self) -> None:
        """Let go of it."""


def view_of(store: Store) -> _Closable | None:
    """Take a view of a store that doesn't change; None: it can't give one."""
    return store.view() if isinstance(store, _Viewed) else None


class Recounting:
    """The newest recount of one worker, under way or done."""

    def __init__(self) -> None:
        self.recount = Recount()
        self.tells: list[Tells] = []

    async def run(self, host: Host) -> None:
        """Count everything, once. A store that is opened again meanwhile takes its view with it: `failed`."""
        self.recount = Recount("running")
        self.tells = []
        began = time.monotonic()
        store = host.store
        view = view_of(store)
        seen = time.time_ns()
        machines = host.machines
        count = StoreCount(view or store, machines, sorted(host.partitions), seen)
        try:
            while True:
                slice_began = time.monotonic()
                more = count.step()
                if not more:
                    break
                if view is not None:  # without one, all in one go is what is consistent
                    self.recount = _sized("running", count.counted, began)
                    await asyncio.sleep((time.monotonic() - slice_began) * REST_PER_WORK)
        except StoreError as error:
            failed = _sized("failed", count.counted, began)
            self.recount = msgspec.structs.replace(failed, findings=[str(error)])
            log.warning("recount_failed", error=str(error))
            return
        finally:
            if view is not None:
                view.close()
        self._done(count.counted, began)

    def _done(self, counted: Counted, began: float) -> None:
        findings = list(counted.findings)
        if counted.findings_more:
            findings.append(f"and {counted.findings_more} more")
        self.tells = counted.tells
        self.recount = msgspec.structs.replace(
            _sized("done", counted, began),
            agrees=not findings,
            findings=findings,
            law=counted.law,
        )
        if findings:
            log.error("recount_differs", findings=findings[:10])
        else:
            log.info("recount_agrees", entities=counted.entities)


def _sized(state: Literal["running", "done", "failed"], counted: Counted, began: float) -> Recount:
    took = int((time.monotonic() - began) * 1000)
    return Recount(state, entities=counted.entities, rows=counted.rows, took_ms=took)
