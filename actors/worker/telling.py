"""Tells to other partitions on their way, and answers to those that came: in order for each pair, until confirmed.

A Tell lies in the outbox of its partition until its target says that it is durable there. What is brought twice is
recognised by its number.
"""

from __future__ import annotations

__all__ = ("Peer", "TellNumber", "Telling")

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from actors.worker import wire
from engine.host import Host
from engine.inputs import TellOut
from engine.tick import TickInputs

log = structlog.get_logger()

RETRY_S = 0.5
TELLS_MAX = 500

TellNumber = tuple[int, int, int]  # source, target, seq
Peer = Callable[[bytes], Awaitable[bytes]]
"""Calls another worker's `tell`."""


class Telling:
    """The Tells of one worker's partitions. Drive it from the worker's loop.

    Args:
        host: the partitions.
        inputs: those of the next tick, at the time of asking.
        peers: how to reach the other workers, as far as known at the time.
        owner: gives the number of the worker that owns a partition; -1 while it isn't known.
        moving: whether owners may change.
        spawn: runs something beside the worker until the worker ends.
        wake: makes the worker tick.
    """

    def __init__(
        self,
        host: Host,
        inputs: Callable[[], TickInputs],
        peers: Mapping[int, Peer],
        owner: Callable[[int], int],
        spawn: Callable[[Any], None],
        wake: Callable[[], None],
        *,
        moving: bool,
    ) -> None:
        self._host = host
        self._inputs = inputs
        self._owner = owner
        self._spawn = spawn
        self._wake = wake
        self._moving = moving
        self._peers = peers
        self._came: list[tuple[set[TellNumber], asyncio.Future[list[TellNumber]]]] = []
        self._deciding: list[tuple[set[TellNumber], asyncio.Future[list[TellNumber]]]] = []
        self._outward: dict[int, list[TellOut]] = {}  # by worker, in order

    @property
    def busy(self) -> bool:
        """Whether somebody waits to hear that what he told is durable."""
        return bool(self._came or self._deciding)

    # ---- that came

    def take(self, tells: Sequence[TellOut]) -> asyncio.Future[list[TellNumber]]:
        """Take Tells of other workers' partitions. The answer names those that are durable here."""
        future: asyncio.Future[list[TellNumber]] = asyncio.get_running_loop().create_future()
        self._inputs().delivers += tells
        self._came.append(({(t.source, t.target, t.seq) for t in tells}, future))
        self._wake()
        return future

    def decide(self) -> None:
        """Hear that a tick decides all that came; what comes while it is being synced waits for the next."""
        self._deciding += self._came
        self._came.clear()

    def confirm(self, confirmed: list[TellNumber]) -> None:
        """Tell the sources of what is durable here: partitions of this worker, and those who wait for `take`."""
        if confirmed:
            mine = self._host.partitions
            self._inputs().confirms += [one for one in confirmed if one[0] in mine]
        if self._deciding:
            durable = set(confirmed)
            for asked, future in self._deciding:
                if not future.done():
                    future.set_result(sorted(asked & durable))
            self._deciding.clear()

    def fail(self) -> None:
        """A tick was lost: nothing of what came is known to be durable."""
        for _, told in (*self._deciding, *self._came):
            if not told.done():
                told.set_result([])
        self._deciding.clear()
        self._came.clear()

    # ---- on their way

    def send(self, tells: Iterable[TellOut]) -> None:
        """Bring Tells on their way: in order for each pair of partitions, until they are confirmed."""
        mine = self._host.partitions
        inputs = self._inputs()
        for tell in tells:
            target = self._owner(tell.target)
            if tell.target in mine:
                inputs.delivers.append(tell)
            elif target in self._outward:
                self._outward[target].append(tell)
            else:
                self._outward[target] = [tell]
                self._spawn(self._tell_worker(target))
        if inputs.delivers:
            self._wake()

    def again(self) -> None:
        """A tick was lost, and the outboxes were read again: what was on its way begins anew."""
        for waiting in self._outward.values():
            waiting.clear()  # in place: whoever brings them goes on with what follows
        self.send(self._host.outboxes())

    async def _tell_worker(self, target: int) -> None:
        """Tell another worker what waits for it, a batch at a time; numbers make repetition harmless."""
        waiting = self._outward[target]
        while waiting:
            batch = waiting[:TELLS_MAX]
            peer = self._peers.get(target)
            confirmed: set[TellNumber] = set()
            if peer is not None:
                try:
                    raw = await peer(wire.encode(wire.Tells(batch)))
                    answer: wire.TellsAnswer = wire.decode(wire.TellsAnswer, raw)
                    confirmed = set(answer.confirmed)
                except Exception as error:  # noqa: BLE001 -- a dead or restarting peer: the outbox keeps the Tells
                    log.info("tell_failed", target=target, error=type(error).__name__)
            if confirmed:
                waiting[:] = [t for t in waiting if (t.source, t.target, t.seq) not in confirmed]
                self._inputs().confirms += sorted(confirmed)
                self._wake()
            else:
                await asyncio.sleep(RETRY_S)
                if self._moving:
                    break  # their owner may be another by now
        del self._outward[target]
        mine = self._host.partitions
        self.send([tell for tell in waiting if tell.source in mine])
