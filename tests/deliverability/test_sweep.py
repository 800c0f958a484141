"""Marks and sweep over crashes: the law holds at every instant, nothing is lost, nothing under a mark is handed over.

Real machines, host and sweep over a store in memory; commits may fail, and the host may begin anew, at any step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.marks import SECTION, Action, Mark, Marks, Selection, is_parked, looked
from deliverability.message.machine import MessageMachine
from deliverability.message.records import AttemptOutcome, CancelAttempt, Settle
from deliverability.message.state import MessageState
from deliverability.message.stream_policy import StreamPolicy
from deliverability.sweep import Sweep
from engine.entities import Machines
from engine.errors import StoreError
from engine.host import Host
from engine.ids import derive
from engine.inputs import Arrival
from engine.keyspace import EntityKey, Keyspace, contact_key, message_key
from engine.machine import Credit
from engine.store.memory import MemoryStore
from engine.store.protocol import Batch
from engine.tally import holds
from engine.tick import Answer, CreditOffer, Released, TickInputs
from engine.vocabulary import Message, OutcomeKind, SendDirect
from scenarios.contact import ContactMachine

TENANT = "t"
HOUR = 3_600_000
POOLS = ("", "blue", "green")
DOMAINS = ("a.example", "b.example")
HOLDER = b"w0"


class Shelf:
    """A catalog with nothing but marks."""

    def __init__(self, version: int, marks: Marks | None) -> None:
        self.version = version
        self.marks = marks

    def find(self, section: str, tenant: str, name: str) -> Any:
        return self.marks if section == SECTION else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        return {}


class Failing(MemoryStore):
    """A store whose next commit may fail."""

    fails = False

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        if self.fails:
            self.fails = False
            raise StoreError("told to fail")
        return super().commit(batches)


class Town:
    """A worker's host, its sweep, and an egress that holds messages."""

    def __init__(self) -> None:
        self.store = Failing()
        self.shelf = Shelf(1, None)
        self.now = HOUR
        self.sent = 0
        self.hand: dict[bytes, Message] = {}
        self.arrived: set[bytes] = set()
        self.cancelled: set[bytes] = set()
        self.begin()

    def begin(self) -> None:
        """Begin anew, with what is durable."""
        machines = Machines((ContactMachine(), MessageMachine()))
        self.host = Host(self.store, machines, Keyspace(4), self.shelf, range(4))
        self.sweep = Sweep(self.host)
        self.sweep.begin(self.shelf, [TENANT])

    def tick(self, inputs: TickInputs) -> Released | None:
        try:
            released = self.host.tick(self.now, inputs)
        except StoreError:
            self.host.recover()
            self.sweep.again()
            self.sweep.begin(self.shelf, [TENANT])
            return None
        for _, release in released.releases:
            body = release.body
            if isinstance(body, Message):
                self._may_go(body)
                self.hand[body.message_id] = body
            elif isinstance(body, CancelAttempt) and body.message_id in self.hand:
                self.cancelled.add(body.message_id)
        for counts in self.host.counts().values():
            assert holds(counts), counts
        return released

    def _may_go(self, message: Message) -> None:
        state = self.state(message.message_id)
        if self.shelf.marks is not None:
            found = looked(self.shelf.marks, state.send, state.generation, state.rerouted)
            assert found.end is None, "under a mark that ends it, and handed over"
            assert not found.waits, "suspended, and handed over"

    def state(self, message_id: bytes) -> MessageState:
        state = self.host.entry(message_key(TENANT, message_id))[0]
        assert isinstance(state, MessageState)
        return state

    def send(self, domain: int, pool: int, wait: int) -> None:
        contact = contact_key(TENANT, f"c{self.sent % 5}")
        identity = derive(contact, b"direct", str(self.sent))
        body = SendDirect(
            identity,
            "hello",
            {},
            address=f"x@{DOMAINS[domain]}",
            due=self.now + wait * HOUR,
            pool=POOLS[pool],
            campaign=f"k{self.sent % 2}",
        )
        arrival = Arrival(contact, body, str(self.sent).encode())
        while self.tick(TickInputs(arrivals=[arrival])) is None:
            arrival = Arrival(contact, body, str(self.sent).encode())
        self.sent += 1
        self.arrived.add(identity)

    def mark(self, action: Action, selection: Selection) -> None:
        before = self.shelf.marks or Marks()
        number = before.newest + 1
        mark = Mark(number, action, selection, to_pool="red" if action == "reroute" else "")
        self.publish(Marks(number, (*before.marks, mark)))

    def resume(self) -> None:
        before = self.shelf.marks or Marks()
        kept = tuple(one for one in before.marks if one.action not in ("suspend", "drain"))
        self.publish(Marks(before.newest + 1, kept))

    def publish(self, marks: Marks) -> None:
        self.shelf = Shelf(self.shelf.version + 1, marks)
        self.host.publish(self.shelf)
        self.sweep.begin(self.shelf, [TENANT])

    def walk(self, rows: int) -> None:
        found = self.sweep.step(rows) + self.sweep.expired(self.now, 10)
        if self.tick(TickInputs(answers=found)) is not None:
            self.sweep.settled()

    def walk_all(self) -> None:
        """Walk once over all; those in hand that keep marks in force are walked again for ever."""
        for _ in range(30):
            self.walk(50)

    def grant(self, number: int) -> None:
        offers = [
            CreditOffer(lane, number, Credit(HOLDER, 1, 1 << 60))
            for lane in self.host.ready_lanes()
        ]
        self.tick(TickInputs(credits=offers))

    def conclude(self, kind: OutcomeKind, number: int) -> None:
        for identity in sorted(self.hand)[:number]:
            message = self.hand[identity]
            told: OutcomeKind = "cancelled" if identity in self.cancelled else kind
            outcome = AttemptOutcome(
                message.attempt, told, "connection" if told == "deferred" else ""
            )
            key = message_key(TENANT, identity)
            answer = Answer(key, outcome, (EntityKey(message.contact),))
            if self.tick(TickInputs(answers=[answer])) is not None:
                del self.hand[identity]
                self.cancelled.discard(identity)

    def finish(self) -> None:
        """Let everything come to its end."""
        self.resume()
        for _ in range(200):
            self.walk_all()
            self.now += 2 * HOUR
            self.tick(TickInputs())
            self.grant(1000)
            self.conclude("delivered", 1000)


