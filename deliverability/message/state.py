"""A message as the store keeps it: its status, its fields, and the story told of it."""

from __future__ import annotations

__all__ = (
    "QUEUED",
    "STORY_MAX",
    "WAITING",
    "MessageState",
    "Status",
    "StoryLine",
    "story_with",
    "without_person",
)

from typing import Annotated, Any, Literal

import msgspec

from engine.machine import Granted
from engine.vocabulary import Personal, Send

STORY_MAX = 24  # lines kept of a message's story: the first few and the newest

Status = Literal[
    "scheduled",
    "ready",
    "suspended",
    "asking",
    "attempting",
    "delivered",
    "bounced",
    "expired",
    "suppressed",
    "cancelled",
    "skipped",
    "erased",
    "in_doubt",
]

WAITING = ("scheduled", "ready", "suspended")
QUEUED = (*WAITING, "asking", "attempting")


class StoryLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a message's story: when (ms), what, and in what words."""

    at: int
    what: str
    detail: str = ""


class MessageState(msgspec.Struct, frozen=True, array_like=True):
    """A message, durable. Fields are only ever appended; each new one has a default."""

    send: Send
    status: Status
    expires: int
    created: int
    attempt: int = 0
    deferrals: int = 0
    reason: str = ""
    address: Annotated[str, Personal] = ""
    display_name: Annotated[str, Personal] = ""
    variables: Annotated[dict[str, Any], Personal] = {}
    date: int = 0
    credit: Granted | None = None
    cancel: str = ""
    first_attempt: int = 0
    finished: int = 0
    doubts: int = 0
    story: tuple[StoryLine, ...] = ()
    recipient: bytes = b""  # keyed hash of the address that it was sent to, kept after the end
    generation: int = 0  # the newest mark when it was accepted
    rerouted: int = 0  # the newest reroute that it followed
    came_back: tuple[str, ...] = ()  # kinds of reports about it; each is believed once
    source: str = ""  # address that the last attempt was sent from, so that complaints count where they belong
    lead: int = 0  # so much earlier than it was due it stands in line, ms: an eager reader's


def story_with(state: MessageState, at: int, what: str, detail: str = "") -> tuple[StoryLine, ...]:
    """Give the message's story with one line more; at most `STORY_MAX`, the middle goes."""
    story = state.story
    if len(story) >= STORY_MAX:
        story = (*story[:4], *story[-(STORY_MAX - 5) :])
    return (*story, StoryLine(at, what, detail[:200]))


def without_person(state: MessageState) -> MessageState:
    """Forget all that is personal, and the hash of the address."""
    return msgspec.structs.replace(state, address="", display_name="", variables={}, recipient=b"")
