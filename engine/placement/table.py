"""The table of owners: rendezvous hashing, bounded by load, with as few moves as that allows.

Each partition ranks the workers by H(partition, worker) and goes to the first that has room. A worker that comes takes
its share and nothing else moves; one that goes leaves its own to the others. Load bounds what a worker may have: a hot
partition fills its worker, so its neighbours go elsewhere.
"""

from __future__ import annotations

__all__ = ("moves_between", "place")

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

SLACK = 1.15
"""How much more than the mean a worker may carry before partitions are placed elsewhere."""

STAYS = 1.30
"""How much more than the mean it may carry before partitions that it has are moved away."""


def place(
    partitions: int,
    workers: Sequence[str],
    now: Sequence[str] = (),
    load: Mapping[int, float] | None = None,
    *,
    settle: bool = False,
) -> list[str]:
    """Give the owner of each partition; "" where there is no worker.

    Args:
        partitions: how many there are.
        workers: who may own some.
        now: the owners as they are, which stay where they can; empty: placed anew.
        load: of partitions, in any unit; one that is missing carries nothing but its place.
        settle: move until the slack is kept, also where only load, not membership, has changed.
    """
    if not workers:
        return [""] * partitions
    weights = _weights(partitions, load or {})
    mean = sum(weights) / len(workers)
    room = dict.fromkeys(workers, mean * SLACK)
    owners = [""] * partitions
    stays = mean * (SLACK if settle or not now else STAYS)
    carried = dict.fromkeys(workers, 0.0)
    moved: list[int] = []
    for number in sorted(range(partitions), key=lambda p: (-weights[p], p)):
        owner = now[number] if now else ""
        first = _ranked(number, tuple(workers))[0]
        newcomer = bool(now) and first not in now and first != owner
        if owner in room and not newcomer and carried[owner] + weights[number] <= stays:
            owners[number] = owner
            carried[owner] += weights[number]
        else:
            moved.append(number)
    for number in moved:
        ranked = _ranked(number, tuple(workers))
        fits = (w for w in ranked if carried[w] + weights[number] <= room[w])
        owner = next(fits, min(workers, key=lambda w: (carried[w], w)))
        owners[number] = owner
        carried[owner] += weights[number]
    return owners


def moves_between(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """List the partitions whose owner differs."""
    pairs = zip(before, after, strict=True)
    return [number for number, (old, new) in enumerate(pairs) if old != new]


def _weights(partitions: int, load: Mapping[int, float]) -> list[float]:
    """Weigh partitions: half by their number, half by their load, so that idle ones are spread too."""
    total = sum(load.values())
    if total <= 0:
        return [1.0] * partitions
    return [0.5 + 0.5 * load.get(number, 0.0) * partitions / total for number in range(partitions)]


@lru_cache(maxsize=65_536)
def _ranked(number: int, workers: tuple[str, ...]) -> tuple[str, ...]:
    def score(worker: str) -> bytes:
        return blake2b(f"{number}\0{worker}".encode(), digest_size=8).digest()

    return tuple(sorted(workers, key=score, reverse=True))
