"""One life of a worker: the shell around production host, egress and recovery, on virtual time.

It does what `actors.worker.worker` does with a loop and sockets: take what waits, tick, and only then acknowledge and
hand over; after a failed commit forget, read again, ask. While a commit is being synced everything goes on but ticks,
and what comes then waits for the next (decision 12). A life that finds that somebody else owns its partitions
stays as an *orphan*: its egress finishes what is in hand and tells the new owner, who asks and fences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actors.worker.recovery import resolve
from deliverability.egress import Asked, Concluded, Egress, EgressSettings, lane_name
from deliverability.governor import Gate, Lease
from deliverability.message.records import AttemptOutcome, CancelAttempt
from deliverability.message.state import MessageState
from deliverability.transport.ledger import Adopted, adopt
from engine.errors import RefusedError, StoreError
from engine.inputs import Arrival, PartitionSettings, TellOut
from engine.keyspace import EntityKey, message_key, name_of
from engine.tick import Answer, CreditOffer, HostSettings, Released, Repair, TickInputs
from engine.vocabulary import Message
from tests.simulation.disk import Crash
from tests.simulation.lending import Lending
from tests.simulation.sink import Smtp

if TYPE_CHECKING:
    from actors.worker.assembly import Assembly
    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World

EGRESS_LOST_AFTER_MS = 10_000
RETRY_MS = 500
GATHER_MS = 40  # inputs gather so long before they cause a tick
LANE_KEPT_MS = 2000
HORIZON_MS = 2 * 3_600_000
SETTINGS = HostSettings(
    batch_max=40,
    grants_max=12,
    cache_entities=40,
    partition=PartitionSettings(
        horizon_ms=HORIZON_MS, record_bucket_ms=HORIZON_MS, records_kept_ms=2 * HORIZON_MS
    ),
)
EGRESS = EgressSettings(lane_credits_min=4, in_hand_max=24)

TellNumber = tuple[int, int, int]
Reply = Callable[[list[str]], None]


class Directory:
    """Stands for the egress in `resolve`: knows which incarnation has a message, and asks others over the network."""

    def __init__(self, life: Life, host: Any, adopted: set[int]) -> None:
        self.host = host
        self.egress = self
        self._life = life
        self._adopted = adopted
        self._incarnations: dict[tuple[bytes, int], tuple[int, EntityKey]] = {}
        for _, _, raw in host.held():
            state = host.entry(EntityKey(raw))[0]
            assert isinstance(state, MessageState)
            assert state.credit is not None
            asked = (name_of(raw), state.attempt)
            self._incarnations[asked] = (state.credit.credit.incarnation, EntityKey(raw))

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Answer, or note that somebody else must be asked."""
        incarnation, key = self._incarnations[asked.message_id, asked.attempt]
        if incarnation == self._life.incarnation:
            egress: Egress = self._life.egress
            return egress.fate(asked, epoch, fence=fence)
        if incarnation in self._adopted:
            return AttemptOutcome(asked.attempt, "unattempted", "no_mark")
        self._life.ask_later(key, asked, incarnation, epoch)
        return None


