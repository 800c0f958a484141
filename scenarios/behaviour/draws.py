"""Seeded chance: a stream of draws for each name, each a hash of seed, name and number."""

from __future__ import annotations

__all__ = ("Draws", "seed_of")

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b
from math import log

_TIMES_MAX = 1_000  # a geometric draw ends here


def seed_of(seed: int, contact: str) -> bytes:
    """Give the seed of one contact's chance."""
    return blake2b(f"{seed}\0{contact}".encode(), digest_size=16).digest()


class Draws:
    """Chance of one contact. The n-th draw of a name is always the same, whatever else is drawn."""

    __slots__ = ("_numbers", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._numbers: dict[str, int] = {}

    def uniform(self, name: str) -> float:
        """Draw from [0, 1)."""
        number = self._numbers.get(name, 0)
        self._numbers[name] = number + 1
        digest = blake2b(f"{name}\0{number}".encode(), key=self._seed, digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) * 2.0**-53

    def chance(self, name: str, share: float) -> bool:
        """Draw whether something comes about."""
        if share <= 0.0 or share >= 1.0:
            return share >= 1.0
        return self.uniform(name) < share

    def exponential(self, name: str, mean: float) -> float:
        """Draw a time with an exponential distribution."""
        return -mean * log(1.0 - self.uniform(name)) if mean else 0.0

    def more(self, name: str, again: float) -> int:
        """Draw how often something comes about again: geometric, from 0."""
        if again <= 0.0:
            return 0
        number = 0
        while number < _TIMES_MAX and self.uniform(name) < again:
            number += 1
        return number

    def pick(self, name: str, bounds: Sequence[float]) -> int:
        """Draw a position; `bounds` is the running sum of the weights."""
        return min(bisect_right(bounds, self.uniform(name) * bounds[-1]), len(bounds) - 1)