SELECTIONS = st.builds(
    Selection,
    campaign=st.sampled_from(["", "k0"]),
    domains=st.sampled_from([(), ("a.example",)]),
    pool=st.sampled_from(["", "blue", "default"]),
)
ACTIONS = st.sampled_from(["suspend", "drain", "cancel", "bounce", "expire", "reroute"])
SENDS = st.tuples(
    st.just("send"), st.integers(0, 1), st.integers(0, 2), st.sampled_from([0, 0, 0, 2])
)
MARKING = st.tuples(st.just("mark"), ACTIONS, SELECTIONS)
GRANTS = st.tuples(st.just("grant"), st.integers(1, 3))
CONCLUDING = st.tuples(
    st.just("conclude"),
    st.sampled_from(["delivered", "deferred", "deferred", "unattempted", "in_doubt"]),
    st.integers(1, 3),
)
REST = st.one_of(
    st.tuples(st.just("resume")),
    st.tuples(st.just("walk"), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 1, 2, 30])),
    st.tuples(st.just("fail")),
    st.tuples(st.just("crash")),
)
STEPS = st.one_of(SENDS, MARKING, GRANTS, CONCLUDING, REST)


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=25, max_size=60))
def test_marks_and_sweep_lose_nothing(steps: list[Any]) -> None:
    """Whatever commands, failures and crashes come: each message has one end, and the counters say which."""
    town = Town()
    for number in range(6):
        town.send(number % 2, number % 3, 0)
    for step in steps:
        match step:
            case ("send", domain, pool, wait):
                town.send(domain, pool, wait)
            case ("mark", action, selection):
                town.mark(action, selection)
            case ("resume",):
                town.resume()
            case ("walk", rows):
                town.walk(rows)
            case ("grant", number):
                town.grant(number)
            case ("conclude", kind, number):
                town.conclude(kind, number)
            case ("wait", hours):
                town.now += hours * HOUR
                town.tick(TickInputs())
            case ("fail",):
                town.store.fails = True
            case ("crash",):
                town.store.fails = False
                town.begin()
    town.store.fails = False
    town.finish()
    ends = [town.state(identity).status for identity in town.arrived]
    assert set(ends) <= {"delivered", "cancelled", "bounced", "expired"}, ends
    total: dict[str, int] = {}
    for counts in town.host.counts().values():
        for bucket, number in counts.items():
            total[bucket] = total.get(bucket, 0) + number
    assert total.pop("accepted", 0) == town.sent == sum(total.values())
    assert total == {end: ends.count(end) for end in set(ends)}
    assert not town.host.ready_lanes()
    assert not any(
        is_parked(queue) and town.store.scan(*rows_of(partition, queue), 1)
        for partition, part in town.host.partitions.items()
        for queue in part.ready
    )


