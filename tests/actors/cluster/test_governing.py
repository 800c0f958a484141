"""The governor's desk: what it must remember outlives it; and what a worker asks for is what it uses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.cluster.governing import SILENT_MS, GoverningDesk, budgets_of, ledger_unlocked
from actors.worker.leases import LeaseDesk, ask_for_ever
from deliverability.governor import Gate, Governor, Lease, Limit
from deliverability.leasing.book import Book
from deliverability.leasing.terms import TERM_MS, Answer, Ask, Need
from deliverability.transport.ledger import LedgerFile, adopt, ledger_path
from engine.errors import StoreError, VeredusError

LIMITS = (Limit("a.example", 10, 6000, 100), Limit("*", 1, 60, 10))
ROUTE = "default/a.example"


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000

    def __call__(self) -> int:
        return self.now


def _desk(folder: Path, clock: Clock, run: int = 7) -> GoverningDesk:
    return GoverningDesk(folder, run, budgets_of(LIMITS), clock, ledger_unlocked(folder))


def _begun(folder: Path, holder: str, incarnation: int) -> LedgerFile:
    """Begin a life: its ledger is locked until it is closed, or its process ends."""
    return LedgerFile(ledger_path(folder, holder, incarnation))


def _ask(holder: str, incarnation: int, number: int, seen: int = 0) -> Ask:
    return Ask(holder, incarnation, number, (0, 0), {ROUTE: Need(100, 10**6)}, seen)


def test_lives_outlive_the_governor_and_a_new_one_waits(tmp_path: Path) -> None:
    """What was leased may still be used: a new life gives nothing for a term, and knows who may use it."""
    clock = Clock()
    lives = [_begun(tmp_path, "w0", 1), _begun(tmp_path, "w1", 1)]
    first = _desk(tmp_path, clock)
    given = first.ask(_ask("w0", 1, 1))
    assert given is not None
    assert given.shares[ROUTE].connections == 10
    second = _desk(tmp_path, clock)
    answer = second.ask(_ask("w1", 1, 1))
    assert answer is not None
    assert answer.waits
    clock.now += 2 * TERM_MS
    late = second.ask(_ask("w1", 1, 2))
    assert late is not None
    assert late.epoch == given.epoch + 1
    assert late.shares[ROUTE].connections == 0  # w0 wasn't heard from, and may have ten
    assert (late.shares[ROUTE].per_minute or 0) > 5000
    second.begins("w0", 2)
    after = second.ask(_ask("w1", 1, 3))
    assert after is not None
    assert after.shares[ROUTE].connections == 10
    for life in lives:
        life.close()


def test_who_died_with_its_node_frees_what_it_had(tmp_path: Path) -> None:
    """Nobody begins its next life: the lock of its ledger says that it is over, and a stopped one keeps what it has."""
    clock = Clock()
    dead, other = _begun(tmp_path, "w0", 1), _begun(tmp_path, "w1", 1)
    desk = _desk(tmp_path, clock)
    given = desk.ask(_ask("w0", 1, 1))
    assert given is not None
    assert given.shares[ROUTE].connections == 10
    clock.now += 2 * TERM_MS
    stopped = desk.ask(_ask("w1", 1, 1))
    assert stopped is not None
    assert stopped.shares[ROUTE].connections == 0, "w0 is silent, but lives"
    dead.close()
    clock.now += SILENT_MS
    told = desk.ask(_ask("w1", 1, 2))
    assert told is not None
    assert told.shares[ROUTE].connections == 10
    assert adopt(ledger_path(tmp_path, "w0", 1)).in_doubt == set(), "it is still there for others"
    other.close()


def test_who_died_while_there_was_no_governor_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A new governor waits for all lives of the former one, not for those that are over."""
    clock = Clock()
    living, dead = _begun(tmp_path, "w0", 1), _begun(tmp_path, "w1", 1)
    first = _desk(tmp_path, clock)
    for holder in ("w0", "w1"):
        assert first.ask(_ask(holder, 1, 1)) is not None
    dead.close(remove=True)  # its file may be gone, too
    second = _desk(tmp_path, clock)
    epoch = 2
    assert second.ask(_ask("w0", 1, 2)) is not None
    clock.now += 2 * TERM_MS
    answer = second.ask(_ask("w0", 1, 3, seen=epoch))
    assert answer is not None
    assert answer.epoch == epoch
    assert answer.shares[ROUTE].connections == 10
    living.close()


def test_another_run_begins_with_nothing(tmp_path: Path) -> None:
    """Lives of a former run of the instance are dead, and its epoch isn't used again."""
    clock = Clock()
    first = _desk(tmp_path, clock).ask(_ask("w0", 1, 1))
    other = _desk(tmp_path, clock, run=8).ask(_ask("w0", 2, 1))
    assert first is not None
    assert other is not None
    assert other.epoch > first.epoch
    assert other.shares[ROUTE].connections == 10


def test_what_is_promised_is_told_and_damage_refused(tmp_path: Path) -> None:
    """Uses by budget; a file that can't be read is an error, not a new beginning."""
    desk = _desk(tmp_path, Clock())
    desk.ask(_ask("w0", 1, 1))
    (use,) = desk.uses()
    assert (use.budget, use.connections, use.connections_max) == (ROUTE, 10, 10)
    assert use.per_minute_max == 6000
    (tmp_path / "governor.json").write_text("{")
    with pytest.raises(StoreError, match=r"governor\.json"):
        _desk(tmp_path, Clock())


def test_a_worker_uses_what_it_was_leased_and_goes_on_while_the_governor_is_away() -> None:
    """Tokens and connections come with the first answer; a governor that fails is asked again."""

    async def run() -> tuple[Lease, int]:
        desk = LeaseDesk("w0")
        equal = Governor(LIMITS, 2)
        desk.begin(1, lambda route: equal.lease(0, route.rpartition("/")[2]))
        lease = desk.lease(ROUTE)
        gate = Gate(desk.lease)
        assert gate.available(ROUTE, 5) == 0
        assert lease.allowed is not None
        assert lease.allowed(0, 3) == 0
        governor, calls = Book(budgets_of(LIMITS), 1, 0), 0

        async def call(raw: bytes) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise VeredusError("away")
            ask = msgspec.msgpack.decode(raw, type=Ask)
            answer = governor.ask(ask, calls)
            return msgspec.msgpack.encode(answer)

        asking = asyncio.get_running_loop().create_task(ask_for_ever(desk, call))
        while not gate.available(ROUTE, 5):
            await asyncio.sleep(0.01)
        gate.take(ROUTE, 1)
        allowed = lease.allowed(0, 3)
        while calls < 3:
            await asyncio.sleep(0.01)
        assert lease.allowed(0, 5) >= allowed
        asking.cancel()
        return lease, allowed

    lease, allowed = asyncio.run(run())
    assert allowed == 3
    assert lease.meter is not None


def test_answers_cross_processes_whole() -> None:
    """What is sent is what is read."""
    answer = Answer(1, 2, 3, {}, {}, waits=True)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer | None) == answer
