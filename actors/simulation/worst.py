"""The most mail that a scenario can send: for one journey along its longest way, whatever contacts do."""

from __future__ import annotations

__all__ = ("mails_max",)

from scenarios.model import ForEach, Repeat, Send, Step, branches


def mails_max(steps: tuple[Step, ...]) -> int:
    """Count the sends on the longest way; an `end` inside is taken for the way going on, so it is an upper bound."""
    return sum(_of(step) for step in steps)


def _of(step: Step) -> int:
    match step:
        case Send():
            return 1
        case ForEach(steps=steps, limit=times) | Repeat(steps=steps, times=times):
            return times * mails_max(steps)
        case _:
            return max((mails_max(branch) for branch in branches(step)), default=0)
