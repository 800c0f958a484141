"""A worker of the simulated cluster: the real tenure, and as little of a host as commits and acknowledges."""

from __future__ import annotations

__all__ = ("Commit", "Held", "Worker")

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.placement.steward import Orders
from engine.placement.tenure import Tenure
from engine.store.protocol import Stand

if TYPE_CHECKING:
    from tests.engine.placement.world import World

BEAT_MS = 250
TICK_MS = 4
TIMEOUT_MS = 700
AHEAD = 2
"""Commits that may wait for the store's answer at once."""


class Held:
    """A partition that a worker has claimed."""

    def __init__(self, stand: Stand, seen: set[int]) -> None:
        self.stand = stand
        self.epoch = stand.epoch
        self.seen = seen  # applied, or under way
        self.waiting: list[int] = []
        self.again: list[int] = []  # seen, to be acknowledged once what is under way is there


class Commit:
    """What flies to the store together, and whose acknowledgement waits for it."""

    def __init__(self, batches: list[tuple[int, Stand, list[int]]]) -> None:
        self.batches = batches
        self.again: list[tuple[int, Held, list[int]]] = []


class Worker:
    """One worker, over all its lives."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.incarnation = 0
        self.unheard_until = 0  # cut from the steward
        self.storeless_until = 0  # cut from the store
        self.leaving = False
        self._paused_until = 0
        self.dead = False
        self._link = 0
        self._stuck_until = 0
        self.tenure: Tenure

    # ---- life

    def begin(self) -> None:
        """A new life: it holds nothing."""
        self.incarnation += 1
        self.dead = False
        self._link += 1  # connections of a former life are of no more use
        self._free_at = 0
        self._heard = 0
        self._severed = 0
        self._calls = 0
        self._unanswered: set[int] = set()
        self.tenure = self.world.plan.tenure(self.name, self.incarnation)
        self.held: dict[int, Held] = {}
        self._flying: list[Commit] = []
        self._claiming: set[int] = set()
        self._mending = False
        self._ticking = False
        self._in_hand: dict[int, int] = {}  # partition -> until when messages of it are in hand
        self.leaving = False
        self._beat(self.incarnation)

    def die(self, until: int | None) -> None:
        """SIGKILL, until Ray starts it again; None: its node is gone. What was sent still flies."""
        if not self.dead:
            self.dead = True
            self.tenure.lost(list(self.tenure.holds))
            if until is not None:
                self.world.after(until - self.world.now, self.begin)

    def pause(self, until: int) -> None:
        """SIGSTOP: what comes waits."""
        self._paused_until = max(self._paused_until, until)

    def busy(self, long: int) -> None:
        """Messages of all partitions are in hand for long, so none can be let go."""
        self._stuck_until = self.world.now + long
        for partition in self.tenure.holds:
            self._in_hand[partition] = self._stuck_until

    def stay(self) -> None:
        """It doesn't leave after all."""
        self.leaving = False

    def peace(self) -> None:
        """Nothing goes wrong any more."""
        self._paused_until = self._stuck_until = 0
        self.unheard_until = self.storeless_until = 0
        self._in_hand.clear()
        self.leaving = False

    def later(self, incarnation: int, act: Callable[..., None], *args: Any) -> None:
        """Something arrives for a life: at once, after its pause, or never."""
        if self.dead or incarnation != self.incarnation:
            return
        if self.world.now < self._paused_until:
            delay = self._paused_until - self.world.now
            self.world.after(delay, self.later, incarnation, act, *args)
            return
        act(*args)

    # ---- the steward

    def _beat(self, incarnation: int) -> None:
        if self.dead or incarnation != self.incarnation:
            return
        if self.world.now >= self._paused_until:
            self._let_go()
            self._report()
        self.world.after(BEAT_MS, self._beat, incarnation)

    def _report(self) -> None:
        if self.world.now >= self.unheard_until:
            load = {p: 1.0 + 6.0 * (p == 3) for p in self.tenure.holds}
            report = self.tenure.report(load, leaving=self.leaving)
            self.world.post(self.world.reported, report)

    def ordered(self, orders: Orders) -> None:
        """Orders arrive."""
        if self.world.now < self.unheard_until:
            return
        self._heard = max(self._heard, orders.version)
        self.tenure.hear(orders)
        self.world.may_take(self.name, self._heard, self.tenure.taking)
        for partition in sorted(self.tenure.taking - self._claiming):
            self._claiming.add(partition)
            self._call(partial(self._stand_there, partition), self._claim, partition)
        self._let_go()

    def _let_go(self) -> None:
        """What is to be released goes when nothing of it is in hand, nor on its way to the store."""
        flying = {p for commit in self._flying for p, _, _ in commit.batches}
        idle = [
            p
            for p in self.tenure.releasing
            if self._in_hand.get(p, 0) <= self.world.now and p not in flying
        ]
        if idle and not self._mending:
            self.world.reached["worker: let go"] += 1
            self._lose(idle)
            self._report()

    def _lose(self, partitions: list[int]) -> None:
        self.tenure.lost(partitions)
        for partition in partitions:
            self.held.pop(partition, None)
            self._in_hand.pop(partition, None)

    # ---- taking

    def _claim(self, partition: int, held: Stand) -> None:
        stand = self.claimed(held)
        who = (self.name, self.incarnation)
        self._call(
            lambda: self._claimed_there(who, partition, stand),
            self._took,
            partition,
            stand,
        )

    def _stand_there(self, partition: int) -> Stand:
        held: Stand = self.world.store.stands[partition]
        return held

    def claimed(self, held: Stand) -> Stand:
        """Give the stand under which a partition is taken: the next epoch."""
        return Stand(held.epoch + 1, held.seq + 1)

    def _claimed_there(
        self, who: tuple[str, int], partition: int, stand: Stand
    ) -> tuple[bool, set[int]]:
        stale = self.world.apply(who, [(partition, stand, [])])
        return not stale, set(self.world.store.applied[partition])

    def _took(self, partition: int, stand: Stand, found: tuple[bool, set[int]]) -> None:
        self._claiming.discard(partition)
        claimed, seen = found
        if not claimed:
            self.world.reached["worker: claimed by somebody else"] += 1
            return
        self.held[partition] = Held(stand, self.known(seen))
        self.tenure.took((partition,))
        if self._stuck_until > self.world.now:
            self._in_hand[partition] = self._stuck_until
        self._report()

    def known(self, seen: set[int]) -> set[int]:
        """Give what a new owner knows of what was applied before."""
        return seen

    # ---- inputs

    def asked(self, partition: int, one: int) -> None:
        """An input arrives. Whoever doesn't own its partition doesn't answer it."""
        held = self.held.get(partition)
        if held is None or self._mending:
            return
        if one not in held.seen:
            held.seen.add(one)
            held.waiting.append(one)
        else:
            self.world.reached["worker: seen before"] += 1
            held.again.append(one)
        if not self._ticking:
            self._ticking = True
            self.world.after(TICK_MS, self.later, self.incarnation, self._tick)

    def _tick(self) -> None:
        """Decide what waits, unless too much waits for the store already."""
        self._ticking = False
        if self._mending or len(self._flying) >= AHEAD:
            return
        batches, again = [], []
        for partition, held in self.held.items():
            if held.again:
                again.append((partition, held, held.again))
                held.again = []
            if held.waiting:
                held.stand = Stand(held.epoch, held.stand.seq + 1)
                batches.append((partition, held.stand, held.waiting))
                held.waiting = []
        commit = Commit(batches)
        commit.again = again
        if batches or again:
            self._flying.append(commit)
            self.sent(commit)
            who = (self.name, self.incarnation)
            self._call(lambda: self.world.apply(who, batches), self._committed, commit)

    def sent(self, commit: Commit) -> None:
        """A commit is on its way: nothing of it is told yet."""

    def _committed(self, commit: Commit, stale: list[int]) -> None:
        """The store has answered, in the order of what was sent."""
        self._flying.remove(commit)
        if stale:
            self.world.reached["worker: fenced"] += 1
            self._lose(stale)
        self.acknowledge(commit, stale)
        self._let_go()
        if any(one.waiting for one in self.held.values()):
            self._tick()

    def acknowledge(self, commit: Commit, stale: list[int]) -> None:
        """Tell what is there now."""
        fenced = set(stale)
        for partition, _, inputs in commit.batches:
            if partition not in fenced:
                self.world.answer(partition, inputs)
        for partition, held, inputs in commit.again:
            if self.held.get(partition) is held:
                self.world.answer(partition, inputs)

    # ---- the connection to the store

    def _call(self, there: Callable[[], Any], then: Callable[..., None], *args: Any) -> None:
        """Ask the store over one connection: in order, until it breaks. No answer in time breaks it."""
        world, chance = self.world, self.world.chance
        link, incarnation = self._link, self.incarnation
        trip = 1 if chance.random() < 0.9 or not world.faults else chance.randrange(2, 60)
        if world.now < world.slow_until:
            trip += chance.randrange(300)
        cut = world.now < self.storeless_until
        if cut:  # the network may keep what was sent, and bring it when the cut is over
            world.reached["store: cut"] += 1
            trip += self.storeless_until - world.now
        at = max(self._free_at, world.now + trip)
        self._free_at = at
        self._calls += 1
        call = self._calls
        self._unanswered.add(call)
        if cut and chance.random() < 0.25:
            self._severed = link  # a stream has no gaps: what comes after is lost too
        if self._severed != link:
            world.after(at - world.now, self._there, link, call, there, then, args)
        world.after(TIMEOUT_MS, self.later, incarnation, self._timed_out, link, call)

    def _there(
        self,
        link: int,
        call: int,
        there: Callable[[], Any],
        then: Callable[..., None],
        args: tuple[Any, ...],
    ) -> None:
        """It arrives, whatever became of who sent it; the answer is for a connection that still stands."""
        told = there()
        if link != self._link:
            self.world.reached["store: written for a connection that is gone"] += 1
        elif self.world.now >= self.storeless_until:
            answer = (link, call, then, (*args, told))
            self.world.after(1, self.later, self.incarnation, self._answered, *answer)

    def _answered(
        self, link: int, call: int, then: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if link == self._link:
            self._unanswered.discard(call)
            then(*args)

    def _timed_out(self, link: int, call: int) -> None:
        """Nothing came: what was sent may be there or not, now or later. Read again before anything else."""
        if link != self._link or call not in self._unanswered:
            return
        self._unanswered.clear()
        self.world.reached["worker: unknown commit"] += 1
        self._link += 1
        self._free_at = 0
        flying, self._flying = self._flying, []
        self.unknown(flying)
        self._claiming.clear()
        self._mending = True
        self._look_again()

    def unknown(self, flying: list[Commit]) -> None:
        """Nothing of these is told."""

    def _look_again(self) -> None:
        numbers = sorted(self.held)
        self._call(
            lambda: [
                (p, self.world.store.stands[p], set(self.world.store.applied[p])) for p in numbers
            ],
            self._mended,
        )

    def _mended(self, found: list[tuple[int, Stand, set[int]]]) -> None:
        self._mending = False
        for partition, stand, seen in found:
            self._mend(partition, stand, seen)
        self._report()

    def _mend(self, partition: int, stand: Stand, seen: set[int]) -> None:
        """Go on from what is there, unless somebody else has it now.

        Under the next epoch: what the former connection still brings is decided on another base than what comes now,
        and one of two commits ahead could be taken behind it.
        """
        held = self.held.get(partition)
        if held is None:
            return
        self._lose([partition])
        if stand.epoch == held.epoch:
            self._claiming.add(partition)
            self._claim(partition, stand)
