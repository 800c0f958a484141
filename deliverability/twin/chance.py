"""Chance without a generator: a number in [0, 1) that is a function of what it is drawn for."""

from __future__ import annotations

__all__ = ("draw",)

from hashlib import blake2b

_SCALE = 2.0**-64


def draw(seed: int, stream: str, *parts: bytes | str | int) -> float:
    """Draw the number in [0, 1) that `stream` has for `parts` under `seed`.

    Streams are independent: a model that draws more often shifts nobody else's numbers, and
    neither does the order in which connections happen to arrive.
    """
    digest = blake2b(digest_size=8)
    for part in (seed, stream, *parts):
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return int.from_bytes(digest.digest()) * _SCALE
