"""One worker: inputs in, ticks, effects out. All state lives in one event loop; nothing here decides about mail.

The loop takes what waits, ticks the host, and only then acknowledges inputs and hands messages to the egress. A
commit that failed releases nothing: caches are dropped, the store is opened again, and what was handed over is
asked for its fate.
"""

from __future__ import annotations

__all__ = ("Worker",)

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from actors.worker import wire
from actors.worker.assembly import Assembly, assemble
from actors.worker.pulse import Pulse, pulse_path
from actors.worker.recovery import Recovered, recover, resolve
from actors.worker.views import view_of
from deliverability.egress import Concluded, lane_name
from deliverability.message import CancelAttempt
from engine.errors import CapacityError, StoreError
from engine.host import Answer, CreditOffer, Host, Released, TickInputs
from engine.keyspace import EntityKey, message_key
from engine.partition import Arrival, TellOut
from engine.vocabulary import Message

log = structlog.get_logger()

OUTCOMES_WAIT_S = 0.004  # outcomes gather so long before they cause a tick of their own
OUTCOMES_ENOUGH = 128
LANE_KEPT_S = 2.0  # credits are asked for in advance for lanes that were busy so lately
STORE_RETRY_S = 0.5
TELL_RETRY_S = 0.5
TELLS_MAX = 500
HOUSEKEEPING_S = 0.1

TellNumber = tuple[int, int, int]  # source, target, seq
Peer = Callable[[bytes], Awaitable[bytes]]
"""Calls another worker's `tell`."""