def rows_of(partition: int, queue: bytes) -> tuple[bytes, bytes]:
    start = partition.to_bytes(2) + b"r" + len(queue).to_bytes(1) + queue
    return start, start + b"\xff" * 9


def test_a_sweep_touches_only_what_a_mark_concerns() -> None:
    """A mark on one domain leaves the others alone; one walk is enough; a second finds nothing."""
    town = Town()
    for number in range(40):
        town.send(number % 2, 0, number % 3)
    town.mark("cancel", Selection(domains=("a.example",)))
    touched = 0
    while town.sweep.under_way:
        found = town.sweep.step(7)
        touched += len(found)
        town.tick(TickInputs(answers=found))
    town.sweep.settled()
    assert touched == 20
    assert town.sweep.swept == {TENANT: 1}
    town.begin()
    assert not [one for _ in range(100) for one in town.sweep.step(7)]


def test_a_partition_that_changes_hands_in_the_middle_of_a_sweep_is_swept() -> None:
    """Else the mark would be taken for swept and go, and what an operator cancelled would be sent."""
    town = Town()
    for number in range(40):
        town.send(number % 2, 0, 1)
    town.mark("cancel", Selection())
    town.tick(TickInputs(answers=town.sweep.step(3)))
    other = Host(town.store, town.host.machines, Keyspace(4), town.shelf, ())
    its = Sweep(other)
    its.begin(town.shelf, [TENANT])
    its.settled()
    assert its.swept == {TENANT: 1}, "it has nothing, so all of it is swept"
    town.host.give([1, 2])
    assert other.take([1, 2]) == [1, 2]
    its.took([1, 2])
    assert its.swept == {}
    for host, sweep in ((town.host, town.sweep), (other, its)):
        while sweep.under_way:
            assert not sweep.swept
            host.tick(town.now, TickInputs(answers=sweep.step(7)))
        sweep.settled()
        assert sweep.swept == {TENANT: 1}
    queued = [
        counts.get("queued") for host in (town.host, other) for counts in host.counts().values()
    ]
    assert not any(queued)


def test_a_suspended_message_has_its_turn_though_the_store_failed_to_tell_of_it() -> None:
    """Its expiry is looked at again when the store answers."""

    class Silent(Failing):
        silent = False

        def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
            if self.silent:
                raise StoreError("told to fail")
            return super().get(keys)

    town = Town()
    town.store = store = Silent()
    town.begin()
    town.send(0, 0, 0)
    (identity,) = town.arrived
    town.mark("suspend", Selection())
    town.walk_all()
    town.begin()
    town.now += 10_000 * HOUR
    assert town.state(identity).status == "suspended"
    town.begin()
    store.silent = True
    assert town.sweep.expired(town.now, 10) == []
    store.silent = False
    assert len(town.sweep.expired(town.now, 10)) == 1


class Holding(Shelf):
    """A catalog whose streams hold what is in doubt."""

    def find(self, section: str, tenant: str, name: str) -> Any:
        held = StreamPolicy(in_doubt="hold") if section == "stream" else None
        return held or super().find(section, tenant, name)


