"""A holder's wallet: what it may use now, by its own monotonic clock, whatever it hears or doesn't hear."""

from __future__ import annotations

__all__ = ("LeasedMeter", "Wallet")

from collections.abc import Mapping

from deliverability.leasing.terms import ASK_EVERY_MS, SAFE_MS, Answer, Ask, Need, Share

TOKEN = 60_000
NOTHING = Share()


class LeasedMeter:
    """A token bucket whose rate and size follow the lease; it begins empty, so that a move or a restart gives nothing.

    In 60,000ths of a token, as `deliverability.governor.RateMeter`.
    """

    __slots__ = ("_at", "_tokens", "burst", "per_minute")

    def __init__(self, now: int) -> None:
        self.per_minute = 0
        self.burst = 0
        self._tokens = 0
        self._at = now

    def change(self, per_minute: int, burst: int, now: int) -> None:
        """Go on with another rate and size; what was saved beyond the size is lost."""
        self._flow(now)
        self.per_minute, self.burst = per_minute, burst
        self._tokens = min(self._tokens, burst * TOKEN)

    def available(self, now: int) -> int:
        """Tell how many tokens there are."""
        self._flow(now)
        return max(self._tokens // TOKEN, 0)

    def take(self, number: int) -> None:
        """Use tokens that were available; if the lease ended since then, they are owed."""
        self._tokens -= number * TOKEN

    def give_back(self, number: int) -> None:
        """Return tokens that were taken and not used."""
        self._tokens = min(self._tokens + number * TOKEN, self.burst * TOKEN)

    def next_at(self, now: int) -> int | None:
        """Give the time at which there is a token; None: not at this rate."""
        self._flow(now)
        if self._tokens >= TOKEN:
            return now
        if self.per_minute <= 0 or self.burst <= 0:
            return None
        return self._at - (-(TOKEN - self._tokens) // self.per_minute)

    def _flow(self, now: int) -> None:
        if now > self._at:
            flown = (now - self._at) * self.per_minute
            self._tokens = min(self._tokens + flown, self.burst * TOKEN)
            self._at = now


class Wallet:
    """The leases of one life of a holder. All times are ms on its monotonic clock.

    Args:
        holder: its name.
        incarnation: of this life.
        now: when it began.
    """

    def __init__(self, holder: str, incarnation: int, now: int) -> None:
        self._holder = holder
        self._incarnation = incarnation
        self._number = 0
        self._asked: dict[int, int] = {}  # number -> when it was asked
        self._using = (0, 0)
        self._seen = 0
        self._shares: Mapping[str, Share] = {}
        self._safe: Mapping[str, Share] = {}
        self._ends = now
        self._safe_ends = now
        self._meters: dict[str, LeasedMeter] = {}
        self._ask_at = now

    def due(self, now: int) -> bool:
        """Whether it is time to ask again."""
        return now >= self._ask_at

    def due_in(self, now: int) -> int:
        """Tell how long until it is, ms."""
        return max(self._ask_at - now, 0)

    def ask(self, needs: Mapping[str, Need], now: int, *, leaving: bool = False) -> Ask:
        """Make the next question."""
        self._number += 1
        self._asked[self._number] = now
        for number in [n for n, at in self._asked.items() if at + 60_000 < now]:
            del self._asked[number]
        self._ask_at = now + ASK_EVERY_MS
        using, number = self._using, self._number
        return Ask(self._holder, self._incarnation, number, using, dict(needs), self._seen, leaving)

    def hear(self, answer: Answer, now: int) -> bool:
        """Take an answer, unless a newer one was taken or its term is over. Returns whether it was taken."""
        asked = self._asked.get(answer.number)
        if answer.incarnation != self._incarnation or answer.epoch < self._seen:
            return False
        self._seen = answer.epoch
        newer = (answer.epoch, answer.number) > self._using
        if answer.waits or asked is None or not newer or asked + answer.term_ms <= now:
            return False
        self._settle(now)
        self._using = (answer.epoch, answer.number)
        self._shares, self._ends = answer.shares, asked + answer.term_ms
        self._safe = answer.safe
        self._safe_ends = self._ends + SAFE_MS
        self._settle(now)
        return True

    def share(self, key: str, now: int) -> Share:
        """Give what may be used of a budget now: the lease, after it the safe share, at last nothing."""
        if now < self._ends:
            leased, safe = self._shares.get(key, NOTHING), self._safe.get(key, NOTHING)
            unlimited = leased.per_minute is None
            return Share(
                leased.connections + safe.connections,
                None if unlimited else (leased.per_minute or 0) + (safe.per_minute or 0),
                leased.burst + safe.burst,
            )
        if now < self._safe_ends:
            return self._safe.get(key, NOTHING)
        return NOTHING

    def meter(self, key: str, now: int) -> LeasedMeter:
        """Give the meter of a budget, with its rate as it is now."""
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = LeasedMeter(now)
        self._move(key, meter, now)
        return meter

    def _settle(self, now: int) -> None:
        for key, meter in self._meters.items():
            self._move(key, meter, now)

    def _move(self, key: str, meter: LeasedMeter, now: int) -> None:
        """Let the time up to `now` flow at the rates that held in it, however long nobody looked."""
        for moment in (self._ends, self._safe_ends):
            if moment <= now:
                self._become(key, meter, moment)
        self._become(key, meter, now)

    def _become(self, key: str, meter: LeasedMeter, now: int) -> None:
        share = self.share(key, now)
        if share.per_minute is not None:
            meter.change(share.per_minute, share.burst, now)