class Worker:
    """A host and an egress in one loop. Make it, `await start()`, then call it from that loop only."""

    def __init__(self, settings: wire.WorkerSettings) -> None:
        self._settings = settings
        self._log_time = settings.log_time
        self._inputs = TickInputs()
        self._admissions: deque[tuple[int, list[str], asyncio.Future[list[str]]]] = deque()
        self._told: list[tuple[set[TellNumber], asyncio.Future[list[TellNumber]]]] = []
        self._outward: dict[int, list[TellOut]] = {}  # by worker: Tells on their way, in order
        self._concluded: list[Concluded] = []
        self._lanes: dict[bytes, float] = {}
        self._peers: dict[int, Peer] = {}
        self._wake = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._quiet: list[asyncio.Future[None]] = []
        self._parts: Assembly | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._found = Recovered()
        self._ticks = 0
        self._decided = 0
        self._broken = False
        self._stopping = False

    # ---- life

    async def start(self) -> wire.Hello:
        """Open the store, settle what a former life left in the air, and begin. Idempotent."""
        if self._parts is None:
            self._loop = asyncio.get_running_loop()
            self._parts = await assemble(self._settings, self.now, self._outcomes_came)
            self._pulse = Pulse(pulse_path(Path(self._settings.data_dir), self._settings.index))
            self._found = recover(self._parts)
            self._inputs.answers += self._found.answers
            self._spawn(self._run())
            self._spawn(self._keep_house())
            self._send_tells(self.host.outboxes())
            self._wake.set()
        found = self._found
        return wire.Hello(
            self._settings.index,
            self._parts.egress.incarnation,
            os.getpid(),
            len(self.host.partitions),
            found.held,
            found.in_the_air,
            found.concluded,
            found.never_begun,
        )

    async def connect(self, peers: dict[int, Peer]) -> None:
        """Hear how to reach the other workers."""
        self._peers = peers

    async def stop(self) -> None:
        """Drain: no new hand-overs, finish what is in the air, make all durable, close. Idempotent."""
        parts = self._parts
        if parts is None or self._stopping:
            return
        parts.egress.draining = True
        await parts.delivery.close()
        deadline = self._loop.time() + 10
        while (self._busy() or parts.egress.in_hand) and self._loop.time() < deadline:
            self._wake.set()
            await asyncio.sleep(0.01)  # the loop itself makes the progress that is waited for
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        parts.close(clean=not parts.egress.unconfirmed_count and not parts.egress.in_hand)

    @property
    def host(self) -> Host:
        """The partitions."""
        return self._need().host

    def now(self) -> int:
        """The time that inputs are stamped with, in ms: the log's in a replay, else the wall clock's."""
        return self._log_time if self._log_time is not None else time.time_ns() // 1_000_000

    # ---- calls from outside

    async def admit(self, batch: wire.AdmitBatch) -> wire.AdmitAnswer:
        """Take inputs; answers when they are durable. Idempotent by input id."""
        if not batch.items:
            return wire.AdmitAnswer()
        waiting = len(self._inputs.arrivals)
        if waiting + len(batch.items) > self._settings.config.workers.intake_pending_max:
            return wire.AdmitAnswer(overloaded=True, retry_after_s=0.5)
        if self._broken or self._stopping:
            return wire.AdmitAnswer(overloaded=True, retry_after_s=1.0)
        future: asyncio.Future[list[str]] = self._loop.create_future()
        self._inputs.arrivals += [
            Arrival(EntityKey(i.key), i.body, i.input_id, i.at, i.raw, i.historical)
            for i in batch.items
        ]
        self._admissions.append((len(batch.items), [], future))
        self._wake.set()
        return wire.AdmitAnswer(await future)

    async def tell(self, tells: wire.Tells) -> wire.TellsAnswer:
        """Take Tells of other partitions; answers which are durable. Idempotent by their numbers."""
        future: asyncio.Future[list[TellNumber]] = self._loop.create_future()
        self._inputs.delivers += tells.items
        self._told.append(({(t.source, t.target, t.seq) for t in tells.items}, future))
        self._wake.set()
        return wire.TellsAnswer(await future)

    async def state(self, question: wire.StateQuestion) -> wire.StateAnswer:
        """Show an entity as JSON."""
        key = EntityKey(question.key)
        state, place = self.host.entry(key)
        return wire.StateAnswer(view_of(key, state, place) if state is not None else b"")

    async def feed(self, question: wire.FeedQuestion) -> wire.FeedAnswer:
        """Read the outcome feed behind a place in it."""
        return wire.FeedAnswer(
            self.host.feed_after(question.position, question.n, min(question.limit, 5000))
        )

    async def pass_time(self, now: int, batch: wire.AdmitBatch | None) -> wire.WorkerStatus:
        """In a replay: let log time come to `now`, take inputs, and answer when all that is due then has happened.

        Timers that are due by `now` must have been passed before: inputs of a time come after its timers. Repeating
        a call is harmless. Time never goes back.
        """
        assert self._log_time is not None, "only a replay has a log's time"
        self._log_time = max(self._log_time, now)
        if batch is not None:
            answer = await self.admit(batch)
            if answer.overloaded:
                raise CapacityError("intake", answer.retry_after_s)
        future: asyncio.Future[None] = self._loop.create_future()
        self._quiet.append(future)
        self._wake.set()
        await future
        return self.status()

    async def publish(self) -> int:
        """Look for a newer catalog in the data directory. Returns the version in use."""
        parts = self._need()
        return parts.refresh_catalog()

    def status(self) -> wire.WorkerStatus:
        """Tell where this worker stands."""
        parts = self._need()
        host, delivery = parts.host, parts.delivery
        lanes = [
            wire.LaneStatus(int(lane[:1]), lane[1:].decode(), oldest)
            for lane, oldest in host.ready_lanes().items()
        ]
        return wire.WorkerStatus(
            index=self._settings.index,
            incarnation=parts.egress.incarnation,
            pid=os.getpid(),
            role="fused",
            partitions=len(host.partitions),
            now=self.now(),
            next_due=self._next_due(),
            quiet=self._is_quiet(),
            waiting=len(self._inputs.arrivals) + len(self._inputs.answers),
            in_hand=parts.egress.in_hand,
            law=host.counts(),
            facts=host.facts(),
            lanes=lanes,
            sent={name: route.sent for name, route in delivery.routes.items()},
            connections={name: len(route.connections) for name, route in delivery.routes.items()},
            ticks=self._ticks,
            inputs=self._decided,
            in_the_air_found=self._found.in_the_air,
            feed_position=host.feed_position,
        )

    # ---- the loop

    async def _run(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            self._cancel_soon()
            try:
                again = self._tick()
            except StoreError as error:
                await self._mend(error)
                again = True
            except Exception:
                # an invariant of the kernel is broken: going on could make it durable (DESIGN §3)
                log.critical("worker_ends", worker=self._settings.index, exc_info=True)
                os._exit(70)
            if again:
                self._wake.set()
            await asyncio.sleep(0)  # sockets have their turn between two ticks

    def _tick(self) -> bool:
        """Decide what waits and let its effects out. Returns whether more could be done at once."""
        parts = self._need()
        inputs = self._inputs
        concluded, self._concluded = self._concluded + parts.egress.outcomes(), []
        inputs.answers += [_answer(one) for one in concluded]
        inputs.credits = self._credits()
        if not self._worth_it(inputs):
            self._take_back(inputs.credits)
            inputs.credits = []
            self._settle_quiet()
            return False
        self._concluded = concluded  # told again if the commit fails
        released = parts.host.tick(self.now(), inputs)
        self._concluded = []
        parts.egress.confirmed(concluded)
        self._found.settled()
        self._ticks += 1
        self._decided += len(released.verdicts) + released.answered + released.woken
        self._release(released)
        self._settle_quiet()
        return bool(
            inputs.arrivals
            or released.woken
            or released.verdicts
            or released.answered
            or self._inputs.delivers
        )

    def _worth_it(self, inputs: TickInputs) -> bool:
        if inputs.answers or inputs.arrivals or inputs.delivers or inputs.confirms:
            return True
        first = self.host.next_due()
        if first is not None and first <= self.now():
            return True
        if not inputs.credits:
            return False
        lanes = self.host.ready_lanes()
        return any(offer.lane in lanes for offer in inputs.credits)

    def _credits(self) -> list[CreditOffer]:
        """Ask the egress for credits for lanes that are ready, or were busy lately."""
        parts = self._need()
        now = self._loop.time()
        for lane in parts.host.ready_lanes():
            self._lanes[lane] = now
        mono = parts.delivery.now()
        offers = []
        for lane, seen in list(self._lanes.items()):
            if seen < now - LANE_KEPT_S:
                del self._lanes[lane]
                continue
            route = lane[1:].decode()
            most = parts.gate.available(route, self.now())
            offer = parts.egress.offer(lane, mono, most) if most != 0 else None
            if offer is not None:
                parts.gate.take(route, offer.number)
                offers.append(offer)
        return offers

    def _release(self, released: Released) -> None:
        parts = self._need()
        mono = parts.delivery.now()
        for epoch, release in released.releases:
            body = release.body
            if isinstance(body, Message):
                self._lanes[lane_name(body.message_class, body.route)] = self._loop.time()
                parts.egress.accept(epoch, body, mono)
            elif isinstance(body, CancelAttempt):
                parts.egress.cancel(body.message_id, body.attempt)
        self._take_back(released.credits_left)
        self._acknowledge(released)
        self._send_tells(released.tells)
        if released.releases:
            parts.delivery.pump()
        self._beat()

    def _take_back(self, offers: list[CreditOffer]) -> None:
        parts = self._need()
        for offer in offers:
            parts.egress.take_back(offer)
            parts.gate.give_back(offer.lane[1:].decode(), offer.number)

    def _acknowledge(self, released: Released) -> None:
        verdicts = deque(released.verdicts)
        while verdicts:
            number, got, future = self._admissions[0]
            while verdicts and len(got) < number:
                got.append(verdicts.popleft())
            if len(got) < number:
                break
            self._admissions.popleft()
            if not future.done():
                future.set_result(list(got))
        self._confirm(released.confirms)

    def _confirm(self, confirmed: list[TellNumber]) -> None:
        """Tell the sources of Tells that are durable here: partitions of this worker, and callers of `tell`."""
        if confirmed:
            mine, count = self._settings.index, self._settings.count
            self._inputs.confirms += [one for one in confirmed if one[0] % count == mine]
        if self._told:
            durable = set(confirmed)
            for asked, future in self._told:
                if not future.done():
                    future.set_result(sorted(asked & durable))
            self._told.clear()

    def _outcomes_came(self) -> None:
        """Tick soon: at once when enough outcomes wait or nothing more is in the air, else a little later."""
        parts = self._parts
        if parts is None:
            return
        self._beat()
        if parts.egress.in_hand == 0 or parts.egress.fresh_count >= OUTCOMES_ENOUGH:
            self._wake.set()
        elif parts.egress.fresh_count and self._soon is None:
            self._soon = self._loop.call_later(OUTCOMES_WAIT_S, self._wake.set)

    def _beat(self) -> None:
        egress = self._need().egress
        self._pulse.beat(egress.in_hand, egress.begun, egress.unconfirmed_count)

    def _cancel_soon(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    async def _keep_house(self) -> None:
        """Look after time: due timers, hand-overs that wait too long, idle connections."""
        while not self._stopping:
            await asyncio.sleep(HOUSEKEEPING_S)
            parts = self._need()
            parts.delivery.tick()
            first = parts.host.next_due()
            if (first is not None and first <= self.now()) or parts.host.ready_lanes():
                self._wake.set()

    # ---- Tells to other partitions

    def _send_tells(self, tells: list[TellOut]) -> None:
        """Bring Tells on their way: in order for each pair of partitions, until they are confirmed."""
        mine, count = self._settings.index, self._settings.count
        for tell in tells:
            target = tell.target % count
            if target == mine:
                self._inputs.delivers.append(tell)
            elif target in self._outward:
                self._outward[target].append(tell)
            else:
                self._outward[target] = [tell]
                self._spawn(self._tell_worker(target))
        if self._inputs.delivers:
            self._wake.set()

    async def _tell_worker(self, target: int) -> None:
        """Tell another worker what waits for it, a batch at a time; numbers make repetition harmless."""
        waiting = self._outward[target]
        while waiting and not self._stopping:
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
                self._inputs.confirms += sorted(confirmed)
                self._wake.set()
            else:
                await asyncio.sleep(TELL_RETRY_S)
        del self._outward[target]

    # ---- quiet

    def _busy(self) -> bool:
        inputs, egress = self._inputs, self._need().egress
        return bool(
            inputs.answers
            or inputs.arrivals
            or inputs.delivers
            or inputs.confirms
            or self._told
            or egress.unconfirmed_count
        )

    def _is_quiet(self) -> bool:
        """Whether nothing is due now, and every message handed over has its outcome."""
        parts = self._need()
        first = parts.host.next_due()
        if self._busy() or parts.egress.in_hand or (first is not None and first <= self.now()):
            return False
        return not self._ready_now() and not any(
            p.has_outbox for p in parts.host.partitions.values()
        )

    def _ready_now(self) -> bool:
        """Whether a message is ready that isn't parked for lack of rate."""
        parts = self._need()
        routes = {lane[1:].decode() for lane in parts.host.ready_lanes()}
        return any(parts.gate.available(route, self.now()) != 0 for route in routes)

    def _next_due(self) -> int | None:
        """Give the next time at which something is due: a timer, or the token that a parked message waits for."""
        parts = self._need()
        times = [parts.host.next_due()]
        for lane in parts.host.ready_lanes():
            route = lane[1:].decode()
            if parts.gate.available(route, self.now()) == 0:
                times.append(parts.gate.next_at(route))
        return min((time for time in times if time is not None), default=None)

    def _settle_quiet(self) -> None:
        if self._quiet and self._is_quiet():
            waiting, self._quiet = self._quiet, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    # ---- when the store fails

    async def _mend(self, error: StoreError) -> None:
        """Nothing of the failed tick was released: forget it, open again, ask what became of what was handed over."""
        parts = self._need()
        self._broken = True
        log.error("store_failed", worker=self._settings.index, error=str(error))
        self._fail_waiting(error)
        while not self._stopping:
            try:
                parts.host.recover()
                break
            except StoreError as again:
                log.warning("store_still_failing", worker=self._settings.index, error=str(again))
                await asyncio.sleep(STORE_RETRY_S)
        self._broken = False
        self._concluded = parts.egress.unconfirmed()
        self._inputs.answers += resolve(parts, self._found.adopted)
        self._outward = {target: [] for target in self._outward}
        self._send_tells(parts.host.outboxes())

    def _fail_waiting(self, error: StoreError) -> None:
        """Whoever waits for an answer gets none: whether its inputs are durable isn't known, so they come again."""
        self._inputs = TickInputs()
        self._concluded = []
        for _, _, future in self._admissions:
            if not future.done():
                future.set_exception(error)
        for _, told in self._told:
            if not told.done():
                told.set_result([])
        self._admissions.clear()
        self._told.clear()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _need(self) -> Assembly:
        assert self._parts is not None, "the worker was called before it was started"
        return self._parts


def _answer(concluded: Concluded) -> Answer:
    message = concluded.message
    key = message_key(message.tenant, message.message_id)
    return Answer(key, concluded.outcome, (EntityKey(message.contact),))
