"""All lives before twins of providers: contacts whose mail goes to one provider make one crowd.

Crowds don't bear on each other, so they are shared out over processes, the largest first, and added up by the
provider's name: the same seed gives the same bytes whatever the number of processes.
"""

from __future__ import annotations

__all__ = ("Known", "live_in_crowds")

import multiprocessing
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any, Final

import msgspec

from actors.simulation.counting import Tally
from actors.simulation.crowd import live_together
from actors.simulation.post import Told
from actors.simulation.providers import Providers
from actors.simulation.solo import contact_name
from actors.simulation.world import Setting, World
from scenarios.behaviour.acting import domain_of


class Known(msgspec.Struct, frozen=True):
    """A life whose story was written down."""

    number: int
    contact: str
    way: str
    lines: tuple[Told, ...]


class _Crowds(msgspec.Struct, frozen=True):
    """What a process needs to know of all crowds."""

    setting: Setting
    plan: tuple[int, ...]
    told: frozenset[int]


class _Lived(msgspec.Struct):
    tally: Tally
    known: list[Known]


def live_in_crowds(
    setting: Setting,
    contacts: int,
    plan: tuple[int, ...],
    processes: int,
    progress: Callable[[int], None],
    told: Collection[int] = (),
) -> tuple[Tally, list[Known]]:
    """Run all lives before twins of providers; `progress` hears how many are done.

    Args:
        setting: of the simulation.
        contacts: how many.
        plan: the warm-up plan, mails a day for each provider; () for none.
        processes: how many at the most; there are no more than providers.
        progress: hears the number of lives that have ended.
        told: numbers of contacts whose stories are given back.
    """
    crowds = _by_provider(World(setting), contacts)
    what = _Crowds(setting, plan, frozenset(told))
    processes = min(processes, len(crowds))
    if processes <= 1:
        done = list(_one_after_another(what, crowds, progress))
    else:
        done = _side_by_side(what, crowds, processes, progress)
    total, known = Tally(), []
    for lived in done:
        total.add(lived.tally)
        known += lived.known
    return total, known


def _by_provider(world: World, contacts: int) -> list[array[int]]:
    """Sort contacts by who serves their domain, in the order of the providers' names."""
    found: dict[str, array[int]] = {}
    for number in range(contacts):
        domain = domain_of(world.cast, contact_name(number), world.setting.seed)
        name = world.provider(domain)
        crowd = found.get(name)
        if crowd is None:
            crowd = found[name] = array("q")
        crowd.append(number)
    return [found[name] for name in sorted(found)]


def _one_after_another(
    what: _Crowds, crowds: Sequence[array[int]], progress: Callable[[int], None]
) -> Iterator[_Lived]:
    world, before = World(what.setting), 0
    for crowd in crowds:
        yield _live(world, what, crowd, lambda done, before=before: progress(before + done))  # type: ignore[misc]  # a default binds it
        before += len(crowd)
    progress(before)


def _side_by_side(
    what: _Crowds, crowds: Sequence[array[int]], processes: int, progress: Callable[[int], None]
) -> list[_Lived]:
    context = multiprocessing.get_context("spawn")
    ended = context.Array("q", len(crowds))
    raw = msgspec.msgpack.encode(what)
    largest_first = sorted(range(len(crowds)), key=lambda at: -len(crowds[at]))
    with ProcessPoolExecutor(processes, context, _begin, (raw, ended)) as pool:
        futures: dict[int, Future[bytes]] = {
            at: pool.submit(_task, at, crowds[at]) for at in largest_first
        }
        waiting: set[Future[bytes]] = set(futures.values())
        while waiting:
            waiting = wait(waiting, timeout=_LOOK_S).not_done
            progress(sum(ended[:]))
        return [_LIVED.decode(futures[at].result()) for at in range(len(crowds))]


_LOOK_S: Final = 0.5
_LIVED: Final = msgspec.msgpack.Decoder(_Lived)
_shared: list[tuple[World, _Crowds, Any]] = []


def _begin(raw: bytes, ended: Any) -> None:
    """Make the world of a process, once."""
    what = msgspec.msgpack.decode(raw, type=_Crowds)
    _shared[:] = [(World(what.setting), what, ended)]


def _task(at: int, crowd: array[int]) -> bytes:
    world, what, ended = _shared[0]

    def progress(done: int) -> None:
        ended[at] = done

    return msgspec.msgpack.encode(_live(world, what, crowd, progress))


def _live(
    world: World, what: _Crowds, crowd: array[int], progress: Callable[[int], None]
) -> _Lived:
    providers = Providers(what.setting.twin, what.plan, world.cast.begins)
    tally, lives = live_together(world, crowd, providers, progress, what.told)
    known = [
        Known(number, life.contact_id, life.way, tuple(life.story or ()))
        for number, life in sorted(lives.items())
    ]
    progress(len(crowd))
    return _Lived(tally, known)
