"""Google's recipe, step by step, and every answer in every phase."""

import pytest

from deliverability.pacing.recovery import (
    STEP_MS,
    STOP_MS,
    Recovery,
    RecoveryPhase,
    begin_recovery,
    recovery_after,
)
from deliverability.pacing.signals import Cause

TEN_MINUTES = 600_000


def test_the_recipe() -> None:
    stopped = begin_recovery(0, 3)
    assert STOP_MS >= TEN_MINUTES
    assert (stopped.until_ms, stopped.connections) == (STOP_MS, 1)
    again = recovery_after(stopped, Cause.STOP, STOP_MS + 1)
    assert again.until_ms == 2 * STOP_MS + 1
    growing = recovery_after(again, Cause.ACCEPTED, again.until_ms)
    assert (growing.phase, growing.connections) == (RecoveryPhase.GROWING, 1)
    soon = recovery_after(growing, Cause.ACCEPTED, growing.since_ms + STEP_MS - 1)
    assert soon.connections == 1
    two = recovery_after(growing, Cause.ACCEPTED, growing.since_ms + STEP_MS)
    assert (two.connections, two.finished()) == (2, False)
    three = recovery_after(two, Cause.ACCEPTED, two.since_ms + STEP_MS)
    assert three.finished()
    assert recovery_after(three, Cause.STOP, 10 * STOP_MS).connections == 1


@pytest.mark.parametrize("phase", list(RecoveryPhase))
@pytest.mark.parametrize("cause", list(Cause))
def test_every_answer_in_every_phase(phase: RecoveryPhase, cause: Cause) -> None:
    before = Recovery(phase, since_ms=0, until_ms=100, connections=2, goal=4)
    after = recovery_after(before, cause, 200_000)
    assert 1 <= after.connections <= before.connections + 1
    assert (after == before) == (cause not in (Cause.ACCEPTED, Cause.STOP))
