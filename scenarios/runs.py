"""What a run over many contacts gives to each: to open a journey, to stop, to be looked at anew, to go on.

Runs walk over the contacts of a tenant in the background: schedules, lists, campaigns, new segments and dates, the end
of a pause. Each gives a contact one input, whose id is made of the run, so that a walk that is repeated after a crash
changes nothing twice.
"""

from __future__ import annotations

__all__ = (
    "CAMPAIGN_PREFIX",
    "EnterJourney",
    "EntrySource",
    "LookAnew",
    "ReleaseHeld",
    "StopJourneys",
    "campaign_news",
    "share_of",
)

from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec

from engine.keyspace import name_of
from engine.machine import Emit
from engine.vocabulary import Personal

EntrySource = Literal["api", "list", "schedule", "campaign"]

CAMPAIGN_PREFIX: Final = "campaign."
"""Begins the name of the scenario that a campaign is run by; no scenario file can have such a name."""

SHARE_MAX: Final = 10_000


class EnterJourney(msgspec.Struct, frozen=True, tag="enter", array_like=True):
    """Input of a contact: a journey of a scenario opens, if an entry of it is of this source.

    `segment` at `as_of` (ms): only who was in it then. `data` is what `event` is in the journey.
    """

    scenario: str
    source: EntrySource
    data: Annotated[dict[str, Any], Personal] = {}
    run: str = ""
    segment: str = ""
    as_of: int = 0


class StopJourneys(msgspec.Struct, frozen=True, tag="stop_journeys", array_like=True):
    """Input of a contact: its journeys of a scenario end, and mail of it that isn't begun is cancelled."""

    scenario: str
    reason: str


class LookAnew(msgspec.Struct, frozen=True, tag="look_anew", array_like=True):
    """Input of a contact: its segments and its dates are worked out anew. `enter`: changes open journeys."""

    enter: bool = False


class ReleaseHeld(msgspec.Struct, frozen=True, tag="release_held", array_like=True):
    """Input of a contact: journeys that a pause has held are due, spread over a time (ms)."""

    scenario: str
    spread_ms: int = 0


def share_of(key: bytes, salt: str) -> int:
    """Give a contact's place among 0 … 9,999 for a salt: the same one in each run, node and replay."""
    digest = blake2b(key, key=blake2b(salt.encode()).digest(), digest_size=8).digest()
    return int.from_bytes(digest) % SHARE_MAX


def campaign_news(
    key: bytes, now: int, scenario: str, what: str, reason: str = "", **more: Any
) -> list[Emit]:
    """Tell the feed of campaigns what became of a contact; nothing for other scenarios."""
    if not scenario.startswith(CAMPAIGN_PREFIX):
        return []
    body = {
        "campaign": scenario[len(CAMPAIGN_PREFIX) :],
        "contact": name_of(key).decode(),
        "what": what,
        "reason": reason,
        "at": now,
        **more,
    }
    return [Emit("campaign", body)]
