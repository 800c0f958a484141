"""When a deferred message is tried again, by the cause of the deferral.

A greylisted message comes back in minutes, a full mailbox in hours; the curves are configuration (`[delivery.retry]`,
by the causes of `feedback.taxonomy`). A rate limit is the queue's matter, so it burns none of the message's attempts.
Delays of a minute or more end at whole minutes, so that retries of a site fall into few batches.
"""

from __future__ import annotations

__all__ = ("next_attempt",)

import random

from engine.config import RetryCurve

MINUTE = 60_000


def next_attempt(curve: RetryCurve, deferrals: int, now: int, rng: random.Random) -> int:
    """Give the time (ms) of the next attempt after the `deferrals`-th deferral (from 1). RFC 5321 §4.5.4.1."""
    longest = curve.max_s * 1000
    delay = longest
    if curve.factor ** min(deferrals - 1, 64) < longest:
        delay = min(int(curve.first_s * 1000 * curve.factor ** min(deferrals - 1, 64)), longest)
    delay += int(delay * curve.jitter_percent / 100 * (2 * rng.random() - 1))
    due = now + max(delay, 1)
    return due if delay < MINUTE else -(-due // MINUTE) * MINUTE
