"""The warm-up of one source at one provider: a volume for each day, decided from the day before.

The volume grows by a factor a day as long as it was used and was received well. It is *held* (the same volume again)
on too many complaints or deferrals, and *cut* to half, with some days of rest for the growth, on blocks and on
Google's 4.7.28. Then it goes on. Law: a day's volume is never twice the volume of the day before it or more, counting
what was really sent; Google advises against sudden doubling (81126).
"""

from __future__ import annotations

__all__ = (
    "DayReport",
    "WarmupDay",
    "WarmupOptions",
    "WarmupPhase",
    "WarmupState",
    "begin_warmup",
    "forecast",
    "next_day",
)

import enum

import msgspec

MESSAGES_TO_JUDGE = 50  # below this a ratio says nothing


class WarmupOptions(msgspec.Struct, frozen=True):
    """What is aimed at. Ratios in parts per 10,000.

    Defaults: 50 messages on the first day, four tenths more each day, held at 10 complaints in 10,000 (Google's target
    of 0.1 %), cut at 30 (its ceiling of 0.3 %).
    """

    first_day: int = 50
    goal_per_day: int = 50_000
    growth_percent: int = 140
    hold_complaints: int = 10
    cut_complaints: int = 30
    hold_deferrals: int = 1_000
    cut_blocks: int = 100
    rest_days: int = 3


class WarmupPhase(enum.Enum):
    """What the plan is doing."""

    GROWING = "growing"
    HELD = "held"
    RESTING = "resting"
    WARM = "warm"


class DayReport(msgspec.Struct, frozen=True):
    """What happened on one day with one source at one provider."""

    sent: int
    complaints: int = 0
    deferrals: int = 0
    blocks: int = 0
    stopped: bool = False  # Google's 4.7.28, or a reply that stops a source


class WarmupState(msgspec.Struct, frozen=True):
    """Where the warm-up is: today's volume, and why."""

    phase: WarmupPhase
    day: int
    volume: int
    rest_left: int = 0
    reason: str = "begin"


class WarmupDay(msgspec.Struct, frozen=True):
    """One line of a plan, for people."""

    day: int
    volume: int


def begin_warmup(options: WarmupOptions) -> WarmupState:
    """Return the first day."""
    volume = min(options.first_day, options.goal_per_day)
    return WarmupState(WarmupPhase.GROWING, 1, volume)


def next_day(state: WarmupState, report: DayReport, options: WarmupOptions) -> WarmupState:
    """Decide the next day from what today brought. Total: every state has an answer to every report."""
    day = state.day + 1
    trouble = _trouble(report, options)
    if trouble:
        volume = max(1, min(state.volume, report.sent or state.volume) // 2)
        return WarmupState(WarmupPhase.RESTING, day, volume, options.rest_days, trouble)
    worry = _worry(report, options)
    if worry:
        return WarmupState(WarmupPhase.HELD, day, state.volume, state.rest_left, worry)
    if state.rest_left > 1:
        return WarmupState(
            WarmupPhase.RESTING, day, state.volume, state.rest_left - 1, state.reason
        )
    if report.sent * 2 < state.volume:
        return WarmupState(
            WarmupPhase.HELD, day, state.volume, 0, "less than half of the volume was used"
        )
    volume = _grown(state, report, options)
    if volume >= options.goal_per_day:
        return WarmupState(WarmupPhase.WARM, day, options.goal_per_day, 0, "goal reached")
    return WarmupState(WarmupPhase.GROWING, day, volume, 0, "received well")


def _grown(state: WarmupState, report: DayReport, options: WarmupOptions) -> int:
    """Grow by the factor, below twice of what was really sent, and never below today's volume."""
    used = min(report.sent, state.volume)
    wanted = max(state.volume + 1, used * options.growth_percent // 100)
    below_double = max(state.volume, 2 * used - 1)
    return min(wanted, below_double, options.goal_per_day)


def _trouble(report: DayReport, options: WarmupOptions) -> str:
    """Name what cuts the volume, or nothing."""
    if report.stopped:
        return "the provider stopped the source"
    if _ratio(report.complaints, report.sent) >= options.cut_complaints:
        return f"{report.complaints} complaints of {report.sent}"
    if _ratio(report.blocks, report.sent) >= options.cut_blocks:
        return f"{report.blocks} blocked of {report.sent}"
    return ""


def _worry(report: DayReport, options: WarmupOptions) -> str:
    """Name what holds the volume, or nothing."""
    if _ratio(report.complaints, report.sent) >= options.hold_complaints:
        return f"{report.complaints} complaints of {report.sent}"
    if _ratio(report.deferrals, report.sent) >= options.hold_deferrals:
        return f"{report.deferrals} deferrals for {report.sent} messages"
    return ""


def _ratio(count: int, sent: int) -> int:
    """Return parts per 10,000, or 0 where too little was sent to judge (unless it is much all the same)."""
    if not count:
        return 0
    return count * 10_000 // max(sent, MESSAGES_TO_JUDGE, 1) if count > 1 or sent >= 1_000 else 0


def forecast(options: WarmupOptions, days_max: int = 366) -> tuple[WarmupDay, ...]:
    """Return the plan as it goes if all is used and received well."""
    state, plan = begin_warmup(options), []
    while state.day <= days_max:
        plan.append(WarmupDay(state.day, state.volume))
        if state.phase is WarmupPhase.WARM or state.volume >= options.goal_per_day:
            break
        state = next_day(state, DayReport(sent=state.volume), options)
    return tuple(plan)
