"""A small world for the protocol between state workers and an egress: virtual time, a bad network, deaths.

Real: `RemoteEgress`, `EgressDesk`, `Egress`, ledger files and their adoption, the gate. Modelled: partitions (what is
durable of each message), the network (late, lost, twice, in any order), the other side, which counts what arrives.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from actors.worker.egress_desk import DeskSettings, EgressDesk
from actors.worker.egress_port import HeldMessage
from actors.worker.egress_wire import News, Reply, Request
from actors.worker.remote_egress import CallNumber, RemoteEgress, RemoteSettings
from deliverability.egress import Asked, Egress, EgressSettings, lane_name
from deliverability.governor import Gate, Lease
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import Adopted, LedgerFile, adopt
from engine.keyspace import EntityKey, contact_key, message_key, name_of
from engine.tick import Answer, CreditOffer
from engine.vocabulary import Message, OutcomeKind

OWNERS = 2
ROUTES = ("default/a.example", "default/b.example")
TICK_MS = 10
CALL_TIMEOUT_MS = 1500
LOST_AFTER_MS = 8_000
BUSY_MS = 900  # deaths come while much is in hand
_REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_REPLY: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_NEWS = msgspec.msgpack.Decoder(News)


class Faults(msgspec.Struct, frozen=True):
    """Chances of what goes wrong, and how much of it."""

    lose: float = 0.0
    repeat: float = 0.0
    slow: float = 0.0  # a call arrives long after it was given up
    egress_deaths: int = 0
    owner_deaths: int = 0
    failed_commits: int = 0
    late_syncs: float = 0.0  # share of ticks that are durable a while after they were decided
    away_ms: int = 400  # a dead egress comes back after so long


class Durable(msgspec.Struct):
    """What a partition knows of a message."""

    number: int
    route: str
    status: str = "ready"
    attempt: int = 0
    not_after: int = 0
    incarnation: int = 0
    holder: bytes = b""


class World:
    """Everything. `run` until all messages are settled."""

    def __init__(self, folder: Path, seed: int, faults: Faults, messages: int) -> None:
        self.chance = Random(seed)
        self.faults = faults
        self.folder = folder
        self.now = 1_000_000
        self.arrived: Counter[bytes] = Counter()
        self.doubts = 0
        self.kinds: Counter[str] = Counter()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.durable: dict[bytes, Durable] = {}
        for number in range(messages):
            owner = number % OWNERS
            message_id = owner.to_bytes(4) + number.to_bytes(12)
            self.durable[message_id] = Durable(number, ROUTES[number // OWNERS % len(ROUTES)])
        self.lives = 0
        self.sender: Sender | None = Sender(self)
        self.owners = [Owner(self, index, 1) for index in range(OWNERS)]
        for one in self.owners:
            one.begin()
        self._plan_deaths()

    def _plan_deaths(self) -> None:
        for _ in range(self.faults.egress_deaths):
            self.after(self.chance.randrange(50, BUSY_MS), self.kill_sender)
        for _ in range(self.faults.owner_deaths):
            index = self.chance.randrange(OWNERS)
            self.after(self.chance.randrange(50, BUSY_MS), partial(self.kill_owner, index))
        for _ in range(self.faults.failed_commits):
            owner = self.chance.randrange(OWNERS)
            at = self.chance.randrange(50, BUSY_MS)
            self.after(at, partial(self.fail_commit, owner))

    def after(self, ms: int, deed: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + ms, next(self._order), deed))

    def run(self, limit_ms: int = 600_000) -> None:
        """Let time pass until each message is delivered and nothing is open, or the limit."""
        end = self.now + limit_ms
        while self._events and self.now < end and not self.settled():
            self._step()

    def rest(self, ms: int) -> None:
        """Let more time pass."""
        end = self.now + ms
        while self._events and self.now < end:
            self._step()

    def _step(self) -> None:
        self.now, _, deed = heapq.heappop(self._events)
        deed()

    def settled(self) -> bool:
        sender = self.sender
        return (
            all(one.status == "delivered" for one in self.durable.values())
            and sender is not None
            and not sender.egress.in_hand
            and not sender.egress.unconfirmed_count
            and not any(o.remote.in_hand or o.remote.unconfirmed_count for o in self.owners)
        )

    # ---- network

    def travel(self, deed: Callable[[], None], *, may_lose: bool = True) -> None:
        """Bring something to the other side: as a rule soon; perhaps late, twice or never."""
        faults, chance = self.faults, self.chance
        for _ in range(2 if chance.random() < faults.repeat else 1):
            if may_lose and chance.random() < faults.lose:
                continue
            slow = chance.random() < faults.slow
            self.after(chance.randrange(2000, 9000) if slow else chance.randrange(1, 15), deed)

    # ---- deaths

    def kill_sender(self) -> None:
        if self.sender is None:
            return
        self.sender.die()
        self.sender = None
        self.after(self.faults.away_ms, self._next_sender)

    def _next_sender(self) -> None:
        self.sender = Sender(self)

    def fail_commit(self, index: int) -> None:
        self.owners[index].fail_commit()

    def tell(self, index: int, raw: bytes) -> None:
        """News go to whoever is the owner when they arrive."""
        self.owners[index].hear(raw)

    def kill_owner(self, index: int) -> None:
        former = self.owners[index]
        former.die()
        self.owners[index] = Owner(self, index, former.epoch + 1)
        self.owners[index].begin()


class Sender:
    """One life of the egress, with the other side: every second or so a message is begun, and ends a little later."""

    def __init__(self, world: World) -> None:
        world.lives += 1
        self.world = world
        self.dead = False
        self.boot = world.now - 77_000 * world.lives  # clocks of two lives have nothing in common
        old = [adopt(path) for path in sorted(world.folder.glob("e0-*.ledger"))]
        self.adopted: list[Adopted] = old
        self.ledger = LedgerFile(world.folder / f"e0-{world.lives:04}.ledger")
        limits = EgressSettings(lane_credits_min=8, in_hand_max=40)
        self.egress = Egress(b"e0", world.lives, self.ledger, limits)
        gate = Gate(lambda route: Lease(4, 6000 if "a." in route else None, 20, None, 1, 5000))
        self.desk = EgressDesk(
            self.egress,
            gate,
            old,
            lambda message_id: int.from_bytes(message_id[:4]) % OWNERS,
            self.mono,
            world.now,
            DeskSettings(tell_again_ms=1500, news_max=7),
        )
        world.after(TICK_MS, self.work)

    def mono(self) -> int:
        return self.world.now - self.boot

    def die(self) -> None:
        self.dead = True
        self.ledger.close()

    def call(self, raw: bytes) -> bytes:
        reply = msgspec.msgpack.encode(self.desk.answer(_REQUEST.decode(raw)))
        self.tell()
        return reply

    def work(self) -> None:
        """Start and begin what waits, tell what is new."""
        if self.dead:
            return
        chance = self.world.chance
        for route, _ in list(self.egress.waiting()):
            if chance.random() < 0.7:
                message = self.egress.take(route, self.mono())
                if message is not None:
                    self.world.after(chance.randrange(1, 30), partial(self.begin, message))
        self.egress.expire(self.mono())
        self.desk.overdue()
        self.tell()
        self.world.after(TICK_MS, self.work)

    def begin(self, message: Message) -> None:
        if self.dead:
            return
        if not self.egress.begin(message, self.mono()):
            kind: OutcomeKind = "cancelled" if self.egress.withdrawn(message) else "unattempted"
            self.egress.conclude(message, AttemptOutcome(message.attempt, kind))
            return
        if self.world.chance.random() < 0.75:  # what is begun may arrive even if its reply doesn't
            self.world.arrived[message.message_id] += 1
            ending: OutcomeKind = "delivered" if self.world.chance.random() < 0.95 else "in_doubt"
        else:
            ending = "deferred" if self.world.chance.random() < 0.9 else "in_doubt"
        self.world.after(self.world.chance.randrange(1, 60), lambda: self.end(message, ending))

    def end(self, message: Message, kind: OutcomeKind) -> None:
        if not self.dead:
            self.egress.conclude(message, AttemptOutcome(message.attempt, kind))

    def tell(self) -> None:
        self.desk.collect()
        for index in range(OWNERS):
            while (news := self.desk.news(index)) is not None:
                raw = msgspec.msgpack.encode(news)
                self.world.travel(partial(self.world.tell, index, raw))


class Owner:
    """One life of a state worker: ticks, commits, keeps to the protocol by a real `RemoteEgress`."""

    def __init__(self, world: World, index: int, epoch: int) -> None:
        self.world = world
        self.index = index
        self.epoch = epoch
        self.dead = False
        self._fails = False
        self._unsynced: dict[bytes, Durable] = {}  # as they were before, while a sync is under way
        self._answers: list[Answer] = []
        settings = RemoteSettings(
            lost_after_ms=LOST_AFTER_MS, wish=12, wish_in_advance=4, exchange_max=5
        )
        self.remote = RemoteEgress(
            index, b"e0", lambda: world.now, lambda: world.now + 5_000_000 * epoch, settings
        )
        self.remote.kick = self.kick

    def begin(self) -> None:
        self._recover()
        self.world.after(1, self.tick)

    def mine(self) -> list[tuple[bytes, Durable]]:
        return [
            (message_id, one)
            for message_id, one in self.world.durable.items()
            if one.number % OWNERS == self.index
        ]

    def _recover(self) -> None:
        held = [
            HeldMessage(
                message_key("t", message_id),
                message_id,
                one.attempt,
                contact_key("t", "c"),
                self.epoch,
                one.holder,
            )
            for message_id, one in self.mine()
            if one.status == "attempting"
        ]
        self.remote.hold(held)
        for one in held:
            outcome = self.remote.fate(Asked(one.message_id, one.attempt), self.epoch, fence=True)
            assert outcome is None, "only this egress had messages"

    def fail_commit(self) -> None:
        self._fails = True

    def die(self) -> None:
        """What wasn't synced is lost or whole."""
        self.dead = True
        if self.world.chance.random() < 0.5:
            self.world.durable.update(self._unsynced)

    # ---- tick

    def tick(self) -> None:
        if self.dead:
            return
        answers = [*self._answers, *self.remote.outcomes()]
        self._answers = []
        ready: dict[bytes, list[bytes]] = {}
        for message_id, one in self.mine():
            if one.status == "ready":
                ready.setdefault(lane_name(2, one.route), []).append(message_id)
        lanes = {lane_name(2, route) for route in ROUTES}
        offers = [self.remote.offer(lane, ready=lane in ready) for lane in sorted(lanes)]
        if self._fails:
            self._fails = False
            self._answers = self.remote.unconfirmed()
            self._recover()
            self.remote.pump()
            self.world.after(TICK_MS, self.tick)
            return
        before = {message_id: copy(one) for message_id, one in self.mine()}
        for answer in answers:
            self._apply(answer)
        handed: list[Message] = []
        left = [
            self._hand_over(offer, ready.get(offer.lane, []), handed)
            for offer in offers
            if offer is not None
        ]
        release = partial(self._release, handed, left)
        if self.world.chance.random() < self.world.faults.late_syncs:
            self._unsynced = before
            self.world.after(self.world.chance.choice((5, 100, 1500)), release)
        else:
            release()

    def _release(self, handed: list[Message], left: list[CreditOffer]) -> None:
        """What was decided is durable; calls and answers may have come since."""
        if self.dead:
            return
        self._unsynced = {}
        self.remote.confirmed()
        for message in handed:
            self.remote.accept(self.epoch, message)
        for offer in left:
            if offer.number:
                self.remote.take_back(offer)
        self.remote.pump()
        self.world.after(TICK_MS, self.tick)

    def _hand_over(
        self, offer: CreditOffer, ready: list[bytes], handed: list[Message]
    ) -> CreditOffer:
        used = 0
        for message_id in ready[: offer.number]:
            one = self.world.durable[message_id]
            if one.status != "ready":
                continue
            one.status, one.attempt = "attempting", one.attempt + 1
            one.holder = offer.credit.holder
            used += 1
            handed.append(self._message(message_id, one, offer))
        return CreditOffer(offer.lane, offer.number - used, offer.credit)

    def _message(self, message_id: bytes, one: Durable, offer: CreditOffer) -> Message:
        return Message(
            message_id=message_id,
            tenant="t",
            attempt=one.attempt,
            route=one.route,
            message_class=2,
            template="t",
            address="a@a.example",
            display_name="",
            variables={},
            stream="s",
            scenario="",
            step="",
            date=0,
            not_after=offer.credit.not_after,
            incarnation=offer.credit.incarnation,
            contact=bytes(contact_key("t", "c")),
        )

    def _apply(self, answer: Answer) -> None:
        """Decide an outcome as the message machine does."""
        one = self.world.durable[name_of(EntityKey(answer.key))]
        outcome: AttemptOutcome = answer.body
        self.world.kinds[outcome.kind] += 1
        if one.status != "attempting" or outcome.attempt != one.attempt:
            if outcome.kind == "delivered" and one.status == "ready":
                one.status = "delivered"
            return
        if outcome.kind == "in_doubt":
            self.world.doubts += 1
        one.status = "delivered" if outcome.kind == "delivered" else "ready"

    # ---- network

    def kick(self) -> None:
        for number, request in self.remote.requests():
            raw = msgspec.msgpack.encode(request)
            self.world.after(CALL_TIMEOUT_MS, partial(self.fail, number))
            self.world.travel(partial(self._arrive, raw, number))

    def _arrive(self, raw: bytes, number: CallNumber) -> None:
        """A request reaches whoever is the egress now."""
        sender = self.world.sender
        if sender is None:
            self.world.travel(lambda: self.fail(number))
            return
        reply = sender.call(raw)
        self.world.travel(lambda: self.answer(number, reply))

    def answer(self, number: CallNumber, raw: bytes) -> None:
        if not self.dead:
            self.remote.answered(number, _REPLY.decode(raw))
            self.kick()

    def fail(self, number: CallNumber) -> None:
        if not self.dead:
            self.remote.failed(number)
            self.kick()

    def hear(self, raw: bytes) -> None:
        if not self.dead:
            self.remote.heard(_NEWS.decode(raw))
