"""What a behaviour file says. Shares are from 0 to 1; a delay is the mean of an exponential one, or measured quantiles.

A *happening* is what contacts do of themselves. A *following* is how they answer: an event, an entry of a feed, or a
mail that was delivered. Opens, clicks, complaints and unsubscriptions are stated once for all mail (`mail`), and apart
for steps that differ.
"""

from __future__ import annotations

__all__ = (
    "DOMAINS",
    "Answers",
    "Behaviour",
    "CallAnswers",
    "Called",
    "Duration",
    "Following",
    "GivenCap",
    "GivenQuiet",
    "GivenSettings",
    "Happening",
    "Hours",
    "MailAnswers",
    "Part",
    "People",
    "Span",
)

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Weight = Annotated[float, Meta(gt=0.0, le=1e9)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Duration = Annotated[str, Meta(pattern=r"^(\d{1,9}(ms|[wdhms]))+$")]
"""An elapsed time, written as in scenarios: `90s`, `4h`, `2d`; `0s` is none."""
_Minute = Annotated[str, Meta(pattern=r"^\d{1,2}:\d{2}$")]


DOMAINS: Final = {
    "gmail.test": 40.0,
    "outlook.test": 20.0,
    "wp.test": 15.0,
    "onet.test": 10.0,
    "yahoo.test": 5.0,
    "mail.test": 10.0,
}
"""Domains of addresses by weight, where a file names none: a plausible mix for a shop in Poland, no measurement."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file: its keys are all there are."""


class Span(Part, frozen=True, kw_only=True):
    """A delay as measured: shares of all delays, rising from 0 to 1, with their durations."""

    quantiles: Annotated[tuple[tuple[Share, Duration], ...], Meta(min_length=2, max_length=1000)]


Hours = (
    Literal["shopping", "office", "any"]
    | Annotated[
        tuple[Annotated[float, Meta(ge=0.0, le=1e9)], ...], Meta(min_length=24, max_length=24)
    ]
)
"""When in the contact's own day: a named pattern, or 24 weights."""


class Happening(Part, frozen=True, kw_only=True):
    """What a `share` of contacts does of itself, `times` on average (at least once, geometric), evenly over the days.

    A *burst*: with the chance `again` the event comes once more, `gap` later on average, with the same new ids.
    `at` is the one moment for all, such as a sale that begins.
    """

    event: _Name
    share: Share = 1.0
    times: Annotated[float, Meta(ge=1.0, le=1000.0)] = 1.0
    hours: Hours = "shopping"
    at: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2} \d{1,2}:\d{2}$")] | None = None
    again: Annotated[float, Meta(ge=0.0, le=0.99)] = 0.0
    gap: Duration = "10m"
    data: dict[_Name, Any] = {}


class Following(Part, frozen=True, kw_only=True):
    """What comes after something: `event NAME`, `notify CHANNEL`, `webhook STEP` (taken), `mail STEP` (`mail *`: any).

    `once` names what it comes about once for, such as a cart: of several on their way only the first to come counts.
    """

    after: Annotated[str, Meta(pattern=r"^(event|notify|webhook|mail) \S.*$", max_length=220)]
    event: _Name
    chance: Share = 1.0
    delay: Duration | Span = "0s"
    once: str = ""
    data: dict[_Name, Any] = {}


class Answers(Part, frozen=True, kw_only=True):
    """How mail of one step is answered; what isn't said is as for all mail."""

    opened: Share | None = None
    clicked: Share | None = None
    complained: Share | None = None
    unsubscribed: Share | None = None


class MailAnswers(Part, frozen=True, kw_only=True):
    """How mail is answered: `opened` of what was delivered, `clicked` and `unsubscribed` of what was opened.

    `complained` is of what was delivered; `bounced` of contacts: their address doesn't exist.
    """

    opened: Share = 0.35
    opened_after: Duration | Span = "4h"
    clicked: Share = 0.10
    clicked_after: Duration | Span = "2m"
    complained: Share = 0.0005
    unsubscribed: Share = 0.004
    bounced: Share = 0.005
    steps: dict[_Name, Answers] = {}


class CallAnswers(Part, frozen=True, kw_only=True):
    """How calls of one `webhook` step are answered: `taken`; `refused` of those that aren't; the rest not at all."""

    taken: Share = 1.0
    refused: Share = 0.0
    delay: Duration | Span = "0s"
    data: dict[_Name, Any] = {}


class Called(CallAnswers, frozen=True, kw_only=True):
    """How all calls are answered, and apart those of steps that differ; then nothing of the first holds."""

    steps: dict[_Name, CallAnswers] = {}


class People(Part, frozen=True, kw_only=True):
    """Who the contacts are. `domains` are those of their addresses, by weight; `consents` shares by topic."""

    domains: Annotated[dict[_Name, Weight], Meta(min_length=1, max_length=1000)] = msgspec.field(
        default_factory=lambda: dict(DOMAINS)
    )
    consents: dict[_Name, Share] = {}
    attributes: dict[_Name, Any] = {}


class GivenCap(Part, frozen=True, kw_only=True):
    """A frequency cap, as in test files."""

    limit: Annotated[int, Meta(ge=0, le=100_000)]
    name: str = "cap"
    window: Duration | None = None
    period: Literal["", "day", "week", "month"] = ""
    streams: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class GivenQuiet(Part, frozen=True, kw_only=True, rename={"begin": "from", "end": "to"}):
    """Quiet hours, as in test files."""

    begin: _Minute
    end: _Minute


class GivenSettings(Part, frozen=True, kw_only=True):
    """What the tenant has decided, as in test files."""

    zone: str = "UTC"
    caps: tuple[GivenCap, ...] = ()
    quiet_hours: GivenQuiet | None = None


class Behaviour(Part, frozen=True, kw_only=True):
    """A behaviour file: from midnight UTC of `begins`, contacts act for `days`; what is due later still ends."""

    behaviour: str = ""
    begins: _Date = "2026-03-02"
    days: Annotated[int, Meta(ge=1, le=3660)] = 30
    settings: GivenSettings = GivenSettings()
    contacts: People = People()
    happens: tuple[Happening, ...] = ()
    follows: tuple[Following, ...] = ()
    mail: MailAnswers = MailAnswers()
    webhooks: Called = Called()
