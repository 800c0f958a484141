"""The model of a scenario: what a file means, without its form. Frozen; its content hash is its version.

Expressions are kept as text, durations in ms, times of day in minutes. Every step but `end` has an
id that stays the same when the file is edited: a journey stands at an id, and a message's id
contains it.
"""

from __future__ import annotations

__all__ = (
    "CALL_MS",
    "COUPON_MS",
    "WITHIN_MS",
    "Calendar",
    "Case",
    "Coupon",
    "Deciding",
    "End",
    "Entry",
    "ForEach",
    "If",
    "Notify",
    "Products",
    "Reentry",
    "Repeat",
    "Scenario",
    "Score",
    "Send",
    "Split",
    "Standing",
    "Start",
    "Step",
    "Stop",
    "Switch",
    "Tag",
    "Update",
    "Variant",
    "Wait",
    "WaitFor",
    "Waiter",
    "Watch",
    "Webhook",
    "branches",
    "walk",
)

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

Reentry = Literal["never", "always", "restart"]


class _Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """Defaults are left out of the hash, so that a new key doesn't change the version of old files."""


class Entry(_Part, frozen=True):
    """What opens a journey, and the condition that must hold ("" for none).

    It is one of: an `event`; a condition that comes true (`becomes`); a `segment` that the contact enters (or leaves);
    a `date` of the contact (an expression), shifted by days, at a minute of day, once or every year; a `schedule`
    (cron, in `zone`) over all contacts or a segment's; a call of the API or a list (`source`).
    """

    event: str = ""
    when: str = ""
    becomes: str = ""
    segment: str = ""
    leaves: bool = False
    date: str = ""
    offset_days: int = 0
    at_minute: int = -1
    yearly: bool = False
    schedule: str = ""
    zone: str = ""
    source: Literal["", "api", "list"] = ""


class Watch(_Part, frozen=True):
    """What ends a journey wherever it stands: an event, a condition ("" for none), or both."""

    name: str
    event: str = ""
    when: str = ""
    goal: bool = False


class Calendar(_Part, frozen=True):
    """A wait by wall time in the contact's zone (`zone` "": the contact's own).

    It begins at `date` (an expression) plus `offset_days`, or else now; then it goes on to the first
    moment on one of `days` (0 is Monday) within [`from_minute`, `to_minute`), or at `at_minute`, that is
    no public holiday of the place `holidays` ("" for none). With `best_hour` it is the hour at which the contact reads
    most; `at_minute` is for one of whom that isn't known.
    """

    date: str = ""
    offset_days: int = 0
    at_minute: int = -1
    days: tuple[int, ...] = ()
    from_minute: int = -1
    to_minute: int = -1
    zone: str = ""
    past: Literal["go-on", "end"] = "go-on"
    holidays: str = ""
    best_hour: bool = False


class Wait(_Part, frozen=True, tag="wait"):
    """Wait an elapsed time, counted from when the journey reached the step, then by the calendar."""

    id: str
    duration_ms: int = 0
    calendar: Calendar | None = None


class Waiter(_Part, frozen=True):
    """One event that a `wait_for` waits for; `caught` names it under `journey`."""

    event: str
    when: str = ""
    caught: str = ""
    then: tuple[Step, ...] = ()


class WaitFor(_Part, frozen=True, tag="wait_for"):
    """Wait for one of several events; the first that fits, or the time-out (0: none), decides.

    `look_back_ms`: events that came before the step count too, 0: none, -1: since the journey opened.
    """

    id: str
    waiters: tuple[Waiter, ...]
    timeout_ms: int = 0
    otherwise: tuple[Step, ...] = ()
    look_back_ms: int = 0


class If(_Part, frozen=True, tag="if"):
    """Go one of two ways; a condition that has no value counts as not fulfilled."""

    id: str
    condition: str
    then: tuple[Step, ...] = ()
    otherwise: tuple[Step, ...] = ()


class Case(_Part, frozen=True):
    """One way of a `switch`."""

    when: str
    then: tuple[Step, ...] = ()


class Switch(_Part, frozen=True, tag="switch"):
    """Go the way of the first case that holds."""

    id: str
    cases: tuple[Case, ...]
    otherwise: tuple[Step, ...] = ()


class Variant(_Part, frozen=True):
    """One way of a `split`."""

    name: str
    weight: int = 1
    then: tuple[Step, ...] = ()


class Deciding(_Part, frozen=True):
    """How an experiment is decided, and its guard rails. Shares are percent; 0: no such rail.

    `fixed`: once, when each variant has the contacts that finding `effect` over `baseline` takes, with this power
    and confidence. `thompson`: the better get more, until one is best with this confidence; each has `least` first.
    """

    method: Literal["fixed", "thompson"] = "fixed"
    baseline: float = 0.0
    effect: float = 0.0
    power: float = 80.0
    confidence: float = 95.0
    least: int = 100
    complaints: float = 0.0
    unsubscribes: float = 0.0
    guard_after: int = 200


WITHIN_MS: Final = 14 * 86_400_000
"""How long after its assignment what a contact does counts for an experiment, unless it says."""


class Split(_Part, frozen=True, tag="split"):
    """Go a way by weights; the same contact goes the same way whenever the salt is the same.

    `salt` "" is the scenario's name and the step's id. An experiment is measured by the event `metric`, within a time
    of the assignment; `holdout` names the variant that stays what it is when there is a winner.
    """

    id: str
    variants: tuple[Variant, ...]
    salt: str = ""
    experiment: bool = False
    metric: str = ""
    within_ms: int = WITHIN_MS
    holdout: str = ""
    deciding: Deciding | None = None


