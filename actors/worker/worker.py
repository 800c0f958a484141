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
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from actors.operations.blob_marks import BlobMarks
from actors.operations.desk import Desk
from actors.operations.room import Room
from actors.planning.walking import WalkAnswer, WalkQuestion, Walks
from actors.worker import wire
from actors.worker.arriving import Arriving
from actors.worker.assembly import Assembly, Ports, assemble
from actors.worker.crediting import Crediting
from actors.worker.egress_link import EgressCalls, EgressLink
from actors.worker.holding import Holding, Placed, clear_old_ledgers
from actors.worker.intake import Intake
from actors.worker.pace import URGENT_KEPT_S, Pace
from actors.worker.pulse import DECIDING, IDLE, RELEASING, Pulse, pulse_path
from actors.worker.queueing import Queueing
from actors.worker.quiet import Quiet
from actors.worker.reading import Reading
from actors.worker.recovery import Recovered, held_messages, recover, resolve
from actors.worker.remote_egress import RemoteEgress
from actors.worker.syncing import Syncing
from actors.worker.telling import Peer, Telling
from deliverability.egress import lane_name
from deliverability.message.records import CancelAttempt
from engine.errors import CapacityError, DamageError, StoreError
from engine.host import Host
from engine.tick import Answer, CreditOffer, Released, Repair, TickInputs
from engine.vocabulary import Message

log = structlog.get_logger()

OUTCOMES_WAIT_S = 0.004  # outcomes gather so long before they cause a tick of their own
OUTCOMES_ENOUGH = 128
CONFIRMS_WAIT_S = 0.05  # what says that Tells have arrived waits so long for a tick that has something to decide too
HOPS = 4
"""Turns of the loop between two ticks while no mail is under way. A request takes some from its socket to the intake,
and one with the answer; with one turn each of them cost a tick: 48 ms of a request while very many timers were due
(bench/ `wake`). With mail each turn composes and signs, so that one is enough: with four the p99 of a transactional
mail beside bulk was 290 to 350 ms in place of 120 to 240, and bulk a tenth slower (`latency`)."""
STORE_RETRY_S = 0.5
RETRY_AFTER_S = 2.0  # told to whoever is refused while something is short or broken
HOUSEKEEPING_S = 0.1


