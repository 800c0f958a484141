"""`RunReport`: all that is worth telling about one run, as data.

The page is made of it, and it is written beside the page as JSON.
Counts of messages come from the counters of the conservation law; the page checks that they add up
and says so. Times named `log_…` are log time, in ms since the epoch, UTC; durations of connections
and deliveries are wall time.
"""

from __future__ import annotations

__all__ = (
    "Balance",
    "FunnelStep",
    "Histogram",
    "InputSummary",
    "ProviderResult",
    "RunReport",
    "SampleMail",
    "ScenarioFunnel",
    "SlowMessage",
    "TimelinePoint",
)

from typing import Literal

import msgspec

StepKind = Literal["entry", "send", "wait", "wait_for", "webhook", "if", "update", "end"]


class InputSummary(msgspec.Struct, frozen=True):
    """The event log that went in. `digest` is the file's BLAKE2b in hexadecimal, "" for a generated log."""

    name: str
    digest: str
    rows: int
    contacts: int
    first_ms: int
    last_ms: int
    events: dict[str, int] = {}  # by event name


class Balance(msgspec.Struct, frozen=True):
    """The conservation law over the whole run: each accepted message is in exactly one of the other counts."""

    accepted: int
    delivered: int = 0
    bounced: int = 0
    expired: int = 0
    suppressed: int = 0
    cancelled: int = 0
    skipped: dict[str, int] = {}  # by reason
    erased: int = 0
    quarantined: int = 0
    in_doubt: int = 0
    queued: int = 0

    def parts(self) -> list[tuple[str, int]]:
        """Give the right side of the equation, in the law's order."""
        return [
            ("delivered", self.delivered),
            ("bounced", self.bounced),
            ("expired", self.expired),
            ("suppressed", self.suppressed),
            ("cancelled", self.cancelled),
            ("skipped", sum(self.skipped.values())),
            ("erased", self.erased),
            ("quarantined", self.quarantined),
            ("in doubt", self.in_doubt),
            ("queued", self.queued),
        ]

    @property
    def missing(self) -> int:
        """Messages accepted that are in no bucket (negative: in two); 0 when the law holds."""
        return self.accepted - sum(number for _, number in self.parts())


class TimelinePoint(msgspec.Struct, frozen=True):
    """Messages by state at a moment of log time; the same states in each point."""

    log_ms: int
    states: dict[str, int]


class ProviderResult(msgspec.Struct, frozen=True):
    """What one provider did with our attempts.

    Each attempt is delivered, deferred, bounced, ended by a lost connection (`disconnects`), or
    `unanswered` when our worker died. `deferrals` are the deferred by cause; times are wall ms of
    accepted attempts.
    """

    name: str
    messages: int
    attempts: int
    delivered: int
    deferred: int
    bounced: int
    disconnects: int = 0
    unanswered: int = 0
    deferrals: dict[str, int] = {}
    accept_ms_median: float | None = None
    accept_ms_p99: float | None = None

    @property
    def outcomes(self) -> int:
        """Attempts by what became of them, added up."""
        return self.delivered + self.deferred + self.bounced + self.disconnects + self.unanswered


class FunnelStep(msgspec.Struct, frozen=True):
    """One step of a scenario, in reading order. `sent` and `delivered` are of `send` steps only."""

    step: str
    kind: StepKind
    reached: int
    sent: int = 0
    delivered: int = 0


class ScenarioFunnel(msgspec.Struct, frozen=True):
    """How far the journeys of one scenario came."""

    scenario: str
    version: str
    opened: int
    ended: int
    waiting: int
    steps: list[FunnelStep] = []


class Histogram(msgspec.Struct, frozen=True):
    """Counts between rising bounds: counts[i] lies in (bounds[i-1], bounds[i]]; the last count is above all bounds."""

    unit: Literal["ms", "s"]
    bounds: list[float]
    counts: list[int]
    median: float
    p99: float
    maximum: float


class SlowMessage(msgspec.Struct, frozen=True):
    """One of the messages that took longest from due to accepted, in log time."""

    message_id: str
    scenario: str
    step: str
    provider: str
    attempts: int
    due_ms: int
    delivered_ms: int
    causes: list[str] = []


class SampleMail(msgspec.Struct, frozen=True):
    """One mail as the twin accepted it. `signatures` has a line for each: domain, algorithm and verdict."""

    message_id: str
    scenario: str
    step: str
    log_ms: int
    sender: str
    recipient: str
    subject: str
    html: str
    text: str
    headers: list[tuple[str, str]] = []
    signatures: list[str] = []


class RunReport(msgspec.Struct, frozen=True):
    """One run.

    `attempts` counts messages that ended by the number of attempts they took; `duplicates` mails
    that arrived again; `in_the_air_max` the most messages that could be in doubt at a time; `kills`
    workers killed on the way. `machine`, `versions` and `settings` are shown as they are.
    """

    title: str
    started_ms: int
    wall_s: float
    mode: str
    log_end_ms: int
    input: InputSummary
    balance: Balance
    timeline: list[TimelinePoint] = []
    providers: list[ProviderResult] = []
    attempts: dict[int, int] = {}
    funnels: list[ScenarioFunnel] = []
    accept_latency: Histogram | None = None  # wall time from hand-over to the reply to the last dot
    due_delay: Histogram | None = None  # log time from due to accepted
    slowest: list[SlowMessage] = []
    samples: list[SampleMail] = []
    duplicates: int = 0
    in_the_air_max: int = 0
    kills: int = 0
    machine: dict[str, str] = {}
    versions: dict[str, str] = {}
    settings: dict[str, str] = {}
    notes: list[str] = []

    def contradictions(self) -> list[str]:
        """Compare what was counted in two places; each sentence names two numbers that differ and shouldn't."""
        law, providers = self.balance, self.providers
        found: list[str] = []
        if self.input.events:
            found += _differ("rows", self.input.rows, "events", sum(self.input.events.values()))
        for one in providers:
            found += _differ(
                f"attempts at {one.name}", one.attempts, "their outcomes", one.outcomes
            )
        if providers:
            delivered = sum(one.delivered for one in providers)
            bounced = sum(one.bounced for one in providers)
            found += _differ("delivered", law.delivered, "delivered by providers", delivered)
            found += _differ("bounced", law.bounced, "bounced by providers", bounced)
        if providers and self.attempts and not law.queued:
            made = sum(one.attempts for one in providers)
            counted = sum(times * number for times, number in self.attempts.items())
            found += _differ("attempts by provider", made, "attempts by message", counted)
        return found


def _differ(name: str, number: int, other_name: str, other: int) -> list[str]:
    return [] if number == other else [f"{name} {number:,}, {other_name} {other:,}"]
