"""Placement in calm: how long a move takes, how soon the dead are replaced, and what the table looks like.

What holds under faults: `test_seeds.py`.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.placement.steward import DEAD_MS
from engine.placement.table import moves_between, place
from tests.engine.placement.worker import BEAT_MS
from tests.engine.placement.world import World

STEP_MS = 5


def _calm(workers: int) -> World:
    world = World(1, workers=workers)
    world.faults = False
    world.run(6_000)
    return world


def test_a_planned_move_is_a_short_pause() -> None:
    """From the last commit of one to the claim of the other: a beat of the next owner, and what the network takes."""
    world = _calm(3)
    victim = world.workers["w0"]
    before = set(victim.held)
    assert before
    gone: dict[int, int] = {}
    pauses = []
    world.steward.drain("w0")
    for _ in range(600):
        world.run(world.now + STEP_MS)
        held = {p for worker in world.workers.values() for p in worker.held}
        for partition in before:
            if partition not in held:
                gone.setdefault(partition, world.now)
            elif partition in gone and partition not in victim.held:
                pauses.append(world.now - gone.pop(partition))
    assert victim.held == {}
    assert len(pauses) == len(before)
    assert sorted(pauses)[len(pauses) // 2] <= BEAT_MS + 30


def test_a_dead_workers_partitions_are_served_again_within_five_seconds() -> None:
    """Nobody waits longer than it takes to believe that it is dead."""
    world = _calm(3)
    victim = world.workers["w0"]
    orphans = set(victim.held)
    assert orphans
    victim.die(None)
    died = world.now
    while not orphans <= {p for name in ("w1", "w2") for p in world.workers[name].held}:
        world.run(world.now + STEP_MS)
        assert world.now - died <= DEAD_MS + 1000


WORKERS = st.lists(st.sampled_from([f"w{n}" for n in range(12)]), min_size=1, unique=True)


@given(WORKERS, st.dictionaries(st.integers(0, 63), st.floats(0, 1000), max_size=64))
def test_every_partition_has_an_owner_and_nobody_carries_much_more_than_others(
    workers: list[str], load: dict[int, float]
) -> None:
    """Placed anew: all are owned; and the most that anybody carries is bounded by mean and heaviest partition."""
    owners = place(64, workers, (), load)
    assert set(owners) <= set(workers)
    total = sum(load.values())
    weights = [0.5 + 0.5 * load.get(p, 0.0) * 64 / total if total > 0 else 1.0 for p in range(64)]
    carried = Counter[str]()
    for partition, owner in enumerate(owners):
        carried[owner] += weights[partition]  # type: ignore[assignment]
    mean = sum(weights) / len(workers)
    assert max(carried.values()) <= 1.15 * mean + max(weights) + 1e-6


@given(WORKERS, st.integers(0, 11))
def test_who_comes_takes_its_share_and_who_goes_leaves_only_its_own(
    workers: list[str], number: int
) -> None:
    """Few moves: none between workers that stay, but what bounds ask for."""
    other = f"w{number}"
    before = place(256, workers)
    after = place(256, [*workers, other] if other not in workers else workers, before)
    moved = moves_between(before, after)
    share = 256 / (len(workers) + 1)
    assert len(moved) <= 1.5 * share + 8
    if len(workers) > 1:
        gone = workers[0]
        left = [w for w in workers if w != gone]
        without = place(256, left, before)
        own = [p for p, owner in enumerate(before) if owner == gone]
        assert len(moves_between(before, without)) <= len(own) + 0.2 * 256


def test_a_hot_partitions_neighbours_move_away() -> None:
    """One partition with half of the load keeps its worker nearly to itself."""
    before = place(64, ["a", "b", "c", "d"])
    hot = before[7]
    load = dict.fromkeys(range(64), 1.0) | {7: 63.0}
    after = place(64, ["a", "b", "c", "d"], before, load, settle=True)
    assert after[7] == hot
    assert after.count(hot) < before.count(hot) / 2


def test_nobody_to_place_on_is_told() -> None:
    """Without workers nothing is owned, and nothing raises."""
    assert place(4, []) == ["", "", "", ""]
