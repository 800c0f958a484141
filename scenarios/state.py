"""The state of a contact: everything that is held about it, journeys and messages under way included.

Fields are only ever appended (the records are arrays). Nothing here can contain itself, so the collector of cycles is
spared all of it (`gc=False`). Limits: `JOURNEYS_MAX` journeys and
`UNDER_WAY_MAX` messages at a time; what would pass them isn't begun, and is recorded.
"""

from __future__ import annotations

__all__ = (
    "COUPONS_MAX",
    "JOURNEYS_MAX",
    "UNDER_WAY_MAX",
    "Contact",
    "Direct",
    "Earlier",
    "Exposure",
    "HeldCode",
    "Journey",
    "JourneySend",
    "LastMail",
    "Loop",
    "Membership",
    "Past",
    "Points",
    "Seen",
    "Suppression",
    "Trial",
)

from typing import Annotated, Any, Final

import msgspec

from engine.vocabulary import Consent, Data, Personal

JOURNEYS_MAX: Final = 200
UNDER_WAY_MAX: Final = 1_000
COUPONS_MAX: Final = 100
"""Codes of pools that a contact is known to have; of more the newest."""


class Loop(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often the steps of a loop were begun, and the items of a `for_each`."""

    begun: int
    items: Annotated[list[Any], Personal] = []


class Earlier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a journey stood before a run moved it to another version, so that the move can be reverted."""

    run: str
    version: str
    step: str
    visit: int = 1


class Journey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One run through a scenario, standing at a waiting step since `since`. `due` 0: no time is set.

    `ordinal` is that of the event that opened it; `visits` counts the steps within loops. `held`: when it came due
    while its scenario was paused; it stands still until the pause is over.
    """

    id: bytes
    scenario: str
    version: str
    step: str
    visit: int
    due: int
    opened_at: int
    event: Annotated[Data, Personal]
    key: str = ""
    caught: Annotated[dict[str, Any], Personal] = {}
    since: int = 0
    ordinal: int = 0
    visits: dict[str, int] = {}
    loops: dict[str, Loop] = {}
    held: int = 0
    earlier: Earlier | None = None


class Past(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What re-entry must remember of a scenario: how often and when last it was entered (ms)."""

    opened: int
    opened_at: int


class Suppression(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why no mail goes on a stream, since when (ms)."""

    reason: str
    at: int


class JourneySend(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message of a journey under way: what its permit needs, since the journey has gone on."""

    journey: bytes
    scenario: str
    version: str
    step: str
    visit: int
    opened_at: int
    late_ms: int
    event: Annotated[Data, Personal]
    key: str = ""
    caught: Annotated[dict[str, Any], Personal] = {}
    capped: str = "skip"
    no_consent: str = "skip"
    carried: bool = False  # of a contact that was merged into this one: called back, and sent anew if it wasn't begun


class Direct(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message of the API under way."""

    variables: Annotated[dict[str, Any], Personal]
    address: Annotated[str, Personal] = ""


class Exposure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that counts for frequency caps: reserved at its permit, `sure` once accepted."""

    message_id: bytes
    at: int
    stream: str
    topic: str
    sure: bool = False


class Points(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A score: its value when it was last changed, and the time in which half of it goes."""

    value: float
    changed_at: int
    half_life_ms: int = 0

    def at(self, now: int) -> float:
        """Give its value at a time in ms."""
        if not self.half_life_ms or now <= self.changed_at:
            return self.value
        return float(self.value * 0.5 ** ((now - self.changed_at) / self.half_life_ms))


class Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Since when a contact is in a segment, and until when it was (0: it still is), ms."""

    since: int
    until: int = 0

    def at(self, moment: int) -> bool:
        """Tell whether it was in at a moment. Only the last stay is known."""
        return self.since <= moment and (not self.until or self.until > moment)


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A recent event, kept where a scenario may look back for it."""

    ordinal: int
    at: int
    data: Annotated[Data, Personal]


class Trial(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A contact's part in an experiment: its variant, since when (ms), marks of what it did (`scenarios.trials`)."""

    variant: str
    at: int
    marks: int = 0


class HeldCode(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A code of a pool that the contact was given, when (ms)."""

    pool: str
    code: Annotated[str, Personal]
    at: int


class LastMail(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A mail that was accepted, at `at` (ms); `marks`: what the contact did with it (`scenarios.reading_habits`)."""

    message_id: bytes
    at: int
    marks: int = 0


class Contact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A contact. With `erased_at` (ms) it is a tombstone, and only `dropped` still counts.

    With `merged_into` it is an alias of another. `merging`: of which it is about to become one. `formers` are its own.
    """

    attributes: Annotated[dict[str, Any], Personal] = {}
    record_version: int | None = None
    consents: dict[str, Consent] = {}
    counts: dict[str, int] = {}
    journeys: tuple[Journey, ...] = ()
    past: dict[str, Past] = {}
    suppressions: dict[str, Suppression] = {}
    sends: dict[bytes, JourneySend] = {}
    directs: dict[bytes, Direct] = {}
    erased_at: int = 0
    dropped: int = 0
    exposures: tuple[Exposure, ...] = ()
    scores: dict[str, Points] = {}
    tags: dict[str, int] = {}
    recent: dict[str, tuple[Seen, ...]] = {}
    ordinal: int = 0
    times: dict[str, tuple[int, ...]] = {}  # of events that a scenario counts within a window, ms
    segments: dict[str, Membership] = {}
    dates: dict[
        str, int
    ] = {}  # when a date entry opens next, by scenario NUL number of the entry, ms
    arms: dict[
        str, str
    ] = {}  # what this contact did with mail of a campaign, by scenario NUL event
    trials: dict[str, Trial] = {}  # by the experiment's key
    coupons: tuple[HeldCode, ...] = ()
    merged_into: str = ""
    merging: str = ""
    formers: tuple[str, ...] = ()
    mails: tuple[LastMail, ...] = ()
    hours: tuple[int, ...] = ()  # readings by hour of the contact's day
