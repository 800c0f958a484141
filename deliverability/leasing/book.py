"""The governor's book: who was promised which share, until when, and what the next who asks may have.

Shares follow demand by water-filling: each holder gets what it needs, up to a level at which the budget is used up.
Connections that can't be divided evenly go round from holder to holder, so that with more holders than connections
each has its turn.

Of what nobody needs a half goes to those who may need it next: connections that they keep warm, and rate for who
mails at all, so that a message that comes after a quiet second waits for no question. The other half is there for
whoever comes new.
"""

from __future__ import annotations

__all__ = ("Book", "water_level")

from collections.abc import Callable, Iterable, Mapping

from deliverability.leasing.terms import (
    LONGEST_SESSION_MS,
    SAFE_MS,
    SLOTS,
    TERM_MS,
    Answer,
    Ask,
    Budget,
    Life,
    Need,
    Share,
    safe_share,
    with_drift,
)

LONGEST = with_drift(LONGEST_SESSION_MS)

TURN_MS = 10_000
"""How long one holder keeps what can't be divided."""

NOTHING = Share()
NO_NEED = Need(0, 0)


class _Promise:
    """One answer's share of one budget; `until` on the governor's clock."""

    __slots__ = ("number", "share", "until")

    def __init__(self, number: int, share: Share, until: int) -> None:
        self.number = number
        self.share = share
        self.until = until


class _Holder:
    """What is known of one life of a holder."""

    def __init__(self, slot: int | None, heard: int, *, former: bool = False) -> None:
        self.slot = slot
        self.unheard = former
        self.number = 0  # of its newest question
        self.heard = heard
        self.needs: dict[str, Need] = {}
        self.promises: dict[str, list[_Promise]] = {}

    def promise(self, key: str, number: int, share: Share, now: int) -> None:
        """Note what an answer gives; of those that have ended one is kept, for connections that live on."""
        promises = self.promises.setdefault(key, [])
        ended = [one for one in promises if one.until <= now]
        if len(ended) > 1:
            most = max(one.share.connections for one in ended)
            last = max(ended, key=lambda one: one.until)
            merged = _Promise(last.number, Share(most), last.until)
            promises[:] = [merged, *(one for one in promises if one.until > now)]
        promises.append(_Promise(number, share, now + with_drift(TERM_MS)))

    def counted(self, key: str, now: int) -> tuple[int, int, int]:
        """Give the most it may be using: connections, rate, burst."""
        promises = self.promises.get(key, ())
        living = [one.share for one in promises if one.until > now]
        lasting = [one.share.connections for one in promises if one.until + LONGEST > now]
        if self.heard + with_drift(TERM_MS) + LONGEST > now:
            need = self.needs.get(key, NO_NEED)
            lasting.append(max(need.open, need.may))
        return (
            max(lasting, default=0),
            max((one.per_minute or 0 for one in living), default=0),
            max((one.burst for one in living), default=0),
        )


