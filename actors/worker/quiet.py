"""When a worker has nothing to do: a replay waits for it before time goes on."""

from __future__ import annotations

__all__ = ("Quiet",)

import asyncio
from collections.abc import Callable

from actors.worker.egress_port import EgressPort
from engine.errors import DamageError
from engine.host import Host


class Quiet:
    """Whether all that is due has happened, and who waits for that.

    Args:
        host: the partitions.
        egress: where messages are in hand.
        clock: the time in use, ms.
        busy: whether inputs wait, or outcomes that aren't durable.
    """

    def __init__(
        self, host: Host, egress: EgressPort, clock: Callable[[], int], busy: Callable[[], bool]
    ) -> None:
        self._host = host
        self._egress = egress
        self._clock = clock
        self._busy = busy
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def now(self) -> bool:
        """Whether nothing is due now, and every message handed over has its outcome."""
        first = self._host.next_due()
        if self._busy() or self._egress.in_hand or (first is not None and first <= self._clock()):
            return False
        return not self._ready_now() and not any(
            p.has_outbox for p in self._host.partitions.values()
        )

    def next_due(self) -> int | None:
        """Give the next time at which something is due: a timer, or the token that a parked message waits for."""
        times = [self._host.next_due()]
        times += [self._egress.parked_until(lane) for lane in self._host.ready_lanes()]
        return min((time for time in times if time is not None), default=None)

    def reached(self) -> asyncio.Future[None]:
        """Give what is done when it is quiet, by the next `look` that finds it so."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def look(self) -> None:
        """Tell those who wait, if it is quiet."""
        if self._waiting and self.now:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def fail(self, damage: DamageError) -> None:
        """It will never be: tell those who wait why."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(damage)

    def _ready_now(self) -> bool:
        """Whether a message is ready that isn't parked for lack of rate."""
        lanes = self._host.ready_lanes()
        return any(self._egress.parked_until(lane) is None for lane in lanes)
