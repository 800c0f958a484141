"""A small cluster in virtual time: steward, workers, their store and clients, and what befalls them. One seed, one run.

The real `Steward`, `Tenure` and compare-and-swap decide; around them stands as little as a worker can be, so that a
seed costs milliseconds and ten thousand of them are a test. A worker decides up to two commits ahead of the store's
answer. What flies is lost, doubled, reordered and late, between worker and store also what a cut connection still
held: it may arrive after its sender has given it up. Clocks run at rates of their own.

Held at every instant: under an epoch of a partition one life writes; an input is applied once at most; what was
acknowledged is applied, for ever; a version of the table says one thing. In the end everything asked for is
acknowledged and every partition served by the owner that the table names.

    python -m tests.engine.placement.world SEED [VARIANT]
"""

from __future__ import annotations

__all__ = ("HONEST", "PARTITIONS", "Breach", "Plan", "Register", "World", "simulate")

import sys
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from engine.placement.steward import Orders, Report, Steward, Table
from engine.placement.tenure import Tenure
from engine.store.protocol import Stand, accepts
from tests.engine.placement.worker import Worker

PARTITIONS = 8
FAULTS_MS = 7_000
"""For so long things go wrong; then there is peace."""
PEACE_MS = 5_500
LONG_EVERY = 20
"""Each so manieth seed runs long enough for a worker that never lets go to be passed over."""
LONG_MS = 40_000
LOOK_MS = 500
ASK_MS = 90
AGAIN_MS = 250

FAULTS = (
    "pause",
    "pause",
    "kill",
    "kill",
    "cut from steward",
    "cut from store",
    "cut from store",
    "cut from store",
    "slow store",
    "steward restarts",
    "steward is away",
    "drain",
    "rebalance",
    "leave",
    "stuck",
    "lost for good",
)


class Breach(AssertionError):
    """A promise was broken."""


class Register:
    """The store: how far each partition came, and which inputs were applied to it, how often."""

    def __init__(self) -> None:
        self.stands = [Stand(0, 0)] * PARTITIONS
        self.applied: list[dict[int, int]] = [{} for _ in range(PARTITIONS)]

    def accepts(self, held: Stand, offered: Stand) -> bool:
        """Compare and swap, by the kernel's rule."""
        return accepts(held, offered)

    def commit(self, partition: int, stand: Stand, inputs: list[int]) -> bool:
        """Apply inputs, unless the batch is stale."""
        if not self.accepts(self.stands[partition], stand):
            return False
        self.stands[partition] = stand
        applied = self.applied[partition]
        for one in inputs:
            applied[one] = applied.get(one, 0) + 1
        return True


class Plan(msgspec.Struct, frozen=True):
    """Which classes take part: the honest ones, or planted variants."""

    worker: Any = Worker
    steward: Any = Steward
    tenure: Any = Tenure
    store: Any = Register
    keeps_table: bool = True
    """Whether the table is written down before it is told."""


