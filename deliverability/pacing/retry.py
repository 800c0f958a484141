"""When to try again: a curve for each cause, since one curve for all is wrong.

Greylisting wants minutes, a full mailbox hours; a rate deferral slows the queue and burns no attempt of the message;
mail with a short life (one-time passwords) retries within it and then expires.
"""

from __future__ import annotations

__all__ = ("RetryCurve", "RetryDecision", "burns_attempt", "next_attempt")

import msgspec

from deliverability.pacing.signals import Cause

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
SHORT_LIFE_MS = 15 * _MINUTE


class RetryCurve(msgspec.Struct, frozen=True):
    """Delays after the first, second, … failed attempt; the last one repeats."""

    delays_ms: tuple[int, ...]

    def delay_ms(self, failures: int) -> int:
        """Return the delay after so many failures (1 or more)."""
        return self.delays_ms[min(max(failures, 1), len(self.delays_ms)) - 1]


class RetryDecision(msgspec.Struct, frozen=True):
    """When the next attempt is due; `expired` if the message's life ends before it could be."""

    due_ms: int
    expired: bool


CURVES: dict[Cause, RetryCurve] = {
    Cause.GREYLIST: RetryCurve((5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR)),
    Cause.RATE: RetryCurve((5 * _MINUTE, 10 * _MINUTE, 20 * _MINUTE, 40 * _MINUTE, _HOUR)),
    Cause.STOP: RetryCurve((10 * _MINUTE, 20 * _MINUTE, 40 * _MINUTE, _HOUR)),
    Cause.CONNECTIONS: RetryCurve((_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE)),
    Cause.PER_CONNECTION: RetryCurve((1_000, 10_000, _MINUTE, 5 * _MINUTE)),
    Cause.REPUTATION: RetryCurve((_HOUR, 2 * _HOUR, 4 * _HOUR, 6 * _HOUR)),
    Cause.MAILBOX_FULL: RetryCurve((6 * _HOUR, 12 * _HOUR, 24 * _HOUR)),
    Cause.TRANSIENT: RetryCurve(
        (5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR)
    ),
}
_SHORT_CURVE = RetryCurve((15_000, 30_000, _MINUTE, 2 * _MINUTE))


def burns_attempt(cause: Cause) -> bool:
    """Tell whether a deferral counts against the message: what the queue did wrong doesn't."""
    return cause not in (Cause.RATE, Cause.STOP, Cause.CONNECTIONS, Cause.PER_CONNECTION)


def next_attempt(
    cause: Cause,
    failures: int,
    *,
    now_ms: int,
    accepted_ms: int,
    expires_ms: int,
    draw: float,
    learned_ms: int = 0,
) -> RetryDecision:
    """Say when to try again after a transient failure.

    Args:
        cause: of the last failure; not ACCEPTED or PERMANENT.
        failures: failed attempts so far that count, 1 or more.
        now_ms: when it failed.
        accepted_ms: when the message was accepted by us.
        expires_ms: when its life ends.
        draw: a number in [0, 1) that spreads retries by up to 10 % later.
        learned_ms: what is known of this site (greylisting), used in place of the curve's first delay.
    """
    short = expires_ms - accepted_ms <= SHORT_LIFE_MS
    curve = _SHORT_CURVE if short else CURVES[cause]
    delay_ms = curve.delay_ms(failures)
    if learned_ms and failures <= 1:
        delay_ms = learned_ms
    due_ms = now_ms + delay_ms + int(delay_ms * 0.1 * draw)
    return RetryDecision(due_ms, expired=due_ms >= expires_ms)
