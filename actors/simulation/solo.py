"""Lives one after the other: nothing that one contact does bears on another, so they are shared out over processes."""

from __future__ import annotations

__all__ = ("WAYS_MAX", "contact_name", "live_alone", "live_chunk", "live_told")

from collections.abc import Callable
from typing import Final

import msgspec

from actors.simulation.chunks import Work, in_chunks
from actors.simulation.counting import Story, Tally
from actors.simulation.life import Life
from actors.simulation.post import OpenPost, Told
from actors.simulation.world import Setting, World
from scenarios.behaviour.acting import Actor

WAYS_MAX: Final = 2_000
"""Ways of a chunk that are counted apart; further ones share the way `…`."""


def contact_name(number: int) -> str:
    """Name the contact of a number."""
    return f"c{number:07}"


def live_chunk(world: World, first: int, end: int) -> Tally:
    """Run the lives of the contacts from `first` to before `end`."""
    tally, post = Tally(), OpenPost()
    stories = tally.stories
    for number in range(first, end):
        name = contact_name(number)
        actor = Actor(world.cast, name, world.setting.seed)
        post.bounces = actor.bounces
        life = Life(world, number, name, actor, post, tally)
        life.begin()
        life.run()
        way = life.way if life.way in stories or len(stories) < WAYS_MAX else "…"
        story = stories.get(way)
        if story is None:
            stories[way] = Story(1, number)
        else:
            story.contacts += 1
    return tally


def live_told(world: World, number: int) -> Life:
    """Run one life again and have its story and its inputs written down."""
    name, post = contact_name(number), OpenPost()
    actor = Actor(world.cast, name, world.setting.seed)
    post.bounces = actor.bounces
    life = Life(world, number, name, actor, post, Tally())
    life.story, life.trace, life.handed_over = [Told(world.cast.begins, "begins", name)], [], []
    life.begin()
    life.run()
    return life


def live_alone(
    setting: Setting, contacts: int, processes: int, progress: Callable[[int], None]
) -> Tally:
    """Run all lives, in so many processes; `progress` hears how many are done."""
    total = Tally()
    for done in in_chunks(_alone, msgspec.msgpack.encode(setting), contacts, processes):
        total.add(_TALLY.decode(done))
        progress(total.contacts)
    return total


_TALLY: Final = msgspec.msgpack.Decoder(Tally)


def _alone(what: bytes) -> Work:
    world = World(msgspec.msgpack.decode(what, type=Setting))
    return lambda first, end: msgspec.msgpack.encode(live_chunk(world, first, end))
