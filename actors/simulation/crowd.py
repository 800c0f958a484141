"""Lives in one order of time: for where they depend on each other, through what a provider takes in an hour.

Each mail waits its turn behind those of the others. A life is made when its first event is due and forgotten when
nothing is due any more, so that memory holds those under way.
"""

from __future__ import annotations

__all__ = ("live_together",)

import heapq
from collections.abc import Callable, Collection

from actors.simulation.counting import Story, Tally
from actors.simulation.life import Life
from actors.simulation.post import Told
from actors.simulation.providers import Providers
from actors.simulation.solo import WAYS_MAX, contact_name
from actors.simulation.world import World
from scenarios.behaviour.acting import Actor


def live_together(
    world: World,
    numbers: Collection[int],
    providers: Providers,
    progress: Callable[[int], None],
    told: Collection[int] = (),
) -> tuple[Tally, dict[int, Life]]:
    """Run the lives of these numbers as one crowd; those that are `told` are given back with their stories."""
    crowd = _Crowd(world, providers, progress, set(told))
    crowd.enter(numbers)
    crowd.run()
    return crowd.tally, crowd.told


class _Crowd:
    """The lives that are under way, by when they go on."""

    def __init__(
        self, world: World, providers: Providers, progress: Callable[[int], None], told: set[int]
    ) -> None:
        self._world = world
        self._providers = providers
        self._progress = progress
        self._tell = told
        self._due: list[tuple[int, int]] = []
        self._lives: dict[int, Life] = {}
        self._begun: set[int] = set()  # an entry of a life that has ended must not begin it anew
        self.tally = Tally()
        self.told: dict[int, Life] = {}

    def enter(self, numbers: Collection[int]) -> None:
        """Note when each contact first does something."""
        world = self._world
        for number in numbers:
            opening = Actor(world.cast, contact_name(number), world.setting.seed).opening()
            if opening:
                self._due.append((opening[0].at, number))
            else:
                self.tally.contacts += 1
                self.tally.per_contact[0] = self.tally.per_contact.get(0, 0) + 1
        heapq.heapify(self._due)

    def run(self) -> None:
        """Go through time: at one time lives first, by number, then whoever gets credit."""
        due, wakes = self._due, self._providers.wakes
        while due or wakes:
            if due and (not wakes or due[0][0] <= wakes[0][0]):
                at, number = heapq.heappop(due)
                self._live(at, number)
            else:
                at, name = heapq.heappop(wakes)
                life = self._providers.pump(at, name)
                if life is not None:
                    heapq.heappush(due, (at, life.number))

    def _live(self, at: int, number: int) -> None:
        life = self._lives.get(number)
        if life is None:
            if number in self._begun:
                return
            self._begun.add(number)
            life = self._born(number)
        next_at = life.next_at
        if next_at is None or next_at > at:
            return  # it has gone on already
        life.step(max(at, life.now))
        next_at = life.next_at
        if next_at is not None:
            heapq.heappush(self._due, (next_at, number))
        elif not life.pending:
            self._ended(life)

    def _born(self, number: int) -> Life:
        world, name = self._world, contact_name(number)
        actor = Actor(world.cast, name, world.setting.seed)
        life = Life(world, number, name, actor, self._providers, self.tally)
        if number in self._tell:
            life.story = [Told(world.cast.begins, "begins", name)]
            self.told[number] = life
        life.begin()
        self._lives[number] = life
        return life

    def _ended(self, life: Life) -> None:
        life.finish()
        del self._lives[life.number]
        stories = self.tally.stories
        way = life.way if life.way in stories or len(stories) < WAYS_MAX else "…"
        story = stories.get(way)
        if story is None:
            stories[way] = Story(1, life.number)
        else:
            story.contacts += 1
            story.first = min(story.first, life.number)
        if self.tally.contacts % 1000 == 0:
            self._progress(self.tally.contacts)
