"""Marks on queues: what an operator wants done with messages that wait, said once instead of to each of them. Pure.

A mark is published in the catalog and is in force everywhere within a second, however many messages it concerns. Each
message looks at the marks at its next turn; a sweep in the background (`deliverability.sweep`) gives a turn to those
that have none soon. Until then a message under a `cancel` mark counts as queued, but is never handed over.

Generations tell what a mark concerns. Marks of a tenant are numbered; a message notes at its acceptance the newest
number (its generation), so which came first is decided by the catalog in use and by no clock:

    cancel bounce expire reroute    messages accepted before the mark
    suspend                         all, until it is lifted
    drain                           those accepted after it wait; those before it go out
"""

from __future__ import annotations

__all__ = (
    "DOUBT_QUEUE",
    "MARKS",
    "SECTION",
    "Action",
    "Found",
    "Mark",
    "Marks",
    "Selection",
    "is_parked",
    "looked",
    "parked",
)

from typing import Literal, NamedTuple

import msgspec

from engine.vocabulary import Send

SECTION = "queue"
"""Where marks stand in the catalog, by tenant, under the name `MARKS`."""

MARKS = "marks"

Action = Literal["suspend", "drain", "cancel", "bounce", "expire", "reroute"]
CAMPAIGN_PREFIX = "campaign."
"""Begins the name of the scenario by which a campaign is run (`scenarios.runs`)."""

ENDS = ("cancel", "bounce", "expire")

DOUBT_QUEUE = b"\0doubt"
"""Where messages stand that are held in doubt: a queue that no lane has, so that nobody is granted credit for them."""


def parked(queue: bytes) -> bytes:
    """Name the queue in which messages of a suspended queue stand. It belongs to no lane, for its lane has no name."""
    return b"\0" + queue


def is_parked(queue: bytes) -> bool:
    """Tell whether messages of this queue are suspended."""
    return queue.startswith(b"\0") and queue != DOUBT_QUEUE


class Selection(msgspec.Struct, frozen=True):
    """Which messages of a tenant: all that is given must be true of them; nothing given, all of them.

    `domains` are those of the forward-path; a site is given by the domains that it serves. A campaign is the name given
    to messages of the API, or the scenario that sends, or `scenario/step`.
    """

    campaign: str = ""
    stream: str = ""
    domains: tuple[str, ...] = ()
    pool: str = ""

    def matches(self, send: Send) -> bool:
        """Tell whether a message is selected."""
        if self.domains and send.domain not in self.domains:
            return False
        if self.stream and send.stream != self.stream:
            return False
        if self.pool and (send.pool or "default") != self.pool:
            return False
        return not self.campaign or self.campaign in (
            send.scenario.removeprefix(CAMPAIGN_PREFIX) or send.step,
            send.scenario,
            f"{send.scenario}/{send.step}",
        )

    def words(self) -> str:
        """Tell it in words, for a record."""
        given = (
            ("campaign", self.campaign),
            ("stream", self.stream),
            ("domain", ",".join(self.domains)),
            ("pool", self.pool),
        )
        return " ".join(f"{name}={value}" for name, value in given if value) or "everything"


class Mark(msgspec.Struct, frozen=True):
    """One command. `reason` becomes that of the messages it ends."""

    number: int
    action: Action
    selection: Selection = Selection()
    to_pool: str = ""
    reason: str = ""
    at: int = 0
    actor: str = ""

    def concerns(self, send: Send, generation: int, rerouted: int) -> bool:
        """Tell whether a message is under it. `rerouted`: the number of the last reroute it followed."""
        match self.action:
            case "suspend":
                among = True
            case "drain":
                among = generation >= self.number
            case "reroute":
                among = self.number > max(generation, rerouted)
            case "cancel" | "bounce" | "expire":
                among = generation < self.number
        return among and self.selection.matches(send)


class Marks(msgspec.Struct, frozen=True):
    """The marks of a tenant, oldest first. `newest` is the highest number ever used; numbers never come again."""

    newest: int = 0
    marks: tuple[Mark, ...] = ()


class Found(NamedTuple):
    """What the marks say of one message: its end, or its pool and whether it waits."""

    end: Mark | None = None
    reroute: Mark | None = None
    waits: bool = False


def looked(marks: Marks, send: Send, generation: int, rerouted: int) -> Found:
    """Tell what the marks say of a message that is queued; an end comes before all else, the oldest first."""
    reroute: Mark | None = None
    for mark in marks.marks:
        if mark.concerns(send, generation, rerouted):
            if mark.action in ENDS:
                return Found(end=mark)
            if mark.action == "reroute" and mark.to_pool != (send.pool or "default"):
                reroute, rerouted = mark, mark.number
                send = msgspec.structs.replace(send, pool=mark.to_pool)
    waits = any(
        mark.action in ("suspend", "drain") and mark.concerns(send, generation, rerouted)
        for mark in marks.marks
    )
    return Found(None, reroute, waits)