class ForEach(_Part, frozen=True, tag="for_each"):
    """Take the steps once for each item of a list; `variable` is its name under `journey`."""

    id: str
    items: str
    variable: str
    steps: tuple[Step, ...]
    limit: int = 20


class Repeat(_Part, frozen=True, tag="repeat"):
    """Take the steps several times, as long as a condition ("" for none) holds."""

    id: str
    times: int
    steps: tuple[Step, ...]
    condition: str = ""


class Send(_Part, frozen=True, tag="send"):
    """Send a message. `expires_ms` counts from when it was due (0: the stream's default)."""

    id: str
    template: str
    stream: str = "marketing"
    topic: str = ""
    message_class: int = 2
    expires_ms: int = 0
    late_ms: int = 0  # later than this it is skipped; 0: never too late
    capped: Literal["skip", "wait", "leave"] = "skip"
    no_consent: Literal["skip", "leave"] = "skip"


class Update(_Part, frozen=True, tag="update"):
    """Set attributes; a text that begins with `=` is an expression, None removes."""

    id: str
    attributes: dict[str, Any]


class Score(_Part, frozen=True, tag="score"):
    """Add points to a score, which halves every `half_life_ms` (0: never)."""

    id: str
    name: str
    add: int
    half_life_ms: int = 0


class Tag(_Part, frozen=True, tag="tag"):
    """Put tags on the contact, and take tags off."""

    id: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class Start(_Part, frozen=True, tag="start"):
    """Open a journey in another scenario, with the data of the opening event."""

    id: str
    scenario: str


class Stop(_Part, frozen=True, tag="stop"):
    """End the contact's journeys in another scenario."""

    id: str
    scenario: str


class Notify(_Part, frozen=True, tag="notify"):
    """Put an entry on the feed `notify.CHANNEL`, for whoever reads it."""

    id: str
    channel: str
    text: str = ""


CALL_MS: Final = 86_400_000
"""How long a call is tried, unless it says."""


class Webhook(_Part, frozen=True, tag="webhook"):
    """Post to an endpoint of the tenant's configuration, and wait for the answer.

    `data`: as attributes of `Update`. `caught` names the answer under `journey`, of which the fields `keep` are kept.
    """

    id: str
    endpoint: str
    data: dict[str, Any] = {}
    caught: str = ""
    keep: tuple[str, ...] = ()
    timeout_ms: int = CALL_MS
    otherwise: tuple[Step, ...] = ()


COUPON_MS: Final = 3_600_000
"""How long a pool may take to answer, unless the step says."""


class Coupon(_Part, frozen=True, tag="coupon"):
    """Take a code from a pool, and wait for it; `caught` names it under `journey`."""

    id: str
    pool: str
    caught: str = "coupon"
    timeout_ms: int = COUPON_MS
    otherwise: tuple[Step, ...] = ()


class Products(_Part, frozen=True, tag="products"):
    """Look rows up in a list of products by an expression; `caught` names them under `journey`."""

    id: str
    source: str
    keys: str
    caught: str = "products"
    limit: int = 6
    instead: tuple[str, ...] = ()
    otherwise: tuple[Step, ...] = ()


class End(_Part, frozen=True, tag="end"):
    """End the journey, with a reason for the record."""

    reason: str = ""


Standing = Wait | WaitFor | Webhook | Coupon
"""The steps at which a journey stands."""

Step = (
    Wait
    | WaitFor
    | If
    | Switch
    | Split
    | ForEach
    | Repeat
    | Send
    | Update
    | Score
    | Tag
    | Start
    | Stop
    | Notify
    | Webhook
    | Coupon
    | Products
    | End
)


class Scenario(_Part, frozen=True):
    """A scenario. `version` is the hash of all else.

    `reentry_after_ms` > 0: again only when the last journey opened so long ago. `key` (an expression
    over the opening event): one journey for each value. Of one `group` a contact is in one scenario
    at a time; a higher `priority` displaces a lower one.
    """

    name: str
    entries: tuple[Entry, ...]
    steps: tuple[Step, ...]
    reentry: Reentry = "never"
    reentry_after_ms: int = 0
    key: str = ""
    watches: tuple[Watch, ...] = ()
    priority: int = 0
    group: str = ""
    description: str = ""
    version: str = ""

    def with_version(self) -> Scenario:
        """Give the same scenario with its version: 16 hex digits over its meaning.

        Layout, comments and description don't change it.
        """
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
    match step:
        case If(then=then, otherwise=otherwise):
            return (then, otherwise)
        case WaitFor(waiters=waiters, otherwise=otherwise):
            return (*(waiter.then for waiter in waiters), otherwise)
        case (
            Webhook(otherwise=otherwise)
            | Coupon(otherwise=otherwise)
            | Products(otherwise=otherwise)
        ):
            return (otherwise,)
        case Switch(cases=cases, otherwise=otherwise):
            return (*(case.then for case in cases), otherwise)
        case Split(variants=variants):
            return tuple(variant.then for variant in variants)
        case ForEach(steps=steps) | Repeat(steps=steps):
            return (steps,)
        case _:
            return ()
