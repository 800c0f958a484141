"""Token buckets in whole numbers, with a law: never more than the quantity in any period.

An ordinary bucket of burst `b` that refills at `q` a period lets `q + b` pass in some period. This one refills at
`q - b + 1` a period, so that in *every* half-open window `[t, t + period)` at most `q` pass, whatever the order of
calls. The default burst is what belongs to one second (two at least if the quantity is 100 or
more, so that a call that comes late loses nothing), so that a limit of 50,000 a day is
spread over the day; KumoMTA's default, the whole quantity at once, is a trap for warm-up.
"""

from __future__ import annotations

__all__ = ("NEVER_MS", "Bucket")

NEVER_MS = 1 << 62
_SMOOTH_MS = 1_000


class Bucket:
    """A limit of `quantity` in each `period_ms`, of which `burst` may go at once.

    Args:
        quantity: how many in each period, 1 or more.
        period_ms: the period, 1 or more.
        burst: how many at once; `None` for a smooth one. At most `quantity`.
        largest: the largest amount that is ever taken at once (bytes of a message); the burst is at least that.
        full: whether the burst is there at the begin; not where a predecessor may have given it out.
    """

    __slots__ = ("_cap", "_level", "_now_ms", "_refill", "burst", "period_ms", "quantity")

    def __init__(
        self,
        quantity: int,
        period_ms: int,
        burst: int | None = None,
        largest: int = 1,
        *,
        full: bool = True,
    ) -> None:
        assert quantity >= 1
        assert period_ms >= 1
        smooth = max(2 if quantity >= 100 else 1, quantity * _SMOOTH_MS // period_ms)
        self.quantity = quantity
        self.period_ms = period_ms
        self.burst = min(quantity, max(largest, smooth if burst is None else burst))
        self._refill = quantity - self.burst + 1  # in units of 1/period_ms tokens, each millisecond
        self._cap = self.burst * period_ms
        self._level = self._cap if full else 0
        self._now_ms: int | None = None

    def wait_ms(self, now_ms: int, amount: int = 1) -> int:
        """Return how long to wait until `amount` can be taken: 0 for now, `NEVER_MS` if it is above the burst."""
        if amount > self.burst:
            return NEVER_MS
        missing = amount * self.period_ms - self._advanced(now_ms)
        if missing <= 0:
            return 0
        late = max(
            0, (self._now_ms or now_ms) - now_ms
        )  # a clock that went back waits that much more
        return late - (-missing // self._refill)

    def take(self, now_ms: int, amount: int = 1) -> bool:
        """Take `amount` if it is there; nothing is taken otherwise. A clock that went back gains nothing."""
        if self.wait_ms(now_ms, amount) != 0:
            return False
        self._level = self._advanced(now_ms) - amount * self.period_ms
        self._now_ms = max(now_ms, now_ms if self._now_ms is None else self._now_ms)
        return True

    def available(self, now_ms: int) -> int:
        """Return how much may be taken now."""
        if self._now_ms is not None and now_ms < self._now_ms:
            return 0
        return self._advanced(now_ms) // self.period_ms

    def give_back(self, amount: int = 1) -> None:
        """Return what was taken but not used (a credit that expired); never above the burst."""
        self._level = min(self._cap, self._level + amount * self.period_ms)

    def _advanced(self, now_ms: int) -> int:
        if self._now_ms is None:
            self._now_ms = now_ms
        return min(self._cap, self._level + max(0, now_ms - self._now_ms) * self._refill)
