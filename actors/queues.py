"""What the edge asks of queues: the forms in which selections, marks and listings are told. Times in ms."""

from __future__ import annotations

__all__ = (
    "DoubtList",
    "DoubtView",
    "MarkView",
    "QueueAction",
    "QueueCommand",
    "QueueDone",
    "QueueLine",
    "QueueList",
    "QueueStory",
    "Queues",
    "SampleView",
    "Settled",
)

from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from actors.health_views import WaitView
from deliverability.marks import Action, Selection

QueueAction = Literal["suspend", "drain", "cancel", "bounce", "expire", "reroute", "resume"]

_Name = Annotated[str, Meta(max_length=300)]


class QueueCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done with which messages of a tenant. Without any selection `everything` must say so.

    `to_pool` is for `reroute`; `mark` for `resume`, which lifts that one mark, or those of an equal selection.
    """

    campaign: _Name = ""
    stream: _Name = ""
    domain: Annotated[list[_Name], Meta(max_length=100)] = []
    site: _Name = ""
    pool: _Name = ""
    everything: bool = False
    to_pool: Annotated[str, Meta(max_length=63, pattern=r"^$|^[a-z0-9][a-z0-9_-]*$(?!\n)")] = ""
    reason: Annotated[str, Meta(max_length=200)] = ""
    mark: Annotated[int, Meta(ge=0)] = 0


class MarkView(msgspec.Struct, frozen=True):
    """A mark in force. `swept`: every message that was there has looked at it."""

    number: int
    action: Action
    selection: Selection
    at_ms: int
    actor: str
    reason: str = ""
    to_pool: str = ""
    swept: bool = False


class QueueDone(msgspec.Struct, frozen=True):
    """What a command did: the mark that is in force now in all workers, or those that it lifted."""

    tenant: str
    action: QueueAction
    selection: Selection
    number: int = 0
    lifted: list[int] = []


class QueueLine(msgspec.Struct, frozen=True):
    """One queue: messages of a tenant that wait for the same route. `more`: there are more than were counted."""

    tenant: str
    message_class: int
    pool: str
    domain: str
    state: Literal["ready", "suspended"]
    messages: int
    more: bool = False
    oldest_ms: int | None = None
    wait: WaitView | None = None  # until its last message goes, where mail is paced
    # Of some messages: the share of the line before it, and when it expires (ms); not in answers.
    samples: list[tuple[float, int]] = []


class QueueList(msgspec.Struct, frozen=True):
    """All queues, the marks in force, and by stream how many messages aren't at their end."""

    queues: list[QueueLine]
    marks: list[MarkView]
    queued: dict[str, int]
    in_doubt: int = 0


class SampleView(msgspec.Struct, frozen=True):
    """A message that a selection meets."""

    message_id: str
    state: str
    domain: str
    stream: str
    campaign: str
    due_ms: int
    attempts: int


class QueueStory(msgspec.Struct, frozen=True):
    """What a selection meets: how many messages by state, the oldest of them. `partial`: not all rows were read."""

    selection: Selection
    states: dict[str, int]
    domains: dict[str, int]
    oldest: list[SampleView]
    rows: int
    partial: bool = False


class DoubtView(msgspec.Struct, frozen=True):
    """A message held in doubt: begun, and nobody knows its reply. It names no address."""

    message_id: str
    contact: str
    stream: str
    domain: str
    attempts: int
    doubts: int
    accepted_ms: int
    cancelled: str = ""
    last: str = ""  # line of its story


class DoubtList(msgspec.Struct, frozen=True):
    """Messages held in doubt."""

    items: list[DoubtView]
    more: bool = False


class Settled(msgspec.Struct, frozen=True):
    """What became of an operator's word on a message in doubt."""

    message_id: str
    done: bool
    state: str


class Queues(Protocol):
    """Queues as the edge sees them. Everything that changes something is a record in the control log."""

    async def list(self, tenant: str) -> QueueList:
        """Tell a tenant's queues and marks."""

    async def show(self, tenant: str, command: QueueCommand, rows_max: int) -> QueueStory:
        """Tell what a selection meets, reading up to `rows_max` rows a worker without holding anything up."""

    async def act(
        self, tenant: str, action: QueueAction, command: QueueCommand, actor: str
    ) -> QueueDone:
        """Put a mark in force, or lift some; answers when all workers decide by it.

        Raises: InputError: nothing is selected, or there is no such mark.
        """

    async def doubts(self, tenant: str, limit: int) -> DoubtList:
        """List messages held in doubt."""

    async def settle(
        self, tenant: str, message_id: bytes, resend: bool, actor: str, reason: str
    ) -> Settled | None:
        """Give an operator's word on a message in doubt; durable on return. None: there is no such message."""
