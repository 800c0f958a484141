"""Warm-up in use: which source is being warmed up at which provider, and what is left of today. Pure.

`warmup.plan` decides from one day to the next; here days turn (UTC), messages are counted as they are given out, and
what must outlive a restart is told. Counting is written down ahead: `Kept.spoken` is never less than what was given, so
after a crash a day's volume is used up rather than passed.
"""

from __future__ import annotations

__all__ = ("KeptWarmup", "Warming", "WarmingView", "WarmupPlan", "plan_of")

from fnmatch import fnmatchcase

import msgspec

from deliverability.warmup.plan import (
    DayReport,
    WarmupOptions,
    WarmupPhase,
    WarmupState,
    begin_warmup,
    next_day,
)

DAY_MS = 86_400_000
_DAYS_CAUGHT_UP = 400


class WarmupPlan(msgspec.Struct, frozen=True):
    """A source that is new to some providers (a pattern of their names)."""

    source: str
    provider: str = "*"
    options: WarmupOptions = WarmupOptions()


class KeptWarmup(msgspec.Struct, frozen=True):
    """What is written down of one source and provider: `day` is the number of the UTC day since the epoch."""

    state: WarmupState
    day: int
    spoken: int
    complaints: int = 0
    deferrals: int = 0
    blocks: int = 0
    stopped: bool = False


class WarmingView(msgspec.Struct, frozen=True):
    """Where a warm-up stands, for people."""

    phase: str
    day: int
    volume: int
    used: int
    reason: str


class Warming:
    """One source at one provider.

    Args:
        options: the plan.
        now_ms: when this begins.
        kept: what a former life wrote down.
        share: this many share the volume of a day.
    """

    def __init__(
        self, options: WarmupOptions, now_ms: int, kept: KeptWarmup | None = None, share: int = 1
    ) -> None:
        self._options = options
        self._share = share
        self.state = kept.state if kept is not None else begin_warmup(options)
        self._day = kept.day if kept is not None else now_ms // DAY_MS
        self._used = kept.spoken if kept is not None else 0
        self._spoken = self._used
        self._report = DayReport(0)
        if kept is not None:
            self._report = DayReport(0, kept.complaints, kept.deferrals, kept.blocks, kept.stopped)
        self.changed = False
        """Whether something must be written down before more is given."""

    def room(self, now_ms: int) -> int:
        """Return how many more messages may go today, as far as that is written down."""
        self._turn(now_ms)
        if self.state.phase is WarmupPhase.WARM:
            return 1 << 30
        left = max(self.state.volume // self._share, 1) - self._used
        if left > 0 and self._spoken - self._used < min(left, self._step()):
            self._spoken = self._used + min(left, 2 * self._step())
            self.changed = True
        return max(min(left, self._spoken - self._used), 0)

    def took(self, number: int) -> None:
        """Count messages that were given out; negative: given back."""
        self._used = max(self._used + number, 0)

    def heard(self, *, deferred: int = 0, blocked: int = 0, stopped: bool = False) -> None:
        """Count what the provider thinks of it."""
        report = self._report
        self._report = DayReport(
            0,
            report.complaints,
            report.deferrals + deferred,
            report.blocks + blocked,
            report.stopped or stopped,
        )

    def complained(self, number: int) -> None:
        """Count complaints of today."""
        report = self._report
        self._report = msgspec.structs.replace(report, complaints=report.complaints + number)
        self.changed = True

    def until_tomorrow_ms(self, now_ms: int) -> int:
        """Return how long today lasts."""
        return DAY_MS - now_ms % DAY_MS

    def kept(self) -> KeptWarmup:
        """Return what is to be written down."""
        one = self._report
        return KeptWarmup(
            self.state,
            self._day,
            max(self._spoken, self._used),
            one.complaints,
            one.deferrals,
            one.blocks,
            one.stopped,
        )

    def view(self, now_ms: int) -> WarmingView:
        """Tell where it stands."""
        self._turn(now_ms)
        state = self.state
        return WarmingView(state.phase.value, state.day, state.volume, self._used, state.reason)

    def _step(self) -> int:
        """How much is written down ahead: what a crash may cost of a day."""
        return max(self.state.volume // self._share // 50, 5)

    def _turn(self, now_ms: int) -> None:
        """Let days go by; what was given today is the report of today."""
        today = now_ms // DAY_MS
        for _ in range(min(today - self._day, _DAYS_CAUGHT_UP)):
            if self.state.phase is WarmupPhase.WARM:
                break  # the plan has come to its end
            report = msgspec.structs.replace(self._report, sent=self._used * self._share)
            self.state = next_day(self.state, report, self._options)
            self._used = self._spoken = 0
            self._report = DayReport(0)
            self.changed = True
        self._day = max(self._day, today)


def plan_of(plans: tuple[WarmupPlan, ...], source: str, provider: str) -> WarmupPlan | None:
    """Find the plan of a source at a provider, the first that fits."""
    return next(
        (one for one in plans if one.source == source and fnmatchcase(provider, one.provider)),
        None,
    )
