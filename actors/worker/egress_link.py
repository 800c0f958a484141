"""Makes the calls that a `RemoteEgress` asks for, and brings it what comes of them. One event loop, no waiting."""

from __future__ import annotations

__all__ = ("EgressCalls", "EgressLink")

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from actors.worker.egress_wire import Greeting, News, Reply, Request
from actors.worker.remote_egress import CallNumber, RemoteEgress

log = structlog.get_logger()

CALL_TIMEOUT_S = 10.0
_ENCODE = msgspec.msgpack.Encoder().encode
_REPLY: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_NEWS = msgspec.msgpack.Decoder(News)


class EgressCalls(Protocol):
    """Reaches one egress. A call that raises may have happened."""

    async def greet(self, raw: bytes) -> bytes:
        """Ask who it is, and say where outcomes are to be told."""

    async def call(self, raw: bytes) -> bytes:
        """Give it any other request."""


class EgressLink:
    """Connects a remote egress.

    Args:
        remote: says what to call.
        woken: called when the worker should look what it can do.
        told: called when outcomes came.
    """

    def __init__(
        self, remote: RemoteEgress, woken: Callable[[], None], told: Callable[[], None]
    ) -> None:
        self._remote = remote
        self._woken = woken
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._calls: EgressCalls | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        remote.kick = self.kick

    def connect(self, calls: EgressCalls) -> None:
        """Hear how the egress is reached."""
        self._calls = calls
        self.kick()

    def kick(self) -> None:
        """Make the calls that are wanted now, and look again when more will be."""
        if self._calls is None:
            return
        for number, request in self._remote.requests():
            task = self._loop.create_task(self._call(self._calls, number, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._remote.fresh_count:
            self._told()  # it may have given up for lost what it couldn't ask for
        self._look_at(self._remote.next_call())

    def hear(self, raw: bytes) -> None:
        """Take outcomes that the egress tells."""
        self._remote.heard(_NEWS.decode(raw))
        self._told()

    async def flush(self, grace_s: float = 1.0) -> None:
        """Make the calls that are left and wait a little for their answers."""
        self.kick()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)

    def close(self) -> None:
        """Make no more calls."""
        self._calls = None
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()

    async def _call(self, calls: EgressCalls, number: CallNumber, request: Request) -> None:
        raw = _ENCODE(request)
        reach = calls.greet if isinstance(request, Greeting) else calls.call
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = _REPLY.decode(await reach(raw))
        except Exception as error:  # noqa: BLE001 -- whatever it was, the call may have happened
            log.info("egress_call_failed", kind=type(request).__name__, error=repr(error)[:200])
            self._remote.failed(number)
        else:
            if self._remote.answered(number, reply):
                self._woken()
        self.kick()

    def _look_at(self, when_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when_ms is not None:
            at = max(when_ms / 1000, self._loop.time() + 0.001)
            self._timer = self._loop.call_at(at, self.kick)
