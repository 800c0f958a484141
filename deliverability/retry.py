"""When a deferred message is tried again, by the cause of the deferral.

A greylisted message comes back in minutes, a full mailbox in hours; a rate limit is the queue's matter, so it burns
none of the message's attempts. Delays of a minute or more are rounded up to whole minutes, so that retries of a
site fall into few batches.
"""

from __future__ import annotations

__all__ = ("CURVES", "Curve", "next_attempt")

import random

import msgspec

MINUTE = 60_000
HOUR = 60 * MINUTE


class Curve(msgspec.Struct, frozen=True):
    """Delays in ms: `first`, then doubled up to `longest`, each spread by ± `jitter`."""

    first: int
    longest: int
    jitter: float = 0.2


DEFAULT = Curve(first=10 * MINUTE, longest=4 * HOUR)

CURVES: dict[str, Curve] = {
    "greylisted": Curve(first=6 * MINUTE, longest=30 * MINUTE),
    "sending-too-fast": Curve(first=5 * MINUTE, longest=2 * HOUR),
    "too-many-connections": Curve(first=5 * MINUTE, longest=2 * HOUR),
    "connection": Curve(first=2 * MINUTE, longest=HOUR),
    "mailbox-full": Curve(first=4 * HOUR, longest=24 * HOUR),
}


def next_attempt(cause: str, deferrals: int, now: int, rng: random.Random) -> int:
    """Give the time (ms) of the next attempt after the `deferrals`-th deferral (from 1). RFC 5321 §4.5.4.1."""
    curve = CURVES.get(cause, DEFAULT)
    delay = min(curve.first << min(deferrals - 1, 20), curve.longest)
    delay += int(delay * curve.jitter * (2 * rng.random() - 1))
    due = now + max(delay, 1)
    return due if delay < MINUTE else -(-due // MINUTE) * MINUTE
