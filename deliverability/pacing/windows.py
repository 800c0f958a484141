"""Quotas of unknown size over windows of unknown length: which of them still explain all that was seen.

A hypothesis is a window: a length, and how it is laid (rolling; by the clock; or opening with the first message after
the last one closed). Each acceptance proves that its quota is at least the count in the window then (`low`), each
confirmed deferral that it is at most that count (`high`). A hypothesis with `low` above `high` is refuted. The first
deferral leaves most of them; the time at which mail is accepted again refutes nearly all others, since at that moment
the true window's count must have fallen. When none is left, the limit has changed or isn't of this kind, and only the
evidence of the last pause is kept.

Counts are kept in bins of ten seconds for 25 hours: 9,000 numbers a lane.
"""

from __future__ import annotations

__all__ = ("Hypothesis", "Laid", "WindowEstimate", "WindowEstimator")

import enum

import msgspec

_BIN_MS = 10_000
_BINS = 9_001
_MINUTE = 60_000
_LENGTHS_MS = tuple(
    minutes * _MINUTE
    for minutes in (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1440)
)


class Laid(enum.Enum):
    """How windows lie in time."""

    ROLLING = "rolling"
    CLOCK = "by the clock"
    OPENED = "from the first message"


class Hypothesis(msgspec.Struct, frozen=True):
    """A window that a provider may count in."""

    laid: Laid
    length_ms: int


class WindowEstimate(msgspec.Struct, frozen=True):
    """A hypothesis that explains the evidence: at least `low`, at most `high` in each window."""

    hypothesis: Hypothesis
    low: int
    high: int

    @property
    def per_hour(self) -> float:
        """The rate that just keeps within the quota."""
        return self.high * 3_600_000 / self.hypothesis.length_ms


class _Evidence:
    """What is known for one hypothesis."""

    __slots__ = ("high", "hypothesis", "low", "opened_bin", "recent_high")

    def __init__(self, hypothesis: Hypothesis) -> None:
        self.hypothesis = hypothesis
        self.low = 0
        self.high: int | None = None
        self.recent_high: int | None = None  # of the present pause alone
        self.opened_bin = -1

    def refuted(self) -> bool:
        return self.high is not None and self.low > self.high + 1


