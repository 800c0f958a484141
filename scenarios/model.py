"""The model of a scenario: what a file means, without its form. Frozen; its content hash is its version.

Expressions are kept as text, durations in ms. Every step but `end` has an id that stays the same when the file is
edited: a journey stands at an id, and a message's id contains it.
"""

from __future__ import annotations

__all__ = (
    "End",
    "Entry",
    "If",
    "Reentry",
    "Scenario",
    "Send",
    "Step",
    "Update",
    "Wait",
    "WaitFor",
    "Waiter",
    "branches",
    "walk",
)

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Literal

import msgspec

Reentry = Literal["never", "always", "restart"]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which event opens a journey, and the condition it must fulfil ("" for none)."""

    event: str
    when: str = ""


class Wait(msgspec.Struct, frozen=True, omit_defaults=True, tag="wait"):
    """Wait an elapsed time, counted from when the journey reached the step."""

    id: str
    duration_ms: int


class Waiter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event that a `wait_for` waits for; `caught` names it under `journey`."""

    event: str
    when: str = ""
    caught: str = ""
    then: tuple[Step, ...] = ()


class WaitFor(msgspec.Struct, frozen=True, omit_defaults=True, tag="wait_for"):
    """Wait for one of several events; the first that fits, or the time-out (0: none), decides."""

    id: str
    waiters: tuple[Waiter, ...]
    timeout_ms: int = 0
    otherwise: tuple[Step, ...] = ()


class If(msgspec.Struct, frozen=True, omit_defaults=True, tag="if"):
    """Go one of two ways; a condition that has no value counts as not fulfilled."""

    id: str
    condition: str
    then: tuple[Step, ...] = ()
    otherwise: tuple[Step, ...] = ()


class Send(msgspec.Struct, frozen=True, omit_defaults=True, tag="send"):
    """Send a message. `expires_ms` counts from when it was due (0: the stream's default)."""

    id: str
    template: str
    stream: str = "marketing"
    topic: str = ""
    message_class: int = 2
    expires_ms: int = 0
    late_ms: int = 0  # later than this it is skipped; 0: never too late


class Update(msgspec.Struct, frozen=True, omit_defaults=True, tag="update"):
    """Set attributes; a text that begins with `=` is an expression, None removes."""

    id: str
    attributes: dict[str, Any]


class End(msgspec.Struct, frozen=True, omit_defaults=True, tag="end"):
    """End the journey, with a reason for the record."""

    reason: str = ""


Step = Wait | WaitFor | If | Send | Update | End


class Scenario(msgspec.Struct, frozen=True, omit_defaults=True):
    """A scenario. `version` is the hash of all else."""

    name: str
    entry: Entry
    steps: tuple[Step, ...]
    reentry: Reentry = "never"
    description: str = ""
    version: str = ""

    def with_version(self) -> Scenario:
        """Give the same scenario with its version: 16 hex digits over its meaning, layout and comments apart."""
        bare = msgspec.structs.replace(self, version="", description="")
        digest = blake2b(msgspec.json.encode(bare, order="deterministic"), digest_size=8)
        return msgspec.structs.replace(self, version=digest.hexdigest())


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Give all steps, depth first, in the order of the file."""
    for step in steps:
        yield step
        for branch in branches(step):
            yield from walk(branch)


def branches(step: Step) -> tuple[tuple[Step, ...], ...]:
    """Give the lists of steps inside a step."""
    if isinstance(step, If):
        return (step.then, step.otherwise)
    if isinstance(step, WaitFor):
        return (*(waiter.then for waiter in step.waiters), step.otherwise)
    return ()
