"""What crosses between a state worker and an egress of its own: Structs in msgpack, one call a tick, batches always.

    state worker                                   egress
      Greeting                 ->                    which life are you?
                               <-  Welcome           this one
      Questions (what I hold)  ->                    fences what isn't begun
                               <-  Fates             outcomes; none for what is past its last check
      Exchange                 ->                    messages, cancels, confirmations, wishes for credits
                               <-  Granting          credits, and until when lanes are parked
      (answered at once)       <-  News              outcomes, told again until they are confirmed

Every request names the incarnation it is meant for, and every answer the one that gave it: what was meant for a former
life is refused whole, and a failure of a call to a former life says nothing new. Any of these may be lost, repeated or
late: attempts have numbers, both sides remember them, and a lost hand-over is asked for. DESIGN §4.
"""

from __future__ import annotations

__all__ = (
    "Attempt",
    "Exchange",
    "Fates",
    "Grant",
    "Granting",
    "Greeting",
    "Handover",
    "News",
    "Question",
    "Questions",
    "Reply",
    "Request",
    "Told",
    "Welcome",
    "Wish",
)

import msgspec

from deliverability.message.records import AttemptOutcome
from engine.vocabulary import Message


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt of one message."""

    message_id: bytes
    number: int


class Greeting(msgspec.Struct, frozen=True, array_like=True, tag="greeting"):
    """A state worker asks which life of the egress it has to do with. Idempotent."""

    owner: int


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The egress's incarnation; its credits are good for `credit_ms` from when it issued them."""

    incarnation: int
    credit_ms: int


class Question(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The fate of an attempt, asked under the partition's epoch. Asking is fencing."""

    attempt: Attempt
    epoch: int


class Questions(msgspec.Struct, frozen=True, array_like=True, tag="questions"):
    """Ask for fates. `complete`: all that the owner holds of former incarnations is among them. Idempotent."""

    owner: int
    incarnation: int
    items: list[Question]
    complete: bool = False


class Fates(msgspec.Struct, frozen=True, array_like=True, tag="fates"):
    """One for each question; None: its outcome will be told. Without items when another incarnation was meant."""

    incarnation: int
    items: list[AttemptOutcome | None] = []


class Handover(msgspec.Struct, frozen=True, array_like=True):
    """A message, under the epoch of its partition."""

    epoch: int
    message: Message


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """Credits wanted for a lane; `ready`: something waits for them, else they are wanted in advance."""

    lane: bytes
    number: int
    ready: bool


class Exchange(msgspec.Struct, frozen=True, array_like=True, tag="exchange"):
    """What a tick let go. `now`: the time of inputs, ms. What fails may have happened: ask for the messages' fate.

    `catalog`: the version that decided; the egress looks for a newer one when its own is older.
    """

    owner: int
    incarnation: int
    now: int
    messages: list[Handover] = []
    cancels: list[Attempt] = []
    confirmed: list[Attempt] = []
    wishes: list[Wish] = []
    catalog: int = 0


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """Credits for a lane. `parked`: there are none before this time (that of inputs), ms; 0: it isn't parked."""

    lane: bytes
    number: int
    not_after: int
    parked: int = 0


class Granting(msgspec.Struct, frozen=True, array_like=True, tag="granting"):
    """One grant for each wish. `refused`: another incarnation was meant, and nothing was taken."""

    incarnation: int
    grants: list[Grant] = []
    refused: bool = False


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An outcome on its way to the partition."""

    message_id: bytes
    tenant: str
    contact: bytes
    outcome: AttemptOutcome


class News(msgspec.Struct, frozen=True, array_like=True, tag="news"):
    """Outcomes of one egress. Told again until they are confirmed; repeating is harmless."""

    incarnation: int
    items: list[Told]


Request = Greeting | Questions | Exchange
Reply = Welcome | Fates | Granting
