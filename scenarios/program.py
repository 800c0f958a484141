"""The instructions of a compiled scenario. `next` and its like are positions in the program."""

from __future__ import annotations

__all__ = (
    "Branching",
    "Calling",
    "Condition",
    "Doing",
    "Ending",
    "Finding",
    "Instruction",
    "Listener",
    "Listening",
    "Looping",
    "Sees",
    "Sending",
    "Splitting",
    "Standing",
    "Taking",
    "Updating",
    "Waiting",
)

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scenarios.cel.closures import Closure
from scenarios.cel.scope import Scope
from scenarios.model import Calendar, Notify, Score, Send, Start, Stop, Tag
from scenarios.state import Journey

Sees = Callable[[Scope, Journey, str, int], Mapping[str, Any]]
"""Makes what `journey` is in an expression: (scope, journey, step, visit)."""


class Condition(msgspec.Struct, frozen=True):
    """A compiled expression. `sees`: what it looks at of `journey` (None: it doesn't). `looks`: what a record keeps."""

    source: str
    closure: Closure
    sees: Sees | None = None
    looks: tuple[tuple[str, Closure], ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """Stand until a time has passed, or the calendar allows."""

    id: str
    duration_ms: int
    calendar: Calendar | None
    date: Condition | None
    next: int


class Listener(msgspec.Struct, frozen=True):
    """What happens when an event comes."""

    condition: Condition | None
    caught: str
    next: int
    branch: int


class Listening(msgspec.Struct, frozen=True):
    """Stand until one of the events comes, or the time is out."""

    id: str
    listeners: Mapping[str, tuple[Listener, ...]]
    timeout_ms: int
    look_back_ms: int
    otherwise: int


class Branching(msgspec.Struct, frozen=True):
    """Go the first of several ways that holds: condition, position, name."""

    id: str
    ways: tuple[tuple[Condition, int, str], ...]
    otherwise: int


class Splitting(msgspec.Struct, frozen=True):
    """Go a way by weights, `bounds` being their running sum.

    `hash_key` is the hash of the salt; `key` names an experiment.
    """

    id: str
    hash_key: bytes
    names: tuple[str, ...]
    bounds: tuple[int, ...]
    targets: tuple[int, ...]
    key: str = ""
    holdout: str = ""


class Looping(msgspec.Struct, frozen=True):
    """Take the body for each item (`items`), or up to `limit` times while the condition holds."""

    id: str
    items: Condition | None
    variable: str
    limit: int
    condition: Condition | None
    body: int
    next: int


class Sending(msgspec.Struct, frozen=True):
    """Send a message, and go on."""

    id: str
    send: Send
    next: int


class Updating(msgspec.Struct, frozen=True):
    """Set attributes, and go on. A `Condition` gives the value of an expression."""

    id: str
    values: tuple[tuple[str, Any], ...]
    next: int


class Doing(msgspec.Struct, frozen=True):
    """Do one of the other things that don't wait, and go on."""

    id: str
    step: Score | Tag | Start | Stop | Notify
    next: int


class Calling(msgspec.Struct, frozen=True):
    """Call a system outside, and stand until its answer comes, or the time is out. `values`: as of `Updating`."""

    id: str
    endpoint: str
    values: tuple[tuple[str, Any], ...]
    caught: str
    keep: tuple[str, ...]
    timeout_ms: int
    next: int
    otherwise: int


class Taking(msgspec.Struct, frozen=True):
    """Ask a pool for a code, and stand until it answers, or the time is out."""

    id: str
    pool: str
    caught: str
    timeout_ms: int
    next: int
    otherwise: int


class Finding(msgspec.Struct, frozen=True):
    """Look rows up in a list of products, and go on; `otherwise` where none is found."""

    id: str
    source: str
    keys: Condition
    caught: str
    limit: int
    instead: tuple[str, ...]
    next: int
    otherwise: int


class Ending(msgspec.Struct, frozen=True):
    """The journey is over."""

    reason: str


Standing = Waiting | Listening | Calling | Taking
"""The instructions at which a journey stands."""

Instruction = (
    Standing | Branching | Splitting | Looping | Sending | Updating | Doing | Finding | Ending
)