HONEST = Plan()


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, plan: Plan = HONEST, workers: int = 0) -> None:
        self.chance = Random(seed)
        self.plan = plan
        self.now = 0
        self.faults = True
        self.store = plan.store()
        self.acknowledged: set[int] = set()
        self.reached: Counter[str] = Counter()
        self.story: list[str] = []
        self.slow_until = 0
        self._wrote: dict[tuple[int, int], tuple[str, int]] = {}
        self._tables: dict[int, list[str]] = {}  # what each version says
        self._table: Table | None = None
        self._away_until = 0
        self._asked: dict[int, int] = {}
        self._next = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._last: dict[str, int] = {}
        self.steward = self._new_steward()
        number = workers or self.chance.choice((1, 2, 2, 3, 3, 4))
        self.workers = {f"w{n}": plan.worker(self, f"w{n}") for n in range(number)}
        for worker in self.workers.values():
            worker.begin()
        self.after(0, self._look)
        self.after(0, self._ask)

    # ---- time and the network

    def after(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Do something later."""
        self._count += 1
        heappush(self._heap, (self.now + delay, self._count, act, args))

    def run(self, until: int) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, act, args = heappop(heap)
            act(*args)
        self.now = until

    def post(self, act: Callable[..., None], *args: Any) -> None:
        """Send something, which may be lost, doubled or late, hence overtaken."""
        draw = self.chance.random()
        if not self.faults or draw > 0.2:
            self.after(1 + int(draw * 10), act, *args)
        elif draw < 0.06:
            self.reached["network: lost"] += 1
        elif draw < 0.11:
            self.reached["network: doubled"] += 1
            self.after(2, act, *args)
            self.after(int(draw * 5000), act, *args)
        else:
            self.reached["network: late"] += 1
            self.after(int((draw - 0.1) * 15_000), act, *args)

    def tell(self, text: str) -> None:
        """Write a line of the story."""
        self.story.append(f"{self.now:>7} {text}")

    # ---- the steward

    def _new_steward(self) -> Steward:
        self._rate = 1 + self.chance.uniform(-0.05, 0.05)
        made: Steward = self.plan.steward(PARTITIONS, self._table, self._write, self._clock())
        return made

    def _clock(self) -> int:
        return int(self.now * self._rate)

    def _write(self, table: Table) -> None:
        if self.plan.keeps_table:
            self._keep(table)
        else:
            self.after(400, self._keep_late, self.steward, table)
        said = self._tables.setdefault(table.version, table.owners)
        if said != table.owners:
            raise Breach(f"version {table.version} of the table says two things")

    def _keep(self, table: Table) -> None:
        self._table = table

    def _keep_late(self, steward: Steward, table: Table) -> None:
        if steward is self.steward:
            self._table = table

    def _look(self) -> None:
        self.steward.look(self._clock())
        self.after(LOOK_MS, self._look)

    def reported(self, report: Report) -> None:
        """A report arrives at the steward, and is answered."""
        if self.now < self._away_until:
            return
        orders = self.steward.report(report, self._clock())
        if orders is None:
            self.reached["steward: older report"] += 1
            return
        if set(orders.take) & set(orders.release):
            raise Breach("one order says to take and to let go")
        self.post(self._ordered, report.worker, report.incarnation, orders)

    def _ordered(self, name: str, incarnation: int, orders: Orders) -> None:
        worker = self.workers[name]
        worker.later(incarnation, worker.ordered, orders)

    def may_take(self, name: str, version: int, partitions: set[int]) -> None:
        """See that a worker takes nothing but what the newest table that it heard of gives it."""
        owners = self._tables.get(version)
        if owners is not None and any(owners[p] != name for p in partitions):
            raise Breach(f"{name} heard version {version}, and takes what an older one gave it")

    # ---- the store, as a worker's connection sees it

    def apply(self, who: tuple[str, int], batches: list[tuple[int, Stand, list[int]]]) -> list[int]:
        """A commit arrives. Returns what was stale. Nobody else may have written under the same epoch."""
        stale = []
        for partition, stand, inputs in batches:
            if not self.store.commit(partition, stand, inputs):
                self.reached["store: stale"] += 1
                stale.append(partition)
                continue
            if self._wrote.setdefault((partition, stand.epoch), who) != who:
                first = self._wrote[partition, stand.epoch]
                raise Breach(
                    f"two writers of partition {partition}, epoch {stand.epoch}: {first}, {who}"
                )
            applied = self.store.applied[partition]
            for one in inputs:
                if applied[one] > 1:
                    raise Breach(f"input {one} was applied twice to partition {partition}")
        return stale

    # ---- clients

    def _ask(self) -> None:
        """The next input; asked for again until it is acknowledged."""
        one, self._next = self._next, self._next + 1
        self._asked[one] = self.chance.randrange(PARTITIONS)
        self._insist(one)
        self.after(self.chance.randrange(2 * ASK_MS), self._ask)

    def _insist(self, one: int) -> None:
        if one not in self._asked:
            return
        partition = self._asked[one]
        name = self.steward.table.owners[partition]
        if name not in self.workers or self.chance.random() < 0.1:  # a stale table, or a guess
            name = self.chance.choice(list(self.workers))
        worker = self.workers[name]
        self.post(worker.later, worker.incarnation, worker.asked, partition, one)
        self.after(AGAIN_MS, self._insist, one)

    def answer(self, partition: int, inputs: list[int]) -> None:
        """A worker acknowledges: that is a promise, whether or not the client hears it."""
        applied = self.store.applied[partition]
        for one in inputs:
            if one not in applied:
                raise Breach(f"input {one} was acknowledged, and isn't in partition {partition}")
            self.acknowledged.add(one)
        self.post(self._heard, inputs)

    def _heard(self, inputs: list[int]) -> None:
        for one in inputs:
            self._asked.pop(one, None)

    # ---- what goes wrong

    def misfortunes(self, until: int) -> None:
        """Spread faults over the time up to `until`."""
        for _ in range(self.chance.choice((4, 5, 6, 8))):
            self.after(self.chance.randrange(500, until), self._befall)

    def _befall(self) -> None:
        worker = self.chance.choice(list(self.workers.values()))
        what = self.chance.choice(FAULTS)
        long = self.now + self.chance.choice((150, 900, 2500, 4500))
        self.reached[f"fault: {what}"] += 1
        self.tell(f"{what}: {worker.name}, until {long}")
        match what:
            case "pause":
                worker.pause(long)
            case "kill":
                worker.die(long)
            case "cut from steward":
                worker.unheard_until = long
            case "cut from store":
                worker.storeless_until = long
            case "slow store":
                self.slow_until = long
            case "steward restarts":
                self.steward = self._new_steward()
            case "steward is away":
                self._away_until = long
            case "lost for good":
                if sum(not one.dead for one in self.workers.values()) > 1:
                    worker.die(None)
            case "stuck":
                worker.busy(self.chance.choice((2_000, 60_000)))
            case _:
                self._operate(what, worker, long)

    def _operate(self, what: str, worker: Worker, long: int) -> None:
        """What operators do isn't a fault, but comes at the worst time."""
        if what == "drain":
            self.steward.drain(worker.name)
            self.after(long - self.now, self.steward.undrain, worker.name)
        elif what == "rebalance":
            self.steward.rebalance(self._clock())
        else:  # given up where it can't finish
            worker.leaving = True
            self.after(long - self.now, worker.stay)

    def peace(self) -> None:
        """From here on nothing goes wrong any more."""
        self.faults = False
        self._away_until = self.slow_until = 0
        for worker in self.workers.values():
            self.steward.undrain(worker.name)
            worker.peace()

    # ---- the end

    def settled(self) -> None:
        """See that nothing is on its way any more."""
        moving = self.steward.in_motion(self._clock())
        if moving:
            raise Breach(f"partitions {moving} never came to their owners")

    def at_rest(self) -> None:
        """Hold everything against what was promised."""
        late = [one for one in self._asked if one < self._next - 60]
        if late:
            raise Breach(f"inputs were never acknowledged: {late[:9]}")
        held = {p: name for name, worker in self.workers.items() for p in worker.tenure.holds}
        owners = dict(enumerate(self.steward.table.owners))
        if held != owners:
            raise Breach(f"held {held}, and the table says {owners}")
        self.settled()
        for one in self.acknowledged:
            if sum(applied.get(one, 0) for applied in self.store.applied) != 1:
                raise Breach(f"acknowledged input {one} isn't applied once")


def simulate(seed: int, plan: Plan = HONEST) -> World:
    """Run a seed: faults, then peace, in which all must come to rest. Raises: Breach."""
    world = World(seed, plan)
    try:
        world.misfortunes(FAULTS_MS)
        world.run(FAULTS_MS)
        if seed % LONG_EVERY == 0:
            world.run(FAULTS_MS + LONG_MS)
            world.settled()
        world.peace()
        world.run(world.now + PEACE_MS)
        world.at_rest()
    except Breach as breach:
        told = "\n".join(world.story[-40:])
        raise Breach(f"seed {seed}: {breach}\n{told}") from None
    return world


def _main() -> None:
    from tests.engine.placement.variants import VARIANTS

    plan = VARIANTS[sys.argv[2]] if len(sys.argv) > 2 else HONEST
    try:
        world = simulate(int(sys.argv[1]), plan)
    except Breach as breach:
        sys.exit(str(breach))
    print("\n".join(world.story))
    print(f"{len(world.acknowledged)} inputs acknowledged: all held")


if __name__ == "__main__":
    _main()
