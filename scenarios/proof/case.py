"""What a case of a test file says: given, when, then. All times are instants in ms."""

from __future__ import annotations

__all__ = (
    "Answered",
    "Case",
    "Expected",
    "Given",
    "Outage",
    "Scripted",
    "Suite",
    "Then",
    "Timed",
    "What",
)

from typing import Any, Literal

import msgspec

from engine.vocabulary import ConsentGiven, ContactPut, Erase, Event, MarkSuppressed
from scenarios.products import ProductList
from scenarios.settings import ContactSettings

What = Literal["send", "not_sent", "notify", "call", "coupon", "ended"]


class Timed(msgspec.Struct, frozen=True):
    """An input of the contact at its time."""

    at: int
    body: Event | ContactPut | ConsentGiven | Erase | MarkSuppressed


class Given(msgspec.Struct, frozen=True):
    """The contact as it stands when the case begins, and the tenant's settings.

    `history` has events of before, which are counted and open nothing; `coupons` how many codes pools have, all others
    having any number; `products` lists by name.
    """

    at: int
    contact_id: str
    attributes: dict[str, Any]
    consents: dict[str, bool]
    tags: tuple[str, ...]
    scores: dict[str, float]
    history: tuple[Event, ...]
    settings: ContactSettings
    coupons: dict[str, int] = {}
    products: dict[str, ProductList] = {}


class Scripted(msgspec.Struct, frozen=True):
    """What becomes of the next attempt of a step's mail: the reply, so long after the hand-over.

    A deferred attempt is made again after `after_ms`.
    """

    step: str
    outcome: Literal["delivered", "deferred", "bounced"]
    after_ms: int


class Answered(msgspec.Struct, frozen=True):
    """What becomes of the next call of a step: the status of its answer (0: none comes), so long after it."""

    step: str
    status: int
    after_ms: int = 0
    fields: dict[str, Any] = {}


class Outage(msgspec.Struct, frozen=True):
    """Nothing is handed over from `at` until `until`."""

    at: int
    until: int


class Expected(msgspec.Struct, frozen=True):
    """One line of the expected timeline. `at` None: whenever.

    `name` is the step, the channel, or the reason of an end; `detail` the template of a send ("" for any), the
    reason of what isn't sent, the endpoint of a call, or the pool of a
    code ("" for any).
    """

    what: What
    name: str
    detail: str = ""
    at: int | None = None


class Then(msgspec.Struct, frozen=True):
    """What must have happened. Sends, non-sends, notifications and calls are complete: one more is a failure.

    None: not looked at. Of `attributes` and `scores` only those named are looked at; an attribute None isn't there.
    """

    timeline: tuple[Expected, ...]
    ends: bool = False
    opened: int | None = None
    standing: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    attributes: dict[str, Any] = {}
    scores: dict[str, float] = {}


class Case(msgspec.Struct, frozen=True):
    """One case. It runs until nothing is due, or until `until` (0: no such end)."""

    name: str
    line: int
    given: Given
    inputs: tuple[Timed, ...]
    script: tuple[Scripted, ...]
    outages: tuple[Outage, ...]
    until: int
    then: Then
    answers: tuple[Answered, ...] = ()


class Suite(msgspec.Struct, frozen=True):
    """The cases of one file; `beside` names the files of other scenarios that run too."""

    file: str
    cases: tuple[Case, ...]
    beside: tuple[str, ...] = ()
