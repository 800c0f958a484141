"""A real process on RocksDB, killed with SIGKILL at random times, again and again; then everything is counted.

    python -m tests.simulation.killed --kills 60 --seed 1

Each life opens the same store and ledgers, recovers with the production code, takes inputs that nobody acknowledged
yet, and says on a pipe which are durable. What its mail server accepted stands in a file that no kill can take back.

Two lives of four are killed from outside, at an instant that nobody can foresee. Chance alone may never meet a short
phase on a fast machine, so the others kill themselves (the same signal): one while something is handed over and not
begun, one while something is in the air.
"""

from __future__ import annotations

import argparse
import os
import signal
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NoReturn, cast

import msgspec

from actors.worker.assembly import Assembly
from actors.worker.recovery import resolve
from deliverability.egress import Concluded, Egress, EgressSettings
from deliverability.message.machine import MessageMachine
from deliverability.message.records import AttemptOutcome, CancelAttempt
from deliverability.transport.ledger import LedgerFile, adopt
from engine.entities import Machines
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import Keyspace, contact_key, message_key
from engine.machine import Stuck
from engine.store.rocksdb import RocksStore
from engine.tick import Answer, HostSettings, TickInputs
from engine.vocabulary import Message
from tests.simulation.checks import Durable, check, consistent, told_by_feed
from tests.simulation.cluster import Policies, discard, scratch
from tests.simulation.people import Deed, Happened, Person, PersonMachine
from tests.simulation.world import START

PEOPLE = 200
BATCH = 16
DEEDS: tuple[Deed, ...] = ("send", "send", "send", "note", "wait", "refer")


def event_of(seed: int, number: int) -> Arrival:
    """Make the n-th input: the same in every life."""
    chance = Random(seed * 1_000_003 + number)
    people = [contact_key("t", f"p{n}") for n in range(PEOPLE)]
    event = Happened(
        number,
        chance.choice(DEEDS),
        to=chance.choice(people),
        delay=chance.choice((0, 500, 5000)),
        stream=chance.choice(("marketing", "hold")),
    )
    return Arrival(chance.choice(people), event, number.to_bytes(8))


class Parts:
    """What `resolve` needs of an assembly."""

    def __init__(self, host: Host, egress: Egress) -> None:
        self.host = host
        self.egress = egress


