"""Limits of tenants and streams: so much per time, counted over all senders, by provider and source. Pure.

A *flow* is what one limit counts together: the mail of a tenant, of a stream, to a provider, from a source, or of any
of them. Whole messages (tokens) are given for it, as for paths (`exchange`), so that nothing that dies, is lost or
comes late can make the sum pass the limit. A message whose flow has no token isn't started: it goes back with the
moment at which its turn may come, one behind the other at the limit's own rate, and waits for it in the agenda,
durable and cheap, while others go.

A token may be used for a while that is longer the slower the limit is, since messages come back no sooner; periods are
counted that much longer, so that in no period more than the limit go.

Urgent and transactional mail isn't held by a limit that counts bulk too: it goes at once, and what follows pays for it.
A limit that names its stream holds all of it.

A limit of bytes reserves `RESERVED_BYTES` for each message, since its size isn't known before it is composed; what was
reserved and not used goes back, what was used beyond is paid next.
"""

from __future__ import annotations

__all__ = ("FlowBook", "FlowLimit", "FlowPurse", "FlowView")

from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from deliverability.pacing.exchange import TOKEN_MS, FlowGiven, FlowWant
from deliverability.pacing.tokens import Bucket
from deliverability.shaping.quantities import Throttle

LEAST_MS = 500
ALONE_MS = 60_000
MOST_MS = 3_600_000
"""Nobody is sent away for longer: what is in line may be cancelled, and others may have ended."""
RESERVED_BYTES = 32 << 10
LARGEST_BYTES = 1 << 20  # a limit of bytes gives so much at once, if it is that large
_MATCHES_MAX = 10_000


