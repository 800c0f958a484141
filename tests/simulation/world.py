"""The virtual world: one clock, one source of chance, one network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

START = 1_700_000_000_000  # ms
STEPS_MAX = 60_000

Deed = Callable[[], None]


class NeverQuiet(AssertionError):
    """The world doesn't come to rest: somebody spins, or asks for ever."""


class World:
    """Time that jumps from one happening to the next. Everything that is random asks `chance`."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.now = START
        self.reached: Counter[str] = Counter()
        self.story: list[str] | None = None
        self._queue: list[tuple[int, int, Deed]] = []
        self._n = 0
        self._steps = 0

    def after(self, ms: int, deed: Deed) -> None:
        """Let something happen later."""
        self._n += 1
        heappush(self._queue, (self.now + max(ms, 0), self._n, deed))

    def run(self) -> None:
        """Go on until nothing is left to happen."""
        while self._queue:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise NeverQuiet(f"not at rest after {STEPS_MAX} steps, at +{self.now - START} ms")
            self.now, _, deed = heappop(self._queue)
            deed()

    def reach(self, what: str) -> None:
        """Note that a fault or state was reached."""
        self.reached[what] += 1
        if self.story is not None:
            self.tell(what)

    def tell(self, what: str) -> None:
        """Write a line of the story, when somebody wants to read it."""
        if self.story is not None:
            self.story.append(f"+{self.now - START:>9} ms  {what}")


class Network:
    """Brings messages late, in another order, twice, or not at all."""

    def __init__(self, world: World) -> None:
        self._world = world
        chance = world.chance
        self.lost = chance.choice((0.0, 0.02, 0.1))
        self.repeated = chance.choice((0.0, 0.02, 0.1))
        self.late = chance.choice((0.0, 0.01, 0.05))
        self._clogged: dict[object, int] = {}

    def clog(self, place: object, ms: int) -> None:
        """Let nothing through to or from a place for a while."""
        self._clogged[place] = self._world.now + ms

    def send(self, source: object, target: object, deliver: Deed) -> None:
        """Bring something to a target, perhaps."""
        world, clogged = self._world, self._clogged
        if clogged and max(clogged.get(source, 0), clogged.get(target, 0)) > world.now:
            world.reach("network: clogged")
            return
        draw = world.chance.random()
        if draw < self.lost:
            world.reach("network: lost")
            return
        if draw < self.lost + self.repeated:
            world.reach("network: repeated")
            world.after(self._delay(), deliver)
        world.after(self._delay(), deliver)

    def _delay(self) -> int:
        chance = self._world.chance
        if chance.random() < self.late:
            self._world.reach("network: late")
            return int(chance.random() * 20_000)
        return 1 + int(chance.random() * 20)
