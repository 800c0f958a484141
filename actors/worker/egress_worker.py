"""An egress as a worker of its own: it sends for state workers elsewhere. All state lives in one event loop.

Requests are answered at once; outcomes are told to their owners in batches, again until they are confirmed. A new life
adopts the ledgers of its former ones and answers from them. Which life it is, it says with every answer.
"""

from __future__ import annotations

__all__ = ("EgressWorker", "Push")

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.worker import wire
from actors.worker.assembly import (
    LiveCatalog,
    assemble_sending,
    catalog_compilers,
    ledgers_of,
    secret_of,
    senders_of,
)
from actors.worker.egress_desk import EgressDesk
from actors.worker.egress_wire import Exchange, Greeting, Request
from actors.worker.leases import LeaseDesk
from actors.worker.pacing import PaceDesk
from actors.worker.pulse import Pulse, pulse_path
from actors.worker.recovery import adopt_patiently
from actors.worker.rendering import letterheads
from deliverability.egress import Egress
from deliverability.transport.delivery import Delivery
from deliverability.transport.ledger import LedgerFile
from engine.keyspace import Keyspace

log = structlog.get_logger()

OUTCOMES_WAIT_S = 0.004  # outcomes gather so long before they are told
OUTCOMES_ENOUGH = 128
HOUSEKEEPING_S = 0.1
PUSH_TIMEOUT_S = 10.0
DRAIN_S = 3.0

_ENCODE = msgspec.msgpack.Encoder().encode
_REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)

Push = Callable[[bytes], Awaitable[object]]
"""Tells a state worker outcomes."""


class _Parts(msgspec.Struct, frozen=True):
    """What a started egress is made of."""

    desk: EgressDesk
    egress: Egress
    delivery: Delivery
    ledger: LedgerFile
    catalog: LiveCatalog
    pulse: Pulse