class FlowLimit(msgspec.Struct, frozen=True):
    """One limit. Empty fields are about all; `provider` is a pattern over names as feedback has them."""

    name: str
    throttle: Throttle
    tenant: str = ""
    stream: str = ""
    provider: str = "*"
    source: str = ""
    of: Literal["messages", "bytes"] = "messages"

    @property
    def cost(self) -> int:
        """What a message takes before its size is known."""
        return 1 if self.of == "messages" else min(RESERVED_BYTES, self.throttle.quantity)

    @property
    def holds_urgent(self) -> bool:
        """Whether urgent and transactional mail waits too: only where the stream itself is meant."""
        return bool(self.stream)

    @property
    def gap_ms(self) -> int:
        """From one message to the next, were they sent evenly."""
        return max(self.throttle.period_ms * self.cost // self.throttle.quantity, 1)

    @property
    def lifetime_ms(self) -> int:
        """How long a token may be used, on the sender's clock from when it asked."""
        return TOKEN_MS + self.gap_ms

    def concerns(self, tenant: str, stream: str, provider: str, source: str) -> bool:
        """Tell whether it counts a message."""
        return (
            self.tenant in ("", tenant)
            and self.stream in ("", stream)
            and self.source in ("", source)
            and fnmatchcase(provider, self.provider)
        )


class FlowView(msgspec.Struct, frozen=True):
    """A limit, for people: its rate, what was given in its period, and how many messages wait at one sender or more."""

    name: str
    rate: str
    given: int
    held: int


class FlowBook:
    """The pacer's side.

    Args:
        limits: all of them.
        full: whether they begin with their burst; not where a predecessor may have given it out.
        share: this many pacers share each limit.
    """

    def __init__(self, limits: Sequence[FlowLimit], *, full: bool = True, share: int = 1) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._limits = {one.name: one for one in limits}
        self._given: dict[str, deque[tuple[int, int]]] = {name: deque() for name in self._limits}
        self._held: dict[str, tuple[int, int]] = {}  # when, how many
        for one in limits:
            quantity = max(one.throttle.quantity // share, 1)
            longer_ms = one.throttle.period_ms + one.lifetime_ms
            burst, largest = one.throttle.burst, 1
            if one.of == "bytes":
                largest = max(min(LARGEST_BYTES, quantity // 10), one.cost)
            self._buckets[one.name] = Bucket(quantity, longer_ms, burst, largest, full=full)

    def answer(self, wants: Sequence[FlowWant], now_ms: int) -> dict[str, FlowGiven]:
        """Take back what wasn't used, and give what may be. A limit that isn't known here gives nothing."""
        told = {}
        for want in wants:
            limit = self._limits.get(want.name)
            if limit is None:
                continue
            bucket = self._buckets[want.name]
            bucket.give_back(want.unused)
            if want.waiting:
                self._held[want.name] = (now_ms, want.waiting)
            given = min(want.tokens, bucket.available(now_ms))
            if given:
                bucket.take(now_ms, given)
            if given or want.unused:
                self._given[want.name].append((now_ms, given - want.unused))
            told[want.name] = FlowGiven(given)
        return told

    def views(self, now_ms: int) -> list[FlowView]:
        """Tell how each limit stands."""
        found = []
        for name, limit in self._limits.items():
            given, period = self._given[name], limit.throttle.period_ms
            while given and given[0][0] <= now_ms - period:
                given.popleft()
            at, held = self._held.get(name, (0, 0))
            fresh = held if now_ms - at <= limit.lifetime_ms else 0
            found.append(FlowView(name, _rate(limit), sum(n for _, n in given), fresh))
        return found


class _Flow:
    """What one sender has of a limit."""

    def __init__(self, limit: FlowLimit) -> None:
        self.limit = limit
        self.tokens: deque[tuple[int, int]] = deque()  # until when, how many
        self.unused = 0
        self.debt = 0  # that went without a token, and is paid by the next ones
        self._until = 0
        self.slot_at = 0
        self.size = limit.cost  # of late

    def has(self, now: int) -> bool:
        while self.tokens and self.tokens[0][0] <= now:
            self.unused += self.tokens.popleft()[1]
        self._pay()
        return sum(number for _, number in self.tokens) >= self.limit.cost

    def take(self) -> None:
        """Take what a message costs; what isn't there is owed."""
        self.debt += self.limit.cost
        self._pay()

    def sent(self, size: int) -> None:
        """Hear how large one was whose attempt ended; 0: its content never went."""
        if self.limit.of == "messages":
            return
        if size:
            self.size += (size - self.size) // 8
        beyond = size - self.limit.cost
        self.debt += max(beyond, 0)
        if beyond < 0:
            self.give_back(-beyond)

    def give_back(self, number: int) -> None:
        """Take back what wasn't needed: it may be used as long as what was taken last."""
        self.tokens.appendleft((self._until, number))

    def _pay(self) -> None:
        while self.debt and self.tokens:
            until, number = self.tokens.popleft()
            self._until = until
            paid = min(number, self.debt)
            self.debt -= paid
            if number > paid:
                self.tokens.appendleft((until, number - paid))

    def turn(self, now: int) -> int:
        """Send one away. Returns after how long its turn may come."""
        gap = self._gap_ms()
        if self.slot_at + self.limit.lifetime_ms <= now:
            wait = LEAST_MS  # nobody asked for long: there may be one at once
        elif self.slot_at <= now:
            wait = min(max(gap // 10, LEAST_MS), ALONE_MS)  # it is alone, and looks now and then
        else:
            wait = self.slot_at + gap - now
        self.slot_at = min(now + wait, now + MOST_MS)
        return max(self.slot_at - now, LEAST_MS)

    def want(self, now: int) -> FlowWant | None:
        """Say what those who come back soon could use; None: nobody waits, and nothing went unused."""
        self.has(now)
        have = sum(number for _, number in self.tokens)
        gap = self._gap_ms()
        waiting = -(-max(self.slot_at - now, 0) // gap)
        soon = self.limit.lifetime_ms // 2 // gap + 1
        unused, self.unused = self.unused, 0
        wanted = min(waiting, soon)
        if self.limit.of == "bytes" and wanted:
            wanted = max(wanted * self.size, self.limit.cost)
        tokens = max(wanted + self.debt - have, 0)
        told = FlowWant(self.limit.name, tokens, unused, waiting)
        return told if tokens or unused or waiting else None

    def _gap_ms(self) -> int:
        """From one message to the next, as large as they are of late."""
        if self.limit.of == "messages":
            return self.limit.gap_ms
        return max(self.limit.throttle.period_ms * self.size // self.limit.throttle.quantity, 1)


class FlowPurse:
    """A sender's side: tokens by limit, until they lapse.

    Args:
        limits: all of them, as the pacer has them.
    """

    def __init__(self, limits: Sequence[FlowLimit] = ()) -> None:
        self._flows = {one.name: _Flow(one) for one in limits}
        self._matches: dict[tuple[str, str, str, str], tuple[_Flow, ...]] = {}

    def held_ms(
        self,
        tenant: str,
        stream: str,
        provider: str,
        source: str,
        now: int,
        *,
        urgent: bool = False,
    ) -> int:
        """Count a message that is to start; 0: it may. Else it may not, and it is worth trying again after so long."""
        if not self._flows:
            return 0
        flows = self._of((tenant, stream, provider, source))
        missing = [
            one for one in flows if (one.limit.holds_urgent or not urgent) and not one.has(now)
        ]
        if missing:
            return max(one.turn(now) for one in missing)
        for one in flows:
            one.take()
        return 0

    def not_sent(self, tenant: str, stream: str, provider: str, source: str) -> None:
        """Give back what a message took that didn't go after all."""
        for one in self._of((tenant, stream, provider, source)) if self._flows else ():
            one.unused += one.limit.cost

    def sent(self, tenant: str, stream: str, provider: str, source: str, size: int) -> None:
        """Hear how many bytes of a message went; 0: it was refused before."""
        for one in self._of((tenant, stream, provider, source)) if self._flows else ():
            one.sent(size)

    def wants(self, now: int) -> list[FlowWant]:
        """Say what could be used and what wasn't, once: what is lost on the way wastes a little of the limit."""
        return [want for one in self._flows.values() if (want := one.want(now)) is not None]

    def hear(self, given: dict[str, FlowGiven], asked: int) -> bool:
        """Take what an answer to a question of that time gives. Returns whether it gave something."""
        gave = False
        for name, one in given.items():
            flow = self._flows.get(name)
            if flow is not None and one.tokens:
                flow.tokens.append((asked + flow.limit.lifetime_ms, one.tokens))
                gave = True
        return gave

    def _of(self, key: tuple[str, str, str, str]) -> tuple[_Flow, ...]:
        found = self._matches.get(key)
        if found is None:
            if len(self._matches) >= _MATCHES_MAX:
                self._matches.clear()
            found = tuple(one for one in self._flows.values() if one.limit.concerns(*key))
            self._matches[key] = found
        return found


def _rate(limit: FlowLimit) -> str:
    unit = " bytes" if limit.of == "bytes" else ""
    return f"{limit.throttle.quantity:,}{unit} in {limit.throttle.period_ms // 1000:,} s"
