"""Coupon pools: each code once, over partitions, crashes and repetitions; what nobody could use goes back."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from engine import inputs
from engine.entities import Machines
from engine.host import Host
from engine.inputs import TellOut
from engine.keyspace import EntityKey, Keyspace, contact_key
from engine.store.memory import MemoryStore
from engine.tick import TickInputs
from engine.vocabulary import Erase, Event
from scenarios.checking import check
from scenarios.contact import ContactMachine
from scenarios.coupons import (
    BATCH_MAX,
    SHELF,
    AddCodes,
    ClosePool,
    Coupon,
    CouponMachine,
    Pool,
    code_key,
    pool_key,
)
from scenarios.state import Contact
from tests.scenarios.world import Catalog

T0 = 1_700_000_000_000
HOUR = 3_600_000
SCENARIO = """
scenario: gift
entry: asked
reentry: always
key: event.k
exit: gone
steps:
  - id: code
    coupon: {pool: spring, as: code}
    else:
      - id: none
        tag: without
      - end: none
  - id: mark
    update: {last: "= journey.code"}
  - id: day
    wait: 1d
"""


class Instance:
    """A host over a store that outlives it; a crash loses what no commit has written, and every Tell on its way."""

    def __init__(self, seed: int | None = None, partitions: int = 8) -> None:
        self.store = MemoryStore()
        self.catalog = Catalog(SCENARIO)
        self.keyspace = Keyspace(partitions)
        self.chance = random.Random(seed) if seed is not None else None
        self.now = T0
        self.number = 0
        self.tells: list[TellOut] = []
        self.confirms: list[tuple[int, int, int]] = []
        self.begin()

    def begin(self) -> None:
        machines = Machines([ContactMachine(), CouponMachine()])
        numbers = range(self.keyspace.partitions)
        self.host = Host(self.store, machines, self.keyspace, self.catalog, numbers)
        self.tells, self.confirms = self.host.outboxes(), []

    def tick(self, arrivals: list[inputs.Arrival]) -> bool:
        """Decide once; False: the worker died, and its client knows nothing."""
        self.now += 1
        died = self.chance.random() if self.chance is not None else 0.5
        if died < 0.1:
            self.begin()
            return False
        given = TickInputs(arrivals=arrivals, delivers=self.tells, confirms=self.confirms)
        released = self.host.tick(self.now, given)
        self.tells, self.confirms = released.tells, released.confirms
        assert not self.host.facts().get("quarantined_inputs"), "nothing is undecidable"
        if died > 0.9:
            self.begin()
            return False
        return True

    def give(self, key: EntityKey, body: Any, name: str = "") -> None:
        """Give an input until it is acknowledged, and let its Tells come to rest."""
        self.number += 1
        name = name or f"i{self.number}"
        while not self.tick([inputs.Arrival(key, body, name.encode(), self.now)]):
            pass
        self.rest()

    def rest(self) -> None:
        while self.tells or self.confirms or self.host.outboxes():
            if not self.tells and not self.confirms:
                self.tells = self.host.outboxes()
            self.tick([])

    def add(self, *codes: str, low: int | None = None) -> None:
        for first in range(0, len(codes), BATCH_MAX):
            body = AddCodes(codes[first : first + BATCH_MAX], low)
            self.give(pool_key("t", "spring"), body)

    def ask(self, contact: str, journey: str = "1") -> None:
        self.give(contact_key("t", contact), Event("asked", self.now, {"k": journey}))

    @property
    def pool(self) -> Pool:
        state = self.host.entry(pool_key("t", "spring"))[0]
        assert isinstance(state, Pool)
        return state

    def contact(self, name: str) -> Contact:
        state = self.host.entry(contact_key("t", name))[0]
        assert isinstance(state, Contact)
        return state

    def code(self, code: str) -> Coupon | None:
        state: Coupon | None = self.host.entry(code_key("t", "spring", code))[0]
        return state


def test_codes_are_given_in_their_order_and_bound() -> None:
    one = Instance()
    one.add("A", "B")
    one.ask("ann")
    one.ask("ben")
    one.ask("cora")
    assert one.contact("ann").attributes["last"] == "A"
    assert one.contact("ben").attributes["last"] == "B"
    assert set(one.contact("cora").tags) == {"without"}
    assert (one.pool.left, one.pool.refused) == (0, 1)
    held = one.code("A")
    assert held is not None
    assert (held.holder, held.scenario, held.step) == ("ann", "gift", "code")
    assert [(held.pool, held.code) for held in one.contact("ben").coupons] == [("spring", "B")]


def test_no_import_doubles_a_code() -> None:
    """Neither within a file, nor in another order, nor after it was given."""
    one = Instance()
    one.add("A", "B", "A")
    one.ask("ann")
    one.add("B", "A", "C")
    assert (one.pool.added, one.pool.left, one.pool.known) == (3, 2, 3)
    one.ask("ben")
    one.ask("cora")
    one.ask("dora")
    given = [one.contact(name).attributes.get("last") for name in ("ann", "ben", "cora", "dora")]
    assert given == ["A", "B", "C", None]


def test_a_pool_that_is_not_there_or_closed() -> None:
    one = Instance()
    one.ask("ann")
    assert set(one.contact("ann").tags) == {"without"}
    one.add("A", "B")
    one.give(pool_key("t", "spring"), ClosePool("leaked"))
    one.ask("ben")
    assert set(one.contact("ben").tags) == {"without"}
    one.add("C")
    one.ask("cora")
    assert one.contact("cora").attributes["last"] == "A"


def test_a_pool_that_has_expired_gives_nothing_until_it_gets_another_time() -> None:
    one = Instance()
    ends = one.now + 1_000
    one.give(pool_key("t", "spring"), AddCodes(("A", "B", "C"), None, ends))
    one.ask("ann")
    assert one.contact("ann").attributes["last"] == "A"
    one.now = ends
    one.ask("ben")
    assert set(one.contact("ben").tags) == {"without"}
    assert (one.pool.left, one.pool.refused) == (2, 1)
    one.add("D")  # as it was: still expired
    one.ask("cora")
    assert set(one.contact("cora").tags) == {"without"}
    one.give(pool_key("t", "spring"), AddCodes((), None, 0))
    one.ask("dora")
    assert one.contact("dora").attributes["last"] == "B"


def test_a_pool_written_before_there_were_times_of_expiry_is_read() -> None:
    """Fields are only ever appended; a former version wrote fewer."""
    pool = msgspec.msgpack.encode(["pool", 3, 1, ["B", "C"], 0, 0, 0, 0, False])
    assert msgspec.msgpack.decode(pool, type=CouponMachine.state_type) == Pool(3, 1, ("B", "C"))
    add = msgspec.msgpack.encode(["add_codes", ["A"], 5])
    assert msgspec.msgpack.decode(add, type=CouponMachine.input_type) == AddCodes(("A",), 5)


def test_low_stock_is_told_once_each_way_down() -> None:
    one = Instance()
    one.add("A", "B", "C", low=1)
    for name in ("ann", "ben", "cora", "dora"):
        one.ask(name)
    entries = [entry for entry in one.host.feed_after(0, 0, 100) if entry.channel != "segment"]
    assert [entry.channel for entry in entries] == ["notify.coupons"] * 2
    assert [b"low" in bytes(entry.body) for entry in entries] == [True, False]


def test_a_pool_of_several_shelves() -> None:
    """The row goes on over the edges of shelves, and a shelf is gone after its last code."""
    one = Instance()
    codes = [f"c{number}" for number in range(2 * SHELF + 3)]
    one.add(*codes[: SHELF - 1])
    given = []
    for number in range(SHELF + 2):
        if number == SHELF - 2:
            one.add(*codes[SHELF - 1 :])
        one.ask(f"p{number}")
        given.append(one.contact(f"p{number}").attributes["last"])
    assert given == codes[: SHELF + 2]
    assert one.pool.left == len(codes) - len(given)


def test_a_code_that_nobody_waits_for_goes_back() -> None:
    """Its journey was left, or its contact erased, before it came: nobody has seen it."""
    for last in (Event("gone", T0), Erase()):
        one = Instance(partitions=8)
        one.add("A")
        name = next(  # a contact of another partition than the pool's, so that the answer takes its time
            name
            for name in (f"p{number}" for number in range(99))
            if one.keyspace.partition(contact_key("t", name))
            != one.keyspace.partition(pool_key("t", "spring"))
        )
        key = contact_key("t", name)
        one.tick([inputs.Arrival(key, Event("asked", T0, {"k": "1"}), b"a", T0)])
        one.tick([inputs.Arrival(key, last, b"b", T0)])
        one.rest()
        back = one.code("A")
        assert back == Coupon()
        assert (one.pool.left, one.pool.returned) == (1, 1)
        one.ask("next")
        assert one.contact("next").attributes["last"] == "A"


def test_an_erased_contact_is_forgotten_and_its_code_stays_given() -> None:
    one = Instance()
    one.add("A")
    one.ask("ann")
    one.give(contact_key("t", "ann"), Erase())
    held = one.code("A")
    assert held is not None
    assert (held.holder, held.at > 0) == ("", True)
    one.ask("ben")
    assert set(one.contact("ben").tags) == {"without"}


def test_the_time_is_out_where_the_pool_does_not_answer() -> None:
    """The late code goes back."""
    one = Instance()
    one.add("A")
    key = contact_key("t", "p0")
    one.tick([inputs.Arrival(key, Event("asked", T0, {"k": "1"}), b"a", T0)])
    late, one.tells = one.tells, []
    if not late:
        pytest.skip("the pool lives beside this contact")
    one.now += HOUR
    one.tick([])
    assert set(one.contact("p0").tags) == {"without"}
    one.tells = late
    one.rest()
    assert one.code("A") == Coupon()


@pytest.mark.parametrize("seed", range(6))
def test_over_crashes_each_code_once_and_none_lost(seed: int) -> None:
    """Workers die before and after commits, Tells and acknowledgements get lost; more ask than there are codes."""
    one = Instance(seed)
    codes = [f"c{number}" for number in range(30)]
    one.add(*codes[:20])
    for number in range(40):
        one.ask(f"p{number}", journey=str(number % 2))
        if number == 25:
            one.add(*codes)
        if number % 7 == 3:
            one.give(contact_key("t", f"p{number}"), Erase())
    one.rest()
    states = {code: one.code(code) for code in codes}
    given = {code for code, state in states.items() if state is not None and state.at}
    assert len(given) == one.pool.taken - one.pool.returned
    assert len(given) + one.pool.left == len(codes)
    held = [
        held.code
        for number in range(40)
        for held in (one.host.entry(contact_key("t", f"p{number}"))[0].coupons or ())
    ]
    assert len(held) == len(set(held))
    assert set(held) <= given


@pytest.mark.parametrize(
    ("written", "told"),
    [("coupon: {as: x}", "pool"), ("coupon: {pool: p, as: event}", "hide a field")],
)
def test_what_the_checker_finds(written: str, told: str) -> None:
    text = f"scenario: s\nentry: a\nsteps:\n  - id: w\n    {written}\n"
    assert any(told in str(one) for one in check(text)), check(text)