class WindowEstimator:
    """Evidence for all hypotheses of one lane."""

    def __init__(self) -> None:
        self._evidence = [
            _Evidence(Hypothesis(laid, length)) for laid in Laid for length in _LENGTHS_MS
        ]
        self._total = 0  # accepted ever
        self._bin = -1  # the present bin
        self._first_bin = -1
        self._before: list[int] = [0] * _BINS  # total at the begin of each bin, by bin modulo _BINS

    def accepted(self, now_ms: int) -> None:
        """Count an accepted message. O(1), and once in ten seconds O(hypotheses)."""
        self._move_to(now_ms // _BIN_MS)
        self._total += 1

    def deferred(self, now_ms: int, *, begins: bool) -> None:
        """Note a confirmed deferral for rate: each quota is at most what its window holds now.

        `begins` tells the first one of a pause from those of its probes.
        """
        self._move_to(now_ms // _BIN_MS)
        self._note_low()
        for each in self._evidence:
            count = self._count(each, wider_bins=1)  # bins are cut so that both bounds stay true
            each.high = count if each.high is None else min(each.high, count)
            recent = None if begins else each.recent_high
            each.recent_high = count if recent is None else min(recent, count)

    def resumed(self, now_ms: int) -> None:
        """Note that mail is accepted again after a deferral: this refutes most hypotheses."""
        self._move_to(now_ms // _BIN_MS)
        self._note_low()
        if all(each.refuted() for each in self._evidence if each.high is not None):
            self._begin_anew()

    def estimates(self) -> list[WindowEstimate]:
        """Return what still explains the evidence, the fastest first; empty without any deferral."""
        found = [
            WindowEstimate(each.hypothesis, each.low, each.high)
            for each in self._evidence
            if each.high is not None and each.high > 0 and not each.refuted()
        ]
        return sorted(found, key=lambda each: -each.per_hour)

    def count_in(self, now_ms: int, length_ms: int) -> int:
        """Return how many were accepted in the last `length_ms` before a moment, now or earlier (to a bin)."""
        at_bin = now_ms // _BIN_MS
        self._move_to(at_bin)
        return self._total_before(at_bin + 1) - self._total_before(
            at_bin - length_ms // _BIN_MS + 1
        )

    def is_refuted(self, estimate: WindowEstimate) -> bool:
        """Tell whether what was seen since contradicts an estimate."""
        return self._of(estimate).refuted()

    def _of(self, estimate: WindowEstimate) -> _Evidence:
        return next(each for each in self._evidence if each.hypothesis == estimate.hypothesis)

    def full_for_ms(self, estimate: WindowEstimate, now_ms: int) -> int:
        """Return how long the window of an estimate stays full; 0 if there is room now."""
        self._move_to(now_ms // _BIN_MS)
        each = self._of(estimate)
        if self._count(each) < estimate.high:
            return 0
        return max(1, self._reopens_at_bin(each, estimate.high) * _BIN_MS - now_ms)

    def reopens_ms(self) -> int | None:
        """Return the next moment at which some window that explains the evidence should let mail in again."""
        moments = []
        for each in self._evidence:
            if each.high is None or each.high <= 0 or each.refuted():
                continue
            at_bin = self._reopens_at_bin(each, each.high)
            if at_bin > self._bin:
                moments.append(at_bin * _BIN_MS + 1_000)
        return min(moments, default=None)

    def _reopens_at_bin(self, each: _Evidence, high: int) -> int:
        bins = each.hypothesis.length_ms // _BIN_MS
        match each.hypothesis.laid:
            case Laid.CLOCK:
                return (self._bin // bins + 1) * bins
            case Laid.OPENED:
                return each.opened_bin + bins
            case Laid.ROLLING:
                return self._rolling_reopens(bins, high)

    def _rolling_reopens(self, bins: int, high: int) -> int:
        """Find the bin in which the oldest of `high` messages has left the window."""
        target = self._total - high  # leaves the window when total_before(bin - bins + 1) > target
        low, top = max(self._bin - bins, self._first_bin), self._bin + 1
        while low < top:
            middle = (low + top) // 2
            if self._total_before(middle) > target:
                top = middle
            else:
                low = middle + 1
        return low + bins

    def _move_to(self, now_bin: int) -> None:
        if self._bin < 0:
            self._bin = self._first_bin = now_bin
            self._before[now_bin % _BINS] = 0
        if now_bin <= self._bin:
            return
        if self._total > self._total_before(self._bin):
            self._note_low()
        for each in range(max(self._bin + 1, now_bin - _BINS + 1), now_bin + 1):
            self._before[each % _BINS] = self._total
        self._bin = now_bin

    def _total_before(self, at_bin: int) -> int:
        """Return what had been accepted before a bin began."""
        if at_bin <= self._first_bin:
            return 0
        if at_bin > self._bin:
            return self._total
        return self._before[max(at_bin, self._bin - _BINS + 1) % _BINS]

    def _count(self, each: _Evidence, wider_bins: int = 0) -> int:
        bins = each.hypothesis.length_ms // _BIN_MS
        match each.hypothesis.laid:
            case Laid.ROLLING:
                begin = self._bin - bins + 1 - wider_bins
            case Laid.CLOCK:
                begin = self._bin // bins * bins
            case Laid.OPENED:
                if each.opened_bin < 0 or self._bin >= each.opened_bin + bins:
                    each.opened_bin = self._bin
                begin = each.opened_bin
        return self._total - self._total_before(begin)

    def _note_low(self) -> None:
        for each in self._evidence:
            count = self._count(each)
            each.low = max(each.low, count)

    def _begin_anew(self) -> None:
        """The limit has changed: believe only this pause and what the windows hold now."""
        for each in self._evidence:
            each.low, each.high = self._count(each), each.recent_high