class Victim:
    """One life: the same steps as a worker's loop, without one."""

    def __init__(self, folder: Path, seed: int, life: int) -> None:
        self.seed = seed
        self.chance = Random(seed * 7919 + life)
        self.machines = Machines((PersonMachine(), MessageMachine()))
        self.store = RocksStore(folder / "store", cache_mb=2)
        self.host = Host(
            self.store,
            self.machines,
            Keyspace(8),
            Policies(),
            range(8),
            HostSettings(batch_max=64, cache_entities=100),
        )
        ledgers = folder / "ledgers"
        old = sorted(ledgers.glob("*.ledger")) if ledgers.exists() else []
        self.egress = Egress(
            b"w0",
            life,
            LedgerFile(ledgers / f"w0-{life:06}.ledger"),
            EgressSettings(lane_credits_min=32),
        )
        self.adopted = [adopt(path) for path in old]
        self.inputs = TickInputs()
        parts = cast("Assembly", Parts(self.host, self.egress))
        self.inputs.answers += resolve(parts, self.adopted)
        self.inputs.delivers += self.host.outboxes()
        self.found = Counter(answer.body.kind for answer in self.inputs.answers)
        self.flying: list[tuple[Message, AttemptOutcome]] = []
        self.sink = os.open(folder / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def step(self, now: int, arrivals: list[Arrival]) -> list[str]:
        """Tick once, release, and let the mail server answer."""
        concluded = self.egress.outcomes()
        inputs = self.inputs
        inputs.arrivals += arrivals
        inputs.answers += [_answer(one) for one in concluded]
        offers = [self.egress.offer(lane, now) for lane in self.host.ready_lanes()]
        inputs.credits = [offer for offer in offers if offer is not None]
        released = self.host.tick(now, inputs)
        self.egress.confirmed(concluded)
        for ledger in self.adopted:
            Path(ledger.path).unlink()
        self.adopted = []
        for epoch, release in released.releases:
            if isinstance(release.body, Message):
                self.egress.accept(epoch, release.body, now)
            else:
                assert isinstance(release.body, CancelAttempt)
                self.egress.cancel(release.body.message_id, release.body.attempt)
        for offer in released.credits_left:
            self.egress.take_back(offer)
        inputs.delivers += released.tells
        inputs.confirms += released.confirms
        return list(released.verdicts)

    def send(self, now: int) -> None:
        """Hear of what is in the air, then send what waits: the other side has it before its word comes."""
        for flown, outcome in self.flying:
            self.egress.conclude(flown, outcome)
        self.flying.clear()
        for route, waiting in list(self.egress.waiting()):
            for _ in range(waiting):
                message = self.egress.take(route, now)
                if message is not None and self.egress.begin(message, now):
                    self.flying.append((message, self._word(message)))

    def _word(self, message: Message) -> AttemptOutcome:
        draw = self.chance.random()
        if draw < 0.8:
            os.write(self.sink, message.message_id)
            return AttemptOutcome(message.attempt, "delivered")
        return AttemptOutcome(message.attempt, "deferred" if draw < 0.9 else "bounced", "x")

    def quiet(self) -> bool:
        """Whether nothing is left to do."""
        inputs, egress = self.inputs, self.egress
        waits = inputs.answers or inputs.arrivals or inputs.delivers or inputs.confirms
        return not (
            waits or egress.fresh_count or egress.in_hand or self.host.next_due() is not None
        )


def _answer(concluded: Concluded) -> Answer:
    message = concluded.message
    return Answer(message_key(message.tenant, message.message_id), concluded.outcome)


def _live(folder: Path, seed: int, life: int, start: int, say: int) -> NoReturn:
    """Live until killed: acknowledge on the pipe."""
    dies_unbegun, dies_in_the_air = life % 4 == 0, life % 4 == 1
    victim = Victim(folder, seed, life)
    os.write(say, msgspec.json.encode(dict(victim.found)) + b"\n")
    number = start
    while True:
        now = START + number * 50
        arrivals = [event_of(seed, number + n) for n in range(BATCH)]
        verdicts = victim.step(now, arrivals)
        assert len(verdicts) == BATCH
        assert set(verdicts) <= {"accepted", "duplicate"}, verdicts
        number += BATCH
        os.write(say, f"durable {number}\n".encode())
        if dies_unbegun and any(waiting for _, waiting in victim.egress.waiting()):
            os.kill(os.getpid(), signal.SIGKILL)
        victim.send(now)
        if dies_in_the_air and victim.flying:
            os.kill(os.getpid(), signal.SIGKILL)


def _finish(folder: Path, seed: int, life: int, start: int, met: Counter[str]) -> Durable:
    """Live to the end, then read everything."""
    victim, now = Victim(folder, seed, life), START + start * 50
    _note(victim.found, met)
    for _ in range(10_000):
        if victim.quiet() and not victim.host.ready_lanes():
            break
        victim.step(now, [])
        victim.send(now)
        now = max(now + 50, victim.host.next_due() or 0)
    check(victim.quiet(), "it never comes to rest")
    rows = dict(victim.store.scan(b"", b"\xff" * 8, 10_000_000))
    victim.store.close()
    return Durable(Keyspace(8), victim.machines, [rows])


def run(folder: Path, seed: int, kills: int) -> Counter[str]:
    """Kill life after life, then count everything. Returns what the kills met."""
    chance, met = Random(seed), Counter[str]()
    acknowledged = 0
    for life in range(1, kills + 1):
        acknowledged = _one_life(folder, seed, life, acknowledged, chance, met)
    durable = _finish(folder, seed, kills + 1, acknowledged + BATCH, met)
    _count(folder, durable, acknowledged, met)
    return met


def _one_life(
    folder: Path, seed: int, life: int, start: int, chance: Random, met: Counter[str]
) -> int:
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        try:
            _live(folder, seed, life, start, say)
        finally:  # only a mistake leads here; nothing of the parent's may run in its child
            traceback.print_exc()
            os._exit(1)
    os.close(say)
    with os.fdopen(hear, "rb") as pipe:
        lines = [pipe.readline() for _ in range(1 + chance.choice((0, 1, 2, 5, 20)))]
        for _ in range(chance.randrange(200_000)):  # a moment that nobody can foresee
            pass
        os.kill(child, signal.SIGKILL)
        lines += pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    check(os.WIFSIGNALED(status), f"life {life} ended by itself")
    met["kills"] += 1
    _note(msgspec.json.decode(lines[0], type=dict[str, int]), met)
    told = [int(line.split()[1]) for line in lines if line.startswith(b"durable ")]
    return max(told, default=start)


def _note(found: Mapping[str, int], met: Counter[str]) -> None:
    for kind, number in found.items():
        met[f"found {kind}"] += number
        met[f"lives that found {kind}"] += 1


def _count(folder: Path, durable: Durable, acknowledged: int, met: Counter[str]) -> None:
    consistent(durable)
    for held in durable.quarantine:
        check(held[5].startswith("Poison"), f"in quarantine: {held}")
    people = [state for state, _ in durable.entities.values() if isinstance(state, Person)]
    decided = Counter(n for person in people for n in person.decided)
    lost = [n for n in range(acknowledged) if not decided[n]]
    check(not lost, f"acknowledged, but not there: {lost}")
    check(max(decided.values()) == 1, "an input was decided twice")
    referred = Counter(n for person in people for n in person.referred)
    check(max(referred.values()) == 1, "a Tell was decided twice")
    check(not any(durable.outbox.values()), "Tells wait though all is at rest")
    doubts = told_by_feed(durable)
    raw = (folder / "accepted").read_bytes()
    accepted = Counter(raw[at : at + 16] for at in range(0, len(raw), 16))
    for message, times in accepted.items():
        check(times <= 1 + doubts[message], f"{message.hex()} arrived {times} times")
    _ends(durable, accepted, doubts)
    met["inputs acknowledged"] = acknowledged
    met["messages accepted"] = len(accepted)
    met["duplicates"] = sum(accepted.values()) - len(accepted)
    met["doubts"] = sum(doubts.values())
    check(met["doubts"] <= met["found in_doubt"], "more doubts than marks without an outcome")


def _ends(durable: Durable, accepted: Counter[bytes], doubts: Counter[bytes]) -> None:
    for key, (state, place) in durable.entities.items():
        if isinstance(state, Person) or isinstance(place, Stuck):
            continue
        message: Any = key[-16:]
        ended = state.status not in ("scheduled", "ready", "asking", "attempting")
        check(ended, f"message {message.hex()} is {state.status} at rest")
        if state.status == "delivered":
            check(accepted[message] >= 1, f"message {message.hex()} never arrived")
        elif not doubts[message]:
            check(not accepted[message], f"message {message.hex()}: {state.status}, but arrived")
        held = state.send.stream != "hold" or accepted[message] <= 1
        check(held, f"message {message.hex()} arrived twice though its doubt is held")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.killed")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = scratch()
    try:
        met = run(folder, options.seed, options.kills)
    finally:
        discard(folder)
    print(", ".join(f"{what}: {number}" for what, number in sorted(met.items())))


if __name__ == "__main__":
    main()