@pytest.mark.parametrize("action", ["cancel", "bounce", "expire"])
def test_what_is_in_doubt_remembers_that_its_like_were_ended(action: Action) -> None:
    """The mark goes once it is swept; an operator who has doubts resent afterwards doesn't send what was ended."""
    town = Town()
    town.shelf = Holding(1, None)
    town.begin()
    town.send(0, 0, 0)
    (identity,) = town.arrived
    town.grant(1)
    town.conclude("in_doubt", 1)
    assert town.state(identity).status == "in_doubt"
    town.shelf = Holding(2, Marks(1, (Mark(1, action),)))
    town.host.publish(town.shelf)
    town.sweep.begin(town.shelf, [TENANT])
    town.walk_all()
    assert town.state(identity).status == "in_doubt", "it may have arrived"
    town.shelf = Holding(3, Marks(2))
    town.host.publish(town.shelf)
    key = message_key(TENANT, identity)
    town.tick(TickInputs(arrivals=[Arrival(key, Settle(resend=True), b"settle")]))
    assert town.state(identity).status == "cancelled"


@pytest.mark.parametrize("action", ["bounce", "expire", "reroute"])
def test_marks_stay_in_force_until_what_was_under_way_has_come_back(action: Action) -> None:
    """Else a message that wasn't begun would go on as if nobody had said anything, since marks that are swept go."""
    town = Town()
    town.send(0, 0, 0)
    town.grant(1)
    (identity,) = town.arrived
    assert town.state(identity).status == "attempting"
    town.mark(action, Selection())
    town.walk_all()
    assert town.sweep.swept == {}
    town.conclude("unattempted", 1)
    town.walk_all()
    assert town.sweep.swept == {TENANT: 1}
    ends = {"bounce": "bounced", "expire": "expired", "reroute": "ready"}
    assert town.state(identity).status == ends[action]
    assert town.state(identity).send.pool == ("red" if action == "reroute" else POOLS[0])


def test_what_is_resumed_is_ready_again() -> None:
    """Once the sweep has touched it, in its old place."""
    town = Town()
    town.send(0, 0, 0)
    (identity,) = town.arrived
    before = town.host.entry(message_key(TENANT, identity))
    town.mark("suspend", Selection())
    town.walk_all()
    assert town.state(identity).status == "suspended"
    town.resume()
    town.walk_all()
    assert town.host.entry(message_key(TENANT, identity)) == before


def test_a_reroute_to_where_a_message_stands_takes_no_turn_away() -> None:
    """Twice to the same pool, and away and back: it is handed over all the same."""
    for pools in (("red", "red"), ("red", "default")):
        town = Town()
        town.send(0, 0, 0)
        marks = tuple(
            Mark(number, "reroute", Selection(), to_pool=pool)
            for number, pool in enumerate(pools, 1)
        )
        town.publish(Marks(2, marks))
        town.grant(1)
        town.grant(1)
        assert len(town.hand) == 1, pools


def test_generations_tell_what_came_first() -> None:
    """What is accepted after a cancel isn't cancelled by it; drain holds just that back."""
    town = Town()
    town.send(0, 0, 0)
    town.mark("drain", Selection())
    town.send(0, 0, 0)
    town.walk_all()
    assert [town.state(one).status for one in sorted(town.arrived, key=order(town))] == [
        "ready",
        "suspended",
    ]
    town.mark("cancel", Selection())
    town.send(0, 0, 0)
    town.walk_all()
    found = [town.state(one).status for one in sorted(town.arrived, key=order(town))]
    assert found == ["cancelled", "cancelled", "suspended"]


def order(town: Town) -> Any:
    return lambda identity: (
        town.state(identity).generation,
        town.state(identity).created,
        town.state(identity).status != "cancelled",
    )


def test_a_million_suspended_stand_in_nobodys_way() -> None:
    """A tick leaves at most a bounded number of credits unused, and what is parked has no lane."""
    town = Town()
    for _ in range(1200):
        town.send(0, 0, 0)
    town.send(1, 0, 0)
    town.mark("suspend", Selection(domains=("a.example",)))
    seen = 0
    for _ in range(10):
        offers = [
            CreditOffer(lane, 1, Credit(HOLDER, 1, 1 << 60)) for lane in town.host.ready_lanes()
        ]
        released = town.tick(TickInputs(credits=offers))
        assert released is not None
        seen = max(seen, sum(town.state(one).status == "suspended" for one in town.arrived) - seen)
    assert len(town.hand) == 1
    assert list(town.host.ready_lanes()) == []