class View:
    """Stands for the suppression list: it grows every second, is out of date for a while, and refuses a few."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def edition(self) -> int:
        """Another one every 0.7 s."""
        return self._world.now // 700

    def fresh(self) -> bool:
        """Not in one second of seven."""
        return self._world.now // 1000 % 7 != 0

    def refuses(self, message: Message) -> str:
        """Refuse a few, from an edition on."""
        few = message.message_id[-1] % 29 == 0 and self.edition % 2 == 0
        return "complained" if few else ""


class Life:
    """A process. Everything that happens to it comes through `do`."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        plan = cluster.plan
        cluster.incarnations += 1
        self.cluster = cluster
        self.world = cluster.world
        self.index = index
        self.incarnation = cluster.incarnations
        self.dead = False
        self.orphan = False
        self.marks = 0
        self.crash_in_release = False
        self.crash_in_sync = False
        self.pending: dict[Asked, tuple[EntityKey, int, int]] = {}  # key, incarnation, epoch
        self._heard: dict[int, int] = {}
        self._asking = False
        self._paused = 0
        self._backlog: list[Callable[[], None]] = []
        self._next: int | None = None
        self._boot = self.world.now - 1_000_000 * self.incarnation
        self._lanes: dict[bytes, int] = {}
        self._leases: dict[str, Lease] = {}
        self._gate = Gate(lambda route: self.lease(route.partition("/")[2]))
        self._housekeeping = False
        self._telling = False
        self._broken = False
        self.syncing = False
        self.inputs = TickInputs()
        self.admissions: deque[tuple[int, list[str], Reply]] = deque()
        self.told: list[tuple[set[TellNumber], Life]] = []
        self.foreign: list[tuple[list[Concluded], Life]] = []
        self._deciding = (self.told, self.foreign)  # as far as a tick that isn't durable has them
        self._concluded: list[Concluded] = []
        self.store = plan.store(cluster.disks[index], self.incarnation)
        self.host = plan.host(
            self.store,
            cluster.machines,
            cluster.keyspace,
            cluster.catalog,
            range(index, cluster.keyspace.partitions, cluster.workers),
            SETTINGS,
        )
        if self.world.chance.random() < 0.3:
            self._move(self.world.chance.choice(sorted(self.host.partitions)))
        self.ledger = plan.ledger(cluster.ledger_path(index, self.incarnation))
        view = View(self.world)
        holder = f"w{index}".encode()
        self.egress = plan.egress(holder, self.incarnation, self.ledger, EGRESS, view)
        self.smtp = Smtp(self, cluster.sink)
        self.adopted: list[Adopted] = []
        self.lending = Lending(self)
        self.adopt_ledgers()
        self.store.defers = True

    def _move(self, number: int) -> None:
        """Let go of a partition and take it again under the next epoch, as a move between workers does."""
        self.world.reach("life: moves a partition")
        self.host.freeze({number})
        self.host.give([number])
        if self.host.take([number]) != [number]:
            raise RefusedError(f"partition {number} was claimed by somebody else at the same time")
        self.host.freeze({number})
        self.host.freeze(set())

    def begin(self) -> None:
        """Settle what former lives left, and start."""
        self.inputs.answers += self.resolve()
        self.send_tells(self.host.outboxes())
        self.wake()

    def do(self, deed: Callable[[], None]) -> None:
        """Let something happen to this process: now, when it runs again, or never."""
        if self.dead:
            return
        if self._paused:
            self._backlog.append(deed)
            return
        try:
            deed()
        except Crash:
            self.cluster.bury(self)

    def pause(self, ms: int) -> None:
        """Stop for a while, as a process does that is swapped out or whose sync takes long."""
        self._paused += 1
        self.world.after(ms, self._resume)

    def _resume(self) -> None:
        self._paused -= 1
        if self._paused or self.dead:
            return
        backlog, self._backlog = self._backlog, []
        for deed in backlog:
            self.do(deed)

    def wall(self) -> int:
        """This node's clock, which jumps."""
        return self.world.now + self.cluster.skew[self.index]

    def mono(self) -> int:
        """This process's monotonic clock."""
        return self.world.now - self._boot

    def lease(self, domain: str) -> Lease:
        """What may be used of a domain."""
        lease = self._leases.get(domain)
        if lease is None:
            lease = self._leases[domain] = self.cluster.governor.lease(self.index, domain)
        return lease

    # ---- from outside

    def admit(self, batch: list[Arrival], reply: Reply) -> None:
        """Take inputs; the reply comes when they are durable, or never."""
        if self.orphan or self._broken:
            return
        self.inputs.arrivals += batch
        self.admissions.append((len(batch), [], reply))
        self.wake(GATHER_MS)

    def receive_tells(self, tells: list[TellOut], sender: Life) -> None:
        """Take Tells of another worker."""
        if self.orphan or self._broken:
            return
        self.inputs.delivers += tells
        self.told.append(({(t.source, t.target, t.seq) for t in tells}, sender))
        self.wake(GATHER_MS)

    def hear_confirms(self, confirms: list[TellNumber]) -> None:
        """Hear that Tells are durable at their target."""
        if not self.orphan and not self._broken:
            self.inputs.confirms += confirms
            self.wake(GATHER_MS)

    def repair(self, repairs: list[Repair]) -> None:
        """Take the operator's word on inputs in quarantine."""
        if not self.orphan and not self._broken:
            self.inputs.repairs += repairs
            self.wake(GATHER_MS)

    def take_outcomes(self, concluded: list[Concluded], orphan: Life) -> None:
        """Take outcomes of an orphan's egress."""
        if self.orphan or self._broken or self.lending.away:
            return
        for one in concluded:
            self.inputs.answers.append(_answer(one))
            self.pending.pop(Asked(one.message.message_id, one.outcome.attempt), None)
        self.foreign.append((concluded, orphan))
        self.wake(GATHER_MS)

    # ---- the loop

    def wake(self, ms: int = 0) -> None:
        """Tick soon."""
        when = self.world.now + ms
        if self._next is None or when < self._next:
            self._next = when
            self.world.after(ms, lambda: self.do(lambda: self._tick_at(when)))

    def _tick_at(self, when: int) -> None:
        if self._next == when:
            self._next = None
            if not self.orphan and not self._broken and not self.syncing:
                self.tick()

    def tick(self) -> None:
        """Decide what waits and let its effects out."""
        inputs = self.inputs
        concluded, self._concluded = self._concluded + self.egress.outcomes(), []
        inputs.answers += [_answer(one) for one in concluded]
        inputs.credits = [] if self._idle() else self._credits()
        if not self._worth_it():
            for offer in inputs.credits:
                self._take_back(offer)
            inputs.credits = []
            self._rest()
            return
        self._concluded = concluded
        self._deciding = (self.told, self.foreign)
        self.told, self.foreign = [], []
        self.about_to_commit(concluded)
        try:
            released = self.host.tick(self.wall(), inputs)
        except StoreError:
            self.world.reach("life: mends a failed commit")
            self.mend()
            return
        except Exception:
            if self.cluster.owners.get(self.index) is self:
                raise
            # it decided on what the next owner wrote, beside counters of its own: a worker ends there
            self.world.reach("life: former owner ends")
            raise Crash from None
        self._concluded = []
        if released.lost:
            self.become_orphan()
        elif isinstance(self.store.slow_ms, int) and self.store.slow_ms:
            self.pause(self.store.slow_ms)
            self._backlog.insert(0, lambda: self._finish(concluded, released))
        elif isinstance(self.store.sync_ms, int) and self.store.sync_ms:
            if self.crash_in_sync:
                self.world.reach("crash: while it syncs")
                dies_in = self.world.chance.randrange(self.store.sync_ms)
                self.world.after(dies_in, lambda: self.cluster.bury(self))
            self.leave_to_others(concluded, released)
        else:
            self._finish(concluded, released)

    def leave_to_others(self, concluded: list[Concluded], released: Released) -> None:
        """Let a thread sync what was written; all else goes on meanwhile."""
        self.world.reach("life: goes on while it syncs")
        self.syncing = True
        synced = partial(self._synced, concluded, released)
        self.world.after(self.store.sync_ms, lambda: self.do(synced))

    def _synced(self, concluded: list[Concluded], released: Released) -> None:
        """The thread has come back."""
        self.syncing = False
        try:
            self.store.sync()
        except StoreError:
            self.world.reach("life: mends a failed commit")
            self.mend()
            return
        self._finish(concluded, released)
        self.wake()

    @property
    def readable(self) -> bool:
        """Whether all that can be read is durable."""
        return not self.syncing and not self._broken

    def about_to_commit(self, concluded: list[Concluded]) -> None:
        """A seam for planted bugs; an honest worker does nothing here."""

    def _finish(self, concluded: list[Concluded], released: Released) -> None:
        """Acknowledge and release what is durable."""
        self.egress.confirmed(concluded)
        _, foreign = self._deciding
        for theirs, orphan in foreign:
            self._confirm_orphan(theirs, orphan)
        for ledger in self.adopted:
            self.cluster.unlink(ledger.path)
        self.adopted = []
        self._release(released)
        self._acknowledge(released)
        self._confirm_tells(released.confirms)
        self.send_tells([*released.elsewhere, *released.tells])
        self.smtp.pump()
        self._keep_house()
        if self.inputs.arrivals:
            self.wake(1)
        if (
            self.egress.fresh_count
        ):  # what was given back at once, such as a credit of a former life
            self.wake(GATHER_MS)
        if self.inputs.delivers or self.inputs.confirms:
            self.wake(GATHER_MS)
        self._rest()

    def _rest(self) -> None:
        due = self.host.next_due()
        if due is not None:
            self.wake(max(due - self.wall(), 1))
        if self.host.ready_lanes():
            self.wake(100)

    def _idle(self) -> bool:
        inputs = self.inputs
        return not (inputs.answers or inputs.arrivals or self.host.ready_lanes())

    def _worth_it(self) -> bool:
        inputs = self.inputs
        if inputs.answers or inputs.arrivals or inputs.delivers or inputs.confirms:
            return True
        if inputs.repairs:
            return True
        due = self.host.next_due()
        if due is not None and due <= self.wall():
            return True
        lanes = self.host.ready_lanes() if inputs.credits else {}
        return any(offer.lane in lanes for offer in inputs.credits)

    def _credits(self) -> list[CreditOffer]:
        now, mono = self.world.now, self.mono()
        for lane in self.host.ready_lanes():
            self._lanes[lane] = now
        self._lanes = {k: seen for k, seen in self._lanes.items() if seen >= now - LANE_KEPT_MS}
        offers = []
        for lane in self._lanes:
            route = lane[1:].decode()
            offer = self.egress.offer(lane, mono, self._gate.available(route, now))
            if offer is not None:
                self._gate.take(route, offer.number)
                offers.append(offer)
        return offers

    def _take_back(self, offer: CreditOffer) -> None:
        self.egress.take_back(offer)
        self._gate.give_back(offer.lane[1:].decode(), offer.number)

    def _release(self, released: Released) -> None:
        dies_after = -1
        if self.crash_in_release and released.releases:
            self.world.reach("crash: in the middle of the release")
            dies_after = self.world.chance.randrange(len(released.releases))
        for number, (epoch, release) in enumerate(released.releases):
            if number == dies_after:
                raise Crash
            body = release.body
            if isinstance(body, Message):
                self._lanes[lane_name(body.message_class, body.route)] = self.world.now
                self._hand_over(epoch, body)
            elif isinstance(body, CancelAttempt):
                self.egress.cancel(body.message_id, body.attempt)
        for offer in released.credits_left:
            self._take_back(offer)

    def _hand_over(self, epoch: int, message: Message) -> None:
        """Give a message to the egress: as a rule at once, sometimes late or twice, as between two processes."""
        draw, world = self.world.chance.random(), self.world
        if draw > 0.04:
            self.egress.accept(epoch, message, self.mono())
        if draw < 0.06:
            late = world.chance.choice((5, 200, 3000))
            world.reach("hand-over: late" if draw <= 0.04 else "hand-over: repeated")
            world.after(late, lambda: self.do(lambda: self._late(epoch, message)))

    def _late(self, epoch: int, message: Message) -> None:
        self.egress.accept(epoch, message, self.mono())
        self.smtp.pump()
        self._keep_house()
        self.wake()

    def _acknowledge(self, released: Released) -> None:
        verdicts = deque(released.verdicts)
        while verdicts:
            number, got, reply = self.admissions[0]
            while verdicts and len(got) < number:
                got.append(verdicts.popleft())
            if len(got) == number:
                self.admissions.popleft()
                reply(got)

    def _keep_house(self) -> None:
        if self._housekeeping or not self.egress.in_hand:
            return
        self._housekeeping = True
        self.world.after(RETRY_MS, lambda: self.do(self._house))

    def _house(self) -> None:
        self._housekeeping = False
        self.egress.expire(self.mono())
        self.smtp.pump()
        self.wake()
        self._keep_house()

    # ---- Tells

    def send_tells(self, tells: list[TellOut]) -> None:
        """Bring Tells on their way."""
        outward: dict[int, list[TellOut]] = {}
        for tell in tells:
            target = tell.target % self.cluster.workers
            if target == self.index:
                self.inputs.delivers.append(tell)
            else:
                outward.setdefault(target, []).append(tell)
        for target, batch in outward.items():
            self._tell_worker(target, batch)
        if self.inputs.delivers:
            self.wake(GATHER_MS)
        if outward and not self._telling:
            self._telling = True
            self.world.after(RETRY_MS, lambda: self.do(self.tell_again))

    def tell_again(self) -> None:
        """Repeat what isn't confirmed: the outbox is the memory of it."""
        self._telling = False
        if self.orphan or self._broken:
            return
        if not self.readable:  # what the outbox holds may not last
            self._telling = True
            self.world.after(RETRY_MS, lambda: self.do(self.tell_again))
            return
        mine, count = self.index, self.cluster.workers
        waiting = [t for t in self.host.outboxes() if t.target % count != mine]
        if waiting:
            self.world.reach("tells: repeated from the outbox")
            self.send_tells(waiting)

    def _tell_worker(self, target: int, batch: list[TellOut]) -> None:
        cluster = self.cluster

        def arrive() -> None:
            owner = cluster.owners.get(target)
            if owner is not None:
                owner.do(lambda: owner.receive_tells(batch, self))

        cluster.network.send(self.index, target, arrive)

    def _confirm_tells(self, confirmed: list[TellNumber]) -> None:
        mine, count = self.index, self.cluster.workers
        self.inputs.confirms += [one for one in confirmed if one[0] % count == mine]
        durable = set(confirmed)
        told, _ = self._deciding
        for asked, sender in told:
            answer = sorted(asked & durable)
            if answer:
                self._answer_tells(sender, answer)

    def _answer_tells(self, sender: Life, answer: list[TellNumber]) -> None:
        def deliver() -> None:
            sender.do(lambda: sender.hear_confirms(answer))

        self.cluster.network.send(self.index, sender.index, deliver)

    # ---- when things fail

    def _forget_waiting(self) -> None:
        """Whoever waits for an answer gets none, and comes again."""
        self.inputs = TickInputs()
        self.admissions.clear()
        self.told, self.foreign, self._concluded = [], [], []
        self._deciding = ([], [])

    def mend(self) -> None:
        """Forget what was decided, read what is durable, ask what became of what was handed over."""
        self._broken = True
        self._forget_waiting()
        try:
            self.host.recover()
        except StoreError:
            self.world.after(RETRY_MS, lambda: self.do(self.mend))
            return
        self._broken = False
        self._concluded = self.egress.unconfirmed()
        self.inputs.answers += self.resolve()
        self.send_tells(self.host.outboxes())
        self.wake()

    def adopt_ledgers(self) -> set[int]:
        """Adopt ledgers whose writers are dead. Returns their incarnations."""
        for path in self.cluster.ledgers(self.index, self.incarnation):
            if any(one.path == str(path) for one in self.adopted):
                continue
            try:
                self.adopted.append(adopt(path))
            except RefusedError:
                self.world.reach("ledger: its writer lives")
        return {int(one.path.rpartition("-")[2].partition(".")[0]) for one in self.adopted}

    def resolve(self) -> list[Answer]:
        """Find the fate of all that stands as handed over."""
        self.pending = {}
        adopted = self.adopt_ledgers()
        parts = cast("Assembly", Directory(self, self.host, adopted))
        answers = resolve(parts, self.adopted)
        for answer in answers:
            self.world.reach(f"recovery: {answer.body.kind}")
        if self.pending and not self._asking:
            self._asking = True
            self.ask()
        return answers

    def ask_later(self, key: EntityKey, asked: Asked, incarnation: int, epoch: int) -> None:
        """Note that another egress must be asked."""
        self.pending[asked] = (key, incarnation, epoch)
        self._heard.setdefault(incarnation, self.world.now)

    def ask(self) -> None:
        """Ask living egresses; adopt the ledgers of those that died; give up on those that are silent for too long."""
        if self.orphan or self._broken or not self.pending:
            self._asking = False
            return
        self.world.after(RETRY_MS, lambda: self.do(self.ask))
        known = len(self.adopted)
        self.adopt_ledgers()
        if len(self.adopted) > known:
            self.world.reach("ledger: adopted later")
            self.inputs.answers += self.resolve()
            self.wake(GATHER_MS)
        for asked, (key, incarnation, epoch) in list(self.pending.items()):
            if self.world.now - self._heard[incarnation] > EGRESS_LOST_AFTER_MS:
                self.world.reach("recovery: egress is lost")
                self.cluster.lost_hands += 1
                outcome = AttemptOutcome(asked.attempt, "in_doubt", "egress_lost")
                self._answered(asked, outcome)
            else:
                self._ask_other(key, asked, incarnation, epoch)

    def _ask_other(self, key: EntityKey, asked: Asked, incarnation: int, epoch: int) -> None:
        other = self.cluster.lives.get(incarnation)
        if other is None:
            return
        network = self.cluster.network

        def question() -> None:
            outcome = other.egress.fate(asked, epoch, fence=True)
            self.world.reach("egress: asked and fenced")

            def answer() -> None:
                self.do(lambda: self._fate_told(incarnation, asked, outcome))

            network.send(("old", other.index), self.index, answer)

        network.send(self.index, ("old", other.index), lambda: other.do(question))

    def _fate_told(self, incarnation: int, asked: Asked, outcome: AttemptOutcome | None) -> None:
        self._heard[incarnation] = self.world.now
        if outcome is not None and asked in self.pending and not self._broken:
            self._answered(asked, outcome)

    def _answered(self, asked: Asked, outcome: AttemptOutcome) -> None:
        key, _, _ = self.pending.pop(asked)
        self.inputs.answers.append(Answer(key, outcome))
        self.wake(GATHER_MS)

    # ---- orphans

    def become_orphan(self) -> None:
        """Somebody else owns the partitions: decide nothing more, but tell what becomes of what is in hand."""
        self.world.reach("life: former owner found out")
        self.orphan = True
        self._forget_waiting()
        self._report()

    def _report(self) -> None:
        cluster = self.cluster
        owner = cluster.owners.get(self.index)
        self.egress.expire(self.mono())
        self.smtp.pump()
        concluded = self.egress.unconfirmed()
        if concluded and owner is not None and owner is not self:
            self._tell_owner(owner, concluded)
        if not self.egress.unconfirmed_count and not self.egress.in_hand:
            cluster.exit(self)
            return
        self.world.after(RETRY_MS, lambda: self.do(self._report))

    def _tell_owner(self, owner: Life, concluded: list[Concluded]) -> None:
        def deliver() -> None:
            owner.do(lambda: owner.take_outcomes(concluded, self))

        self.cluster.network.send(("old", self.index), self.index, deliver)

    def _confirm_orphan(self, concluded: list[Concluded], orphan: Life) -> None:
        def deliver() -> None:
            orphan.do(lambda: orphan.egress.confirmed(concluded))

        self.cluster.network.send(self.index, ("old", self.index), deliver)


def _answer(concluded: Concluded) -> Answer:
    message = concluded.message
    key = message_key(message.tenant, message.message_id)
    return Answer(key, concluded.outcome, (EntityKey(message.contact),))