class Book:
    """All leases of one governor's life.

    Args:
        budget_of: gives what a key stands for; a key is provider, source and tenant.
        epoch: of this life; grows with each.
        now: ms on the governor's monotonic clock, when this life began.
        former: all lives that a former governor answered; none: it begins with nothing.
    """

    def __init__(
        self,
        budget_of: Callable[[str], Budget],
        epoch: int,
        now: int,
        former: Iterable[Life] = (),
    ) -> None:
        self._budget_of = budget_of
        self._epoch = epoch
        self._holders: dict[tuple[str, int], _Holder] = {
            (one.holder, one.incarnation): _Holder(one.slot, now, former=True) for one in former
        }
        self._quiet_until = now + with_drift(TERM_MS) if self._holders else now
        self._keys: dict[str, None] = {}

    def ask(self, ask: Ask, now: int) -> Answer | None:
        """Answer a question; None for one that is older than another of the same life."""
        holder = self._holder(ask, now)
        if ask.number <= holder.number:
            return None
        holder.number, holder.heard = ask.number, now
        # an older question may tell of fewer connections than its holder was given since, by my predecessor
        holder.unheard = holder.unheard and ask.seen != self._epoch
        self._supersede(holder, ask)
        holder.needs = dict(ask.needs)
        if ask.leaving:
            del self._holders[ask.holder, ask.incarnation]
            return Answer(self._epoch, ask.number, ask.incarnation, {}, {})
        if now < self._quiet_until:
            return Answer(self._epoch, ask.number, ask.incarnation, {}, {}, waits=True)
        self._forget(now)
        keys = {**dict.fromkeys(ask.needs), **dict.fromkeys(holder.promises)}
        shares = {key: self._share(holder, key, now) for key in keys}
        for key, share in shares.items():
            holder.promise(key, ask.number, share, now)
            if share == NOTHING and not ask.needs.get(key, NO_NEED).open:
                self._tidy(holder, key, now)
        safe = self._safe(holder, shares)
        return Answer(self._epoch, ask.number, ask.incarnation, shares, safe)

    def died(self, name: str, incarnation: int) -> None:
        """Hear for certain that a life of a holder is over: what it had is free at once."""
        self._holders.pop((name, incarnation), None)

    def silent(self, now: int, for_ms: int) -> list[tuple[str, int]]:
        """Name the lives (holder, incarnation) that weren't heard of for so long, or never by this governor."""
        return [
            name
            for name, holder in sorted(self._holders.items())
            if holder.unheard or holder.heard + for_ms <= now
        ]

    def lives(self) -> list[Life]:
        """List all lives that may hold something; to be durable before an answer goes out."""
        return [
            Life(name, incarnation, holder.slot)
            for (name, incarnation), holder in sorted(self._holders.items())
        ]

    def used(self, key: str, now: int) -> tuple[int, int]:
        """Tell how much of a budget is promised: connections, rate, safe shares included."""
        told = [holder.counted(key, now) for holder in self._holders.values()]
        safe = safe_share(self._budget_of(key))
        slots = sum(holder.slot is not None for holder in self._holders.values())
        return (
            sum(one[0] for one in told) + slots * safe.connections,
            sum(one[1] for one in told) + slots * (safe.per_minute or 0),
        )

    @property
    def holders(self) -> Mapping[str, int]:
        """Name the holders, with the newest incarnation of each."""
        return dict(sorted(self._holders))

    @property
    def keys(self) -> list[str]:
        """List the budgets that were ever asked for."""
        return list(self._keys)

    def _holder(self, ask: Ask, now: int) -> _Holder:
        found = self._holders.get((ask.holder, ask.incarnation))
        if found is None:
            found = self._holders[ask.holder, ask.incarnation] = _Holder(None, now)
        if found.slot is None:
            found.slot = self._free_slot()
        return found

    def _tidy(self, holder: _Holder, key: str, now: int) -> None:
        """Forget a budget that a holder neither has nor wants."""
        if not any(holder.counted(key, now)) and key not in holder.needs:
            holder.promises.pop(key, None)

    def _free_slot(self) -> int | None:
        """Find a slot that nobody's safe share can belong to."""
        taken = {holder.slot for holder in self._holders.values()}
        return next((slot for slot in range(SLOTS) if slot not in taken), None)

    def _supersede(self, holder: _Holder, ask: Ask) -> None:
        """Drop promises that the holder has replaced by a newer one, and what it has closed by now."""
        epoch, number = ask.using
        if epoch != self._epoch:
            return
        for promises in holder.promises.values():
            promises[:] = [one for one in promises if one.number >= number]

    def _forget(self, now: int) -> None:
        """Forget lives that can't use anything any more."""
        gone = with_drift(TERM_MS + SAFE_MS + LONGEST_SESSION_MS)
        for name, holder in list(self._holders.items()):
            if holder.heard + gone < now:
                del self._holders[name]

    def _share(self, holder: _Holder, key: str, now: int) -> Share:
        """Give what a holder may have now: its level of the water, as far as others have let go of it."""
        self._keys[key] = None
        budget = self._budget_of(key)
        safe = safe_share(budget)
        connections = budget.connections - SLOTS * safe.connections
        rate = (budget.per_minute or 0) - SLOTS * (safe.per_minute or 0)
        burst = budget.burst - SLOTS * safe.burst
        wanting: list[tuple[tuple[str, int], Need]] = []
        for name, other in sorted(self._holders.items()):
            if other is not holder:
                used = other.counted(key, now)
                connections, rate, burst = connections - used[0], rate - used[1], burst - used[2]
            if other.heard + TERM_MS >= now:
                wanting.append((name, other.needs.get(key, NO_NEED)))
        if any(one.unheard and one.heard + LONGEST > now for one in self._holders.values()):
            connections = min(connections, holder.needs.get(key, NO_NEED).open)
        mine = next(at for at, (name, _) in enumerate(wanting) if self._holders[name] is holder)
        return self._within(budget, safe, wanting, mine, now, connections, rate, burst)

    @staticmethod
    def _within(
        budget: Budget,
        safe: Share,
        wanting: list[tuple[tuple[str, int], Need]],
        mine: int,
        now: int,
        connections: int,
        rate: int,
        burst: int,
    ) -> Share:
        needs = [need for _, need in wanting]
        all_connections = budget.connections - SLOTS * safe.connections
        turn = now // TURN_MS
        level = water_level([need.connections for need in needs], all_connections, turn)
        warm = [max(need.warm - need.connections, 0) for need in needs]
        kept = water_level(warm, _spare(all_connections, level), turn)
        given = max(min(level[mine] + kept[mine], connections), 0)
        if budget.per_minute is None:
            return Share(given, None, 0)
        all_rate = budget.per_minute - SLOTS * (safe.per_minute or 0)
        rates = water_level([need.per_minute for need in needs], all_rate, turn)
        mailing = [all_rate if need.per_minute else 0 for need in needs]
        ahead = water_level(mailing, _spare(all_rate, rates), turn)
        per_minute = max(min(rates[mine] + ahead[mine], rate), 0)
        all_burst = budget.burst - SLOTS * safe.burst
        bucket = min(max(all_burst * per_minute // max(all_rate, 1), 1), burst)
        if per_minute <= 0 or bucket <= 0:
            return Share(given, 0, 0)
        return Share(given, per_minute, bucket)

    def _safe(self, holder: _Holder, shares: Mapping[str, Share]) -> dict[str, Share]:
        if holder.slot is None:
            return {}
        return {key: safe_share(self._budget_of(key)) for key in shares}


def _spare(whole: int, given: list[int]) -> int:
    """Tell how much of what nobody needs is given out all the same: a half, and the last one."""
    left = max(whole - sum(given), 0)
    return left - left // 2


def water_level(needs: list[int], whole: int, turn: int = 0) -> list[int]:
    """Divide a whole by need: nobody gets more than it needs, nobody less than who gets more. Sums up to the whole.

    What can't be divided goes to one after the other, by `turn`.
    """
    given = [0] * len(needs)
    left = whole
    open_ = [at for at, need in enumerate(needs) if need > 0]
    while open_ and left >= len(open_):
        each = left // len(open_)
        for at in open_:
            more = min(each, needs[at] - given[at])
            given[at] += more
            left -= more
        open_ = [at for at in open_ if given[at] < needs[at]]
    for step in range(min(left, len(open_))):
        given[open_[(turn + step) % len(open_)]] += 1
    return given