class Worker:
    """A host and an egress in one loop. Make it, `await start()`, then call it from that loop only."""

    def __init__(self, settings: wire.WorkerSettings, ports: Ports | None = None) -> None:
        self._settings = settings
        self._ports = ports or Ports()
        self._log_time = settings.log_time
        self._inputs = TickInputs()
        self._intake = Intake()
        self._pace = Pace(settings.config.workers.batch_max)
        self._peers: dict[int, Peer] = {}
        self._wake = asyncio.Event()
        self._quick = (
            asyncio.Event()
        )  # something of our partitions changed: the controller should hear at once
        self._soon: asyncio.TimerHandle | None = None
        self._parts: Assembly | None = None
        self._starting = asyncio.Lock()
        self._begun = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._link: EgressLink | None = None
        self._found = Recovered()
        self._ticks = 0
        self._decided = 0
        self._broken = False
        self._stopping = False
        self._urgent_until = 0.0  # so long ticks stay short, loop time
        self._latest = 0  # ms: the time in use never goes back
        self._confirms_until = 0.0  # so long confirmations wait, loop time; 0: none do
        self._walks = Walks()
        self._arriving: Arriving | None = None
        self.holding: Holding | None = None
        """Partitions that come and go; None where each worker has its own for good."""
        self._desk = Desk(_room(settings, self._ports), settings.index)

    # ---- life

    async def start(
        self, known: Callable[[wire.Hello], Awaitable[None]] | None = None
    ) -> wire.Hello:
        """Open the store, settle what a former life left in the air, and begin. Idempotent.

        Args:
            known: hears what was found of former lives before any of it is settled, so that whoever counts lives
                counts each; it must come back by itself when nobody listens.
        """
        async with self._starting:
            if self._parts is None:
                await self._open()
            hello = self._hello()
            if known is not None:
                await known(hello)
            if not self._begun:
                self._begin()
        return hello

    async def _open(self) -> None:
        """Open the store and look at what former lives left; nothing of it is settled yet."""
        self._loop = asyncio.get_running_loop()
        self._parts = await assemble(self._settings, self.now, self._outcomes_came, self._ports)
        if self._log_time is None:
            self._latest = max((p.meta.now for p in self.host.partitions.values()), default=0)
        self._desk.look(self._loop.time())
        self._pulse = Pulse(pulse_path(Path(self._settings.data_dir), self._settings.index))
        if isinstance(self._parts.egress, RemoteEgress):
            self._link = EgressLink(self._parts.egress, self._wake.set, self._outcomes_came)
        self._queues = Queueing(
            self.host, [t.name for t in self._settings.config.tenant], self.now, self._give
        )
        self._queues.look(self._parts.catalog)
        self._reading = Reading(self._settings.index, self.host, self._queues, self._desk)
        guard = self._parts.guard
        may = guard.fresh if guard is not None else lambda: True
        self._crediting = Crediting(self._parts.egress, self._loop.time, may)
        self._telling = Telling(
            self.host,
            lambda: self._inputs,
            self._peers,
            self._owner,
            self._spawn,
            self._wake.set,
            moving=self._settings.placed,
        )
        self._quiet = Quiet(self.host, self._parts.egress, self.now, self._busy)
        self._found = recover(self._parts)
        self._syncing = Syncing(self.host.store, self._ports.sync_slow_s)
        if self._ports.leases is not None:
            self._ports.leases.heard = self._wake.set
        if self._settings.placed:
            config = self._settings.config
            data, lost_after_s = Path(self._settings.data_dir), config.workers.egress_lost_after_s
            clear_old_ledgers(data, 2.0 * config.delivery.expires_s)
            self.holding = Holding(
                self._settings.index, self._parts, data, lost_after_s, self._loop.time
            )
            self._arriving = Arriving(self.holding, config.workers.intake_pending_max)

    def _begin(self) -> None:
        """Let the loop turn: what was found is settled with its first tick."""
        self._begun = True
        self._inputs.answers += self._found.answers
        self._spawn(self._run())
        self._spawn(self._keep_house())
        self._spawn(self._queues.run())
        self._telling.send(self.host.outboxes())
        self._wake.set()

    def _hello(self) -> wire.Hello:
        found = self._found
        return wire.Hello(
            self._settings.index,
            self._need().egress.incarnation,
            os.getpid(),
            len(self.host.partitions),
            found.held,
            found.in_the_air,
            found.concluded,
            found.never_begun,
        )

    async def connect(self, peers: dict[int, Peer], egress: EgressCalls | None = None) -> None:
        """Hear how to reach the other workers, and the egress when it is one of them."""
        self._peers.clear()
        self._peers.update(peers)
        if self._link is not None and egress is not None:
            self._link.connect(egress)

    def hear(self, raw: bytes) -> None:
        """Take outcomes that the egress tells; before the start they are told in vain, and come again."""
        if self._link is not None and not self._stopping:
            self._link.hear(raw)

    async def stop(self) -> None:
        """Drain: no new hand-overs, finish what is in the air, make all durable, close. Idempotent."""
        parts = self._parts
        if parts is None or self._stopping:
            return
        parts.egress.draining = True
        await parts.egress.drain()
        deadline = self._loop.time() + (10 if self._desk.damage is None else 0)
        while (self._busy() or parts.egress.in_hand) and self._loop.time() < deadline:
            self._wake.set()
            await asyncio.sleep(0.01)  # the loop itself makes the progress that is waited for
        if self._link is not None:
            await self._link.flush()
            self._link.close()
        self._stopping = True
        # a tick whose fate isn't known may have handed over: without the ledger the next life would call that doubt
        open_ends = self._busy() or parts.egress.in_hand or self._broken
        for task in list(self._tasks):
            task.cancel()
        self._syncing.close()
        parts.close(clean=not open_ends)

    @property
    def host(self) -> Host:
        """The partitions."""
        return self._need().host

    def now(self) -> int:
        """The time that inputs are stamped with, ms: the log's in a replay, else the wall clock's; never back."""
        if self._log_time is not None:
            return self._log_time
        self._latest = max(self._latest, self._ports.wall_ms())
        return self._latest

    @property
    def reading(self) -> Reading:
        """What can be asked about what it holds. Raises: NotStartedError.

        After `durable`, and before the loop turns again: what a tick wrote shows at once, and might not last.
        """
        self._need()
        return self._reading

    async def durable(self) -> Self:
        """Wait until all that can be read is durable. Returns this worker, to be asked before the loop turns again.

        Raises: StoreError: a commit failed, and what became of it wasn't read yet; DamageError.
        """
        self._need()
        await self._syncing.durable()
        if self._desk.damage is not None:
            raise self._desk.damage
        if self._broken:  # what a lost tick decided is still in memory, and must not be told
            raise StoreError(f"worker {self._settings.index}: {self._desk.trouble}; ask again")
        return self

    # ---- calls from outside

    async def admit(self, batch: wire.AdmitBatch) -> wire.AdmitAnswer:
        """Take inputs; answers when they are durable. Idempotent by input id."""
        self._need()
        if not batch.items:
            return wire.AdmitAnswer()
        if self._arriving is not None:
            number_of = self.host.keyspace.partition
            await self._arriving.wait((number_of(one.key) for one in batch.items), len(batch.items))
        waiting = self._intake.size + len(self._inputs.arrivals)
        if waiting + len(batch.items) > self._settings.config.workers.intake_pending_max:
            return wire.AdmitAnswer(overloaded=True, retry_after_s=0.5)
        if self._broken or self._stopping or self._desk.trouble:
            reason = self._desk.trouble or "this worker ends"
            return wire.AdmitAnswer(overloaded=True, retry_after_s=RETRY_AFTER_S, reason=reason)
        answer = self._intake.admit(batch.items)
        self._wake.set()
        return wire.AdmitAnswer(await answer)

    async def tell(self, tells: wire.Tells) -> wire.TellsAnswer:
        """Take Tells of other partitions; answers which are durable. Idempotent by their numbers."""
        self._need()
        if self._desk.damage is not None:
            return wire.TellsAnswer([])
        return wire.TellsAnswer(await self._telling.take(tells.items))

    async def repair(self, repair: Repair) -> wire.RepairAnswer:
        """Replay or drop an input in quarantine; answers when that is durable.

        Raises:
            StoreError: whether it is isn't known; asking again is harmless.
            NotMineError: its partition is another worker's by now.
        """
        if self._desk.damage is not None:
            raise self._desk.damage
        asked = self._desk.ask(self._inputs, repair)
        self._wake.set()
        return wire.RepairAnswer(await asked)

    async def recount(self, *, start: bool) -> wire.RecountAnswer:
        """Begin to count everything anew, unless that is under way; tell how it stands."""
        recounting = self._desk.recounting
        if start and recounting.recount.state != "running":
            self._spawn(recounting.run(self.host))
            await asyncio.sleep(0)  # it is under way when we answer
        return wire.RecountAnswer(recounting.recount, recounting.tells)

    async def blobs(self, *, start: bool) -> BlobMarks:
        """Begin to look which blobs are needed, unless that is under way; tell how it stands."""
        marking = self._desk.marking
        if start and marking.marks.state != "running":
            self._spawn(marking.run(self.host))
            await asyncio.sleep(0)  # it is under way when we answer
        return marking.marks

    async def pass_time(self, now: int, batch: wire.AdmitBatch | None) -> wire.WorkerStatus:
        """In a replay: let log time come to `now`, take inputs, and answer when all that is due then has happened.

        Timers that are due by `now` must have been passed before: inputs of a time come after its timers. Repeating
        a call is harmless. Time never goes back.
        """
        self._need()
        assert self._log_time is not None, "only a replay has a log's time"
        self._log_time = max(self._log_time, now)
        if batch is not None:
            answer = await self.admit(batch)
            if answer.overloaded:
                raise CapacityError("intake", answer.retry_after_s)
        quiet = self._quiet.reached()
        self._wake.set()
        await quiet
        return self.status()

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        """Look at some contacts, and give inputs to those whom a run is about; answers when these are durable.

        Asking again is harmless: a contact takes a run's input once.
        """
        await self.durable()
        looked, arrivals = self._walks.look(self.host, question, self.now())
        if not arrivals:
            return looked
        items = [wire.WireArrival(one.key, one.body, one.input_id) for one in arrivals]
        answer = await self.admit(wire.AdmitBatch(items))
        if answer.overloaded:
            return WalkAnswer(question.places, retry_after_s=answer.retry_after_s)
        return looked

    async def publish(self) -> int:
        """Look for a newer catalog in the data directory. Returns the version in use."""
        parts = self._need()
        version = parts.refresh_catalog()
        self._queues.look(parts.catalog)
        return version

    def _give(self, answers: list[Answer]) -> None:
        """Give inputs to the next tick."""
        self._inputs.answers += answers
        self._wake.set()

    def status(self) -> wire.WorkerStatus:
        """Tell where this worker stands."""
        parts = self._need()
        host = parts.host
        known, now = host.oldest_ready(), self.now()
        lanes = [
            wire.LaneStatus(
                int(lane[:1]),
                lane[1:].decode(),
                known.get(lane, now),
                parked=parts.egress.parked_until(lane) is not None,
            )
            for lane in host.ready_lanes()
        ]
        return wire.WorkerStatus(
            index=self._settings.index,
            incarnation=parts.egress.incarnation,
            pid=os.getpid(),
            role="fused" if self._link is None else "state",
            partitions=len(host.partitions),
            now=self.now(),
            next_due=self._quiet.next_due(),
            quiet=self._quiet.now,
            waiting=self._intake.size + len(self._inputs.arrivals) + len(self._inputs.answers),
            in_hand=parts.egress.in_hand,
            law=host.counts(),
            facts=host.facts(),
            lanes=lanes,
            sent=parts.egress.sent(),
            connections=parts.egress.connections(),
            accept_ms=parts.egress.accept_ms(),
            ticks=self._ticks,
            inputs=self._decided,
            handed_over=parts.egress.returned[0],
            unattempted=parts.egress.returned[1],
            in_the_air_found=self._found.in_the_air,
            feed_position=host.feed_position,
            trouble=self._desk.trouble,
            store_failures=self._desk.failures,
            disk_free=self._desk.room.disk_free,
            memory_free=self._desk.room.memory_free,
            clock_behind_ms=self._clock_behind(),
            recount=self._desk.recounting.recount,
            swept=self._queues.swept,
            cpu_ms=time.process_time_ns() // 1_000_000,
            connections_full=self._ports.leases.full() if self._ports.leases is not None else [],
            suppression_age_ms=parts.guard.age_ms() if parts.guard is not None else None,
        )

    # ---- the loop

    async def _run(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            self._cancel_soon()
            try:
                again = await self._tick()
            except DamageError as error:
                self._give_up(error)
                return
            except StoreError as error:
                await self._mend(error)
                if self._desk.damage is not None:
                    return
                again = True
            except Exception:
                # an invariant of the kernel is broken: going on could make it durable (DESIGN §3)
                log.critical("worker_ends", worker=self._settings.index, exc_info=True)
                os._exit(70)
            if again:
                self._wake.set()
            await self._pause()

    async def _pause(self) -> None:
        """Sockets and signatures have their turn between two ticks."""
        begin = time.thread_time() - self._syncing.others_s
        egress = self._need().egress
        for _ in range(1 if egress.in_hand else HOPS):
            await asyncio.sleep(0)
        while egress.composing and not self._stopping:
            passed = time.thread_time() - begin
            if self._pace.pause_over(passed, urgent=self._intake.urgent):
                break
            await asyncio.sleep(0)

    async def _tick(self) -> bool:
        """Decide what waits and let its effects out. Returns whether more could be done at once."""
        parts = self._need()
        if self.holding is not None:
            self._hold()
        inputs = self._inputs
        begin, began = time.thread_time(), time.perf_counter()
        first = parts.host.next_due()
        timers = first is not None and first <= self.now()
        if self._intake.urgent:
            self._urgent_until = self._loop.time() + URGENT_KEPT_S
        bound = self._pace.bound(
            busy=parts.egress.in_hand > 0,
            timers=timers and self._log_time is None,  # in a replay nobody waits meanwhile
            urgent=self._loop.time() < self._urgent_until,
        )
        parts.host.settings = msgspec.structs.replace(
            parts.host.settings, batch_max=bound, grants_max=bound
        )
        inputs.answers += parts.egress.outcomes()
        # no more than this tick will take: what it leaves would stand before small batches that come meanwhile
        room = max(bound - len(inputs.answers) - len(inputs.delivers), bound // 4)
        self._intake.give(inputs.arrivals, room - len(inputs.arrivals))
        inputs.credits = self._credits(ahead=timers or bool(inputs.arrivals or inputs.delivers))
        if not self._worth_it(inputs):
            self._crediting.take_back(inputs.credits)
            inputs.credits = []
            parts.egress.pump()
            self._quiet.look()
            return False
        inputs.timers = not self._desk.room.short
        self._pulse.at(DECIDING)
        self._telling.decide()
        self._queues.decide()
        self._confirms_until = 0.0
        released = parts.host.tick(self.now(), inputs)
        took = time.thread_time() - begin
        await self._syncing.sync(aside=parts.egress.in_hand > 0 or self._intake.size > 0)
        begin_release = time.thread_time()
        waited = time.perf_counter() - began - took
        self._pulse.at(RELEASING)
        # somebody else owns these partitions: what was decided isn't there, and must not be told (DESIGN §3)
        assert not released.lost, f"partitions {released.lost} have another owner"
        self._desk.store_works()
        self._desk.told(released.repaired)
        parts.egress.confirmed()
        self._queues.ticked()
        self._found.settled()
        self._ticks += 1
        self._decided += len(released.verdicts) + released.answered + released.woken
        decided = len(released.verdicts) + released.answered + released.woken
        took += time.thread_time() - begin_release
        self._pace.ticked(decided + len(released.releases), took, waited)
        self._release(released)
        self._pulse.at(IDLE)
        self._quiet.look()
        return bool(
            inputs.arrivals
            or self._intake.size
            or released.woken
            or released.verdicts
            or released.answered
            or self._inputs.delivers
        )

    def _hold(self) -> None:
        """Take and let go of partitions, before anything of the tick is decided."""
        holding = self.holding
        assert holding is not None, "only where partitions move"
        if holding.step():
            self._quick.set()
            if self._arriving is not None:
                self._arriving.took()
        self._inputs.answers += holding.answers
        holding.answers = []
        fresh, holding.fresh = holding.fresh, []
        if fresh:
            self._queues.took(fresh)
        for number in fresh:
            self._telling.send(self.host.partitions[number].outbox())

    async def changed(self) -> None:
        """Wait until something of our partitions changed that the controller should hear of."""
        await self._quick.wait()
        self._quick.clear()

    def place(self, placed: Placed) -> None:
        """Follow the controller's answer, with the next tick."""
        if self.holding is not None and not self._stopping:
            self.holding.hear(placed)
            if self._arriving is not None:
                self._arriving.took()
            self._wake.set()

    def _worth_it(self, inputs: TickInputs) -> bool:
        if inputs.answers or inputs.arrivals or inputs.delivers:
            return True
        if inputs.repairs or self._timers_due() or (inputs.confirms and self._confirms_due()):
            return True
        if not inputs.credits:
            return False
        lanes = self.host.ready_lanes()
        return any(offer.lane in lanes for offer in inputs.credits)

    def _confirms_due(self) -> bool:
        """Whether confirmations are worth a tick: while mail is in hand one comes by itself, so for a while not."""
        now = self._loop.time()
        if self._confirms_until == 0.0:
            self._confirms_until = now + CONFIRMS_WAIT_S
        return now >= self._confirms_until or not self._need().egress.in_hand

    def _credits(self, *, ahead: bool) -> list[CreditOffer]:
        """Ask the egress for credits for lanes that are ready; `ahead`: and for those that were busy lately."""
        if self._desk.room.short:
            return []
        return self._crediting.offers(self._need().host.ready_lanes(), ahead=ahead)

    def _release(self, released: Released) -> None:
        parts = self._need()
        for epoch, release in released.releases:
            body = release.body
            if isinstance(body, Message):
                self._crediting.busy(lane_name(body.message_class, body.route))
                parts.egress.accept(epoch, body)
            elif isinstance(body, CancelAttempt):
                parts.egress.cancel(body.message_id, body.attempt)
        self._crediting.take_back(released.credits_left)
        self._acknowledge(released)
        self._telling.send((*released.elsewhere, *released.tells))
        parts.egress.pump()
        if (
            parts.egress.fresh_count
        ):  # given back at once, such as a hand-over by a credit of a former life
            self._outcomes_came()
        self._beat()

    def _acknowledge(self, released: Released) -> None:
        self._intake.decided(released.verdicts)
        self._telling.confirm(released.confirms)

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
            try:
                self._look_around()
            except Exception:
                log.critical("housekeeping_failed", worker=self._settings.index, exc_info=True)

    def _look_around(self) -> None:
        parts = self._need()
        parts.egress.look()
        room_again = self._desk.look(self._loop.time())
        due = self._timers_due() or self._inputs.confirms
        if room_again or due or parts.host.ready_lanes():
            self._wake.set()

    def _timers_due(self) -> bool:
        """Whether a timer may be due, and there is room for what it leads to."""
        first = self.host.next_due()
        return first is not None and first <= self.now() and not self._desk.room.short

    def _clock_behind(self) -> int:
        """Tell how far the wall clock is behind the time in use."""
        return max(self.now() - self._ports.wall_ms(), 0) if self._log_time is None else 0

    def _owner(self, partition: int) -> int:
        """Give the number of the worker that owns a partition; -1 while it isn't known."""
        if self.holding is None:
            return partition % self._settings.count
        owner = self.holding.owner(partition)
        return -1 if owner is None else owner

    # ---- quiet

    def _busy(self) -> bool:
        inputs, egress = self._inputs, self._need().egress
        return bool(
            inputs.answers
            or inputs.arrivals
            or self._intake.size
            or inputs.delivers
            or inputs.confirms
            or self._telling.busy
            or egress.unconfirmed_count
            or self._syncing.under_way
        )

    # ---- when the store fails

    async def _mend(self, error: StoreError) -> None:
        """Nothing of the failed tick was released: forget it, open again, ask what became of what was handed over."""
        parts = self._need()
        self._broken = True
        self._desk.store_failed(error)
        self._fail_waiting(error)
        if self._desk.failures_running > 1:
            await asyncio.sleep(STORE_RETRY_S)
        while not self._stopping:
            try:
                parts.host.recover()
                self._read_again(parts)
                break
            except DamageError as damage:
                self._give_up(damage)
                return
            except StoreError as again:
                log.warning("store_still_failing", worker=self._settings.index, error=str(again))
                await asyncio.sleep(STORE_RETRY_S)
        else:
            return
        self._desk.store_opened()
        self._broken = False

    def _read_again(self, parts: Assembly) -> None:
        """Ask what became of what was handed over. Raises: StoreError.

        May be repeated: answers that come twice are recognised by their attempts. What came meanwhile stays.
        """
        self._queues.again(parts.catalog)
        self._inputs.answers += parts.egress.unconfirmed()
        parts.egress.hold(held_messages(parts))
        if self.holding is not None:
            self.holding.recovered()
        else:
            self._inputs.answers += resolve(parts, self._found.consulted)
        self._telling.again()

    def _give_up(self, damage: DamageError) -> None:
        """Decide nothing any more on data that can't be trusted; say so to whoever asks."""
        self._broken = True
        self._desk.store_damaged(damage)
        self._fail_waiting(damage)
        self._quiet.fail(damage)

    def _fail_waiting(self, error: StoreError) -> None:
        """Whoever waits for an answer gets none: whether its inputs are durable isn't known, so they come again."""
        self._inputs = TickInputs()
        self._intake.fail(error)
        self._telling.fail()
        self._desk.fail(error)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _need(self) -> Assembly:
        if self._parts is None:
            raise wire.NotStartedError("the worker was called before it was started")
        return self._parts


def _room(settings: wire.WorkerSettings, ports: Ports) -> Room:
    config = settings.config
    thresholds = (config.store.free_mb_min, config.workers.memory_free_mb_min)
    return Room(Path(settings.data_dir), *thresholds, ports.disk_free, ports.memory_free)
