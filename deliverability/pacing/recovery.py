"""Google's published way back after 4.7.28, as a recipe of its own.

Stop for ten minutes at least; then try one message on one connection; if it is deferred, wait ten minutes more; if
it is accepted, go on with one connection and add one at a time. support.google.com/mail/answer/81126 (2026-03-21).
"""

from __future__ import annotations

__all__ = ("STOP_MS", "Recovery", "RecoveryPhase", "begin_recovery", "recovery_after")

import enum

import msgspec

from deliverability.pacing.signals import Cause

STOP_MS = 10 * 60_000 + 5_000  # a little more than asked for: clocks differ
STEP_MS = 60_000


class RecoveryPhase(enum.Enum):
    """Where in the recipe a lane is."""

    STOPPED = "stopped"
    PROBING = "probing"
    GROWING = "growing"


class Recovery(msgspec.Struct, frozen=True):
    """The state of one recovery: nothing is sent before `until_ms`; `connections` may be open then."""

    phase: RecoveryPhase
    since_ms: int
    until_ms: int
    connections: int
    goal: int

    def finished(self) -> bool:
        """Tell whether all connections from before are back."""
        return self.phase is RecoveryPhase.GROWING and self.connections >= self.goal


def begin_recovery(now_ms: int, connections: int) -> Recovery:
    """Start over: stop now, and aim for as many connections as there were."""
    return Recovery(RecoveryPhase.STOPPED, now_ms, now_ms + STOP_MS, 1, max(1, connections))


def recovery_after(recovery: Recovery, cause: Cause, now_ms: int) -> Recovery:
    """Return the state after an answer that came at `now_ms`."""
    if cause is Cause.STOP:
        if recovery.phase is RecoveryPhase.STOPPED and now_ms < recovery.until_ms:
            return msgspec.structs.replace(recovery, until_ms=now_ms + STOP_MS)
        return begin_recovery(now_ms, recovery.goal)
    if cause is not Cause.ACCEPTED or now_ms < recovery.until_ms:
        return recovery
    if recovery.phase is not RecoveryPhase.GROWING:
        return msgspec.structs.replace(
            recovery, phase=RecoveryPhase.GROWING, until_ms=now_ms, since_ms=now_ms
        )
    if now_ms - recovery.since_ms >= STEP_MS:
        return msgspec.structs.replace(
            recovery, connections=recovery.connections + 1, since_ms=now_ms
        )
    return recovery
