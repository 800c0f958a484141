"""Lives one after the other: nothing that one contact does bears on another, so they are shared out over processes.

Contacts are cut into chunks of one size, whatever the number of processes, and chunks are added up in their order: the
same seed gives the same bytes.
"""

from __future__ import annotations

__all__ = ("CHUNK", "OpenPost", "contact_name", "live_alone", "live_chunk", "live_told")

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import msgspec

from actors.simulation.counting import Story, Tally
from actors.simulation.life import Life, Told
from actors.simulation.world import Setting, World
from deliverability.message import AttemptOutcome
from engine.vocabulary import Message
from scenarios.behaviour.acting import Actor

CHUNK: Final = 2_000
"""Contacts of one chunk."""
WAYS_MAX: Final = 2_000
"""Ways of a chunk that are counted apart; further ones share the way `…`."""


class OpenPost:
    """A post without limits: credit is always at hand, and all arrives but at addresses that don't exist."""

    def __init__(self) -> None:
        self.bounces = False

    def ready(self, life: Life, message_id: bytes, domain: str, order: int) -> int:
        """Give credit at once."""
        del life, message_id, domain
        return order

    def attempt(self, life: Life, message: Message) -> AttemptOutcome:
        """Deliver it, or bounce it."""
        if self.bounces:
            return AttemptOutcome(
                message.attempt, "bounced", "no-such-mailbox", 550, "5.1.1", at=life.now
            )
        return AttemptOutcome(message.attempt, "delivered", at=life.now)


def contact_name(number: int) -> str:
    """Name the contact of a number."""
    return f"c{number:07}"


def live_chunk(world: World, chunk: int, contacts: int) -> Tally:
    """Run the lives of one chunk."""
    tally, post = Tally(), OpenPost()
    stories = tally.stories
    for number in range(chunk * CHUNK, min((chunk + 1) * CHUNK, contacts)):
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
    chunks = -(-contacts // CHUNK)
    total = Tally()
    if processes == 1 or chunks == 1:
        world = World(setting)
        for chunk in range(chunks):
            total.add(live_chunk(world, chunk, contacts))
            progress(total.contacts)
        return total
    context = multiprocessing.get_context("spawn")
    raw = msgspec.msgpack.encode(setting)
    with ProcessPoolExecutor(processes, context, _begin, (raw,)) as pool:
        tasks = ((chunk, contacts) for chunk in range(chunks))
        for done in pool.map(_task, tasks):
            total.add(_TALLY.decode(done))
            progress(total.contacts)
    return total


_TALLY: Final = msgspec.msgpack.Decoder(Tally)
_world: list[World] = []


def _begin(raw: bytes) -> None:
    """Make the world of a process, once. Lives leave no cycles behind, so the collector only costs."""
    _world[:] = [World(msgspec.msgpack.decode(raw, type=Setting))]
    gc.collect()
    gc.freeze()
    gc.disable()


def _task(task: tuple[int, int]) -> bytes:
    return msgspec.msgpack.encode(live_chunk(_world[0], *task))