class EgressWorker:
    """One egress. `settings.index` is its number among the egresses, `settings.count` that of state workers."""

    def __init__(
        self,
        settings: wire.WorkerSettings,
        leases: LeaseDesk | None = None,
        pace: PaceDesk | None = None,
    ) -> None:
        self._settings = settings
        self._leases = leases
        self._pace = pace
        self._parts: _Parts | None = None
        self._pushes: dict[int, Push] = {}
        self._pushing: dict[int, asyncio.Task[None]] = {}
        self._soon: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    # ---- life

    def start(self) -> wire.Hello:
        """Adopt what former lives left, and begin. Idempotent. Call it in the event loop."""
        if self._parts is None:
            self._loop = asyncio.get_running_loop()
            self._parts = self._assemble()
            self._spawn(self._keep_house())
            log.info(
                "egress_begins",
                egress=self._settings.index,
                incarnation=self.incarnation,
                in_the_air=self._parts.desk.in_the_air,
                concluded=self._parts.desk.concluded,
            )
        desk = self._parts.desk
        return wire.Hello(
            self._settings.index,
            self.incarnation,
            os.getpid(),
            partitions=0,
            held=desk.in_the_air + desk.concluded,
            in_the_air=desk.in_the_air,
            concluded=desk.concluded,
        )

    @property
    def incarnation(self) -> int:
        """Which life this is."""
        return self._need().egress.incarnation

    def now(self) -> int:
        """The time for outcomes, ms: the log's in a replay, as state workers told it."""
        if self._settings.log_time is not None and self._parts is not None:
            return self._parts.desk.now
        return self._settings.log_time or time.time_ns() // 1_000_000

    async def stop(self) -> None:
        """Finish what is in flight, tell what is known, close. Idempotent."""
        if self._parts is None or self._stopping:
            return
        parts = self._parts
        self._stopping = True
        parts.egress.draining = True
        await parts.delivery.close()
        self._concluded()
        if self._pushing:
            await asyncio.wait(self._pushing.values(), timeout=DRAIN_S)
        for task in list(self._tasks):
            task.cancel()
        parts.ledger.close(remove=not parts.egress.unconfirmed_count and not parts.egress.in_hand)

    # ---- calls of state workers

    async def greet(self, raw: bytes, push: Push) -> bytes:
        """Say who this is; outcomes of this owner are told to `push` from now on. Idempotent."""
        self.start()
        request = _REQUEST.decode(raw)
        assert isinstance(request, Greeting), "only a greeting brings an address"
        self._pushes[request.owner] = push
        return await self.call(raw)

    async def call(self, raw: bytes) -> bytes:
        """Answer a request at once. What it did when the call fails, the caller has to ask."""
        self.start()
        parts = self._need()
        request = _REQUEST.decode(raw)
        if isinstance(request, Exchange) and request.catalog > parts.catalog.current.version:
            parts.catalog.refresh()
        reply = _ENCODE(parts.desk.answer(request))
        if isinstance(request, Exchange) and request.messages:
            parts.delivery.pump()
        self._concluded()
        return reply

    # ---- questions

    def publish(self) -> int:
        """Look for a newer catalog. Returns the version in use."""
        self.start()
        catalog = self._need().catalog
        catalog.refresh()
        return catalog.current.version

    def status(self) -> wire.WorkerStatus:
        """Tell where this egress stands."""
        self.start()
        parts = self._need()
        egress, routes = parts.egress, parts.delivery.routes
        return wire.WorkerStatus(
            index=self._settings.index,
            incarnation=egress.incarnation,
            pid=os.getpid(),
            role="egress",
            partitions=0,
            now=self.now(),
            next_due=None,
            quiet=not egress.in_hand and not egress.unconfirmed_count,
            waiting=0,
            in_hand=egress.in_hand,
            sent=parts.delivery.sent(),
            connections={name: len(route.connections) for name, route in routes.items()},
            accept_ms={name: route.accept_ms for name, route in routes.items()},
            handed_over=egress.handed_over,
            unattempted=egress.unattempted,
            in_the_air_found=parts.desk.in_the_air,
        )

    # ---- inside

    def _assemble(self) -> _Parts:
        settings = self._settings
        data, name = Path(settings.data_dir), f"e{settings.index}"
        heads = letterheads(settings.config, secret_of)
        catalog = LiveCatalog(data / "catalog", catalog_compilers(heads))
        adopted = [adopt_patiently(path) for path in ledgers_of(data, name)]
        egress, delivery, gate, ledger = assemble_sending(
            settings,
            name,
            senders_of(settings),
            heads,
            catalog,
            self.now,
            self._concluded,
            leases=self._leases,
            pace=self._pace,
        )
        keyspace = Keyspace(settings.config.store.partitions)
        desk = EgressDesk(
            egress,
            gate,
            adopted,
            lambda message_id: keyspace.partition(message_id) % settings.count,
            delivery.now,
            self.now(),
        )
        pulse = Pulse(pulse_path(data, settings.index, "e"))
        return _Parts(desk, egress, delivery, ledger, catalog, pulse)

    def _concluded(self) -> None:
        """Tell soon: at once when enough outcomes wait or nothing more is in the air, else a little later."""
        if self._parts is None:
            return
        desk, egress = self._parts.desk, self._parts.egress
        self._parts.pulse.beat(egress.in_hand, egress.begun, egress.unconfirmed_count)
        for owner in desk.collect():
            waiting, more = desk.waiting(owner)
            if not more or waiting >= OUTCOMES_ENOUGH:
                self._tell(owner)
            elif owner not in self._soon:
                self._soon[owner] = self._loop.call_later(OUTCOMES_WAIT_S, self._tell, owner)

    def _tell(self, owner: int) -> None:
        """Tell an owner what it doesn't know yet, one batch at a time."""
        timer = self._soon.pop(owner, None)
        if timer is not None:
            timer.cancel()
        push = self._pushes.get(owner)
        if push is not None and owner not in self._pushing:
            self._pushing[owner] = self._spawn(self._push(owner, push))

    async def _push(self, owner: int, push: Push) -> None:
        desk = self._need().desk
        try:
            while (news := desk.news(owner)) is not None:
                async with asyncio.timeout(PUSH_TIMEOUT_S):
                    await push(_ENCODE(news))
        except Exception as error:  # noqa: BLE001 -- an owner that died: what isn't confirmed is told again
            log.info("outcomes_not_told", owner=owner, error=repr(error)[:200])
        finally:
            del self._pushing[owner]

    async def _keep_house(self) -> None:
        """Look after time: hand-overs that wait too long, idle connections, outcomes nobody confirmed."""
        while not self._stopping:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                self._look_around()
            except Exception:
                # told loudly, and it goes on: without this no lost news would be told again
                log.critical("housekeeping_failed", egress=self._settings.index, exc_info=True)

    def _look_around(self) -> None:
        parts = self._need()
        parts.delivery.tick()
        parts.desk.expire(parts.delivery.now())
        for owner in parts.desk.overdue():
            self._tell(owner)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _need(self) -> _Parts:
        if self._parts is None:
            raise wire.NotStartedError("the egress was called before it was started")
        return self._parts
