"""A sender's purse: the messages that it may start, by path, until they lapse; and what it has to tell the pacer. Pure.

Messages are handed over by route, and a route may have several sources; so a hand-over *reserves* a message of the
route, and a connection *spends* a token of its source's path when it starts one. A reservation lapses when the credit
does. All times are ms on the sender's own clock (in a replay the log's).
"""

from __future__ import annotations

__all__ = ("Purse",)

from collections import deque
from collections.abc import Sequence

from deliverability.pacing.exchange import (
    TOKEN_MS,
    Heard,
    PaceAnswer,
    PaceAsk,
    Path,
    Want,
    path_name,
)
from deliverability.pacing.flows import FlowLimit, FlowPurse

RESERVED_MS = 2_000
"""As long as a credit may be started."""
HEARD_MAX = 50_000
LOOK_MS = 60_000
"""A path that nobody asked for in so long isn't asked for any more."""


class _Spell:
    """Tokens that lapse together."""

    __slots__ = ("left", "until")

    def __init__(self, left: int, until: int) -> None:
        self.left = left
        self.until = until


class _Account:
    """One path."""

    def __init__(self, path: Path, now: int) -> None:
        self.path = path
        self.tokens: deque[_Spell] = deque()
        self.loans: deque[_Spell] = deque()
        self.unused = self.lapsed = self.borrowed = self.opened = 0
        self.wanted = 0  # messages that somebody would start, were there tokens
        self.open = 0
        self.connections = 0  # that could be used
        self.may_open = 0
        self.per_connection = 0
        self.retry_ms = 0
        self.ask_at = now
        self.trickle_at = now
        self.used_at = now

    def free(self) -> int:
        return sum(one.left for one in self.tokens)

    def lent(self) -> int:
        return sum(one.left for one in self.loans)

    def lapse(self, now: int) -> None:
        while self.tokens and self.tokens[0].until <= now:
            self.unused += self.tokens.popleft().left
        while self.loans and self.loans[0].until <= now:
            self.lapsed += self.loans.popleft().left


class _Acceptances:
    """Acceptances that are told as one."""

    __slots__ = ("latency", "number", "size")

    def __init__(self) -> None:
        self.number = self.latency = self.size = 0


class Purse:
    """All paths of one life of a sender.

    Args:
        holder: its name.
        incarnation: of this life.
        flows: limits of tenants and streams.
    """

    def __init__(self, holder: str, incarnation: int, flows: Sequence[FlowLimit] = ()) -> None:
        self.flows = FlowPurse(flows)
        """What it has of the limits of tenants and streams."""
        self._holder = holder
        self._incarnation = incarnation
        self._number = 0
        self._asked: dict[int, int] = {}
        self._accounts: dict[str, _Account] = {}
        self._reserved: dict[str, deque[_Spell]] = {}
        self._accepted: dict[tuple[str, str, str, int], _Acceptances] = {}
        self._heard: deque[Heard] = deque()
        self._first = 0  # number of the first entry of `_heard`
        self.dropped = 0
        """Entries that were forgotten untold, since the pacer was away for too long."""

    # ---- handing over

    def room(self, route: str, paths: Sequence[Path], now: int, *, urgent: bool) -> int:
        """Tell how many messages of a route may be handed over now, from any of its paths."""
        total = 0
        for path in paths:
            account = self._account(path, now)
            account.lapse(now)
            total += account.free() + (account.lent() if urgent else 0)
        return max(total - self._reservations(route, now), 0)

    def want(self, paths: Sequence[Path], number: int, now: int) -> None:
        """Note that so many messages could go on these paths, were there tokens."""
        for path in paths:
            account = self._account(path, now)
            account.used_at = now
            account.wanted = max(account.wanted, number)

    def reserve(self, route: str, number: int, now: int) -> None:
        """Count messages that are handed over and not started."""
        self._reserved.setdefault(route, deque()).append(_Spell(number, now + RESERVED_MS))

    def release(self, route: str, number: int) -> None:
        """Count that messages weren't handed over after all, or were started, the oldest first."""
        spells = self._reserved.get(route)
        while spells and number > 0:
            used = min(spells[0].left, number)
            spells[0].left -= used
            number -= used
            if not spells[0].left:
                spells.popleft()

    def next_at(self, paths: Sequence[Path], now: int) -> int:
        """Give when it is worth looking again whether there are tokens."""
        return min((self._account(path, now).ask_at for path in paths), default=now)

    # ---- starting

    def may_start(self, path: Path, now: int, *, urgent: bool) -> bool:
        """Tell whether a message may start on a path."""
        account = self._account(path, now)
        account.lapse(now)
        return bool(account.tokens) or (urgent and bool(account.loans))

    def spend(self, route: str, path: Path, now: int) -> None:
        """Count a message that starts, as `may_start` allowed: by a token, else by a loan."""
        account = self._account(path, now)
        account.used_at = now
        self.release(route, 1)
        if account.tokens:
            _take(account.tokens)
        elif account.loans:
            _take(account.loans)
            account.borrowed += 1

    def unspend(self, path: Path, now: int) -> None:
        """Count a message that was started and didn't go."""
        self._account(path, now).unused += 1

    def connections(self, path: Path, opened: int, wanted: int, now: int) -> int:
        """Tell how many connections a path may have, given how many it has and could use."""
        account = self._account(path, now)
        account.open, account.connections = opened, wanted
        if wanted:
            account.used_at = now
        return account.may_open

    def may_open(self, path: Path, now: int) -> int:
        """Tell how many connections a path may have."""
        return self._account(path, now).may_open

    def opened(self, path: Path, now: int) -> None:
        """Count a connection that was opened."""
        self._account(path, now).opened += 1

    def per_connection(self, path: Path, now: int) -> int:
        """Tell after how many messages a connection is to be closed; 0: nobody says."""
        return self._account(path, now).per_connection

    def retry_ms(self, path: Path, now: int) -> int:
        """Tell how long the site's greylisting wants; 0: it isn't known."""
        return self._account(path, now).retry_ms

    # ---- hearing

    def accepted(
        self, path: Path, tenant: str, stream: str, latency_ms: int, size: int, age_ms: int
    ) -> None:
        """Note an acceptance; those of one kind are told as one."""
        key = (path_name(path), tenant, stream, age_ms)
        told = self._accepted.setdefault(key, _Acceptances())
        told.number += 1
        told.latency += latency_ms
        told.size += size

    def heard(self, heard: Heard) -> None:
        """Note whatever else became of an attempt or a connection."""
        self._flush()
        self._tell(heard)

    def _flush(self) -> None:
        """Acceptances go before what came after them."""
        for (path, tenant, stream, age_ms), one in self._accepted.items():
            mean = one.latency // one.number
            self._tell(
                Heard(
                    path,
                    "delivered",
                    number=one.number,
                    code=250,
                    tenant=tenant,
                    stream=stream,
                    latency_ms=mean,
                    age_ms=age_ms,
                    size=one.size,
                )
            )
        self._accepted.clear()

    def _tell(self, heard: Heard) -> None:
        self._heard.append(heard)
        if len(self._heard) > HEARD_MAX:
            self._heard.popleft()
            self._first += 1
            self.dropped += 1

    # ---- questions

    def due(self, now: int) -> bool:
        """Whether somebody waits for tokens that may be there by now, or there is something to tell."""
        if self._heard or self._accepted:
            return True
        return any(one.wanted and one.ask_at <= now for one in self._accounts.values())

    def ask(self, now: int) -> PaceAsk:
        """Make the next question."""
        self._flush()
        self._number += 1
        self._asked[self._number] = now
        for number in [n for n, at in self._asked.items() if at + 60_000 < now]:
            del self._asked[number]
        wants = []
        for name, one in list(self._accounts.items()):
            one.lapse(now)
            spare = one.unused or one.lapsed or one.borrowed
            if one.used_at + LOOK_MS < now and not one.open and not spare and not one.tokens:
                del self._accounts[name]
                continue
            wants.append(self._want(one))
        return PaceAsk(
            self._holder,
            self._incarnation,
            self._number,
            wants,
            list(self._heard),
            self._first,
            self.flows.wants(now),
        )

    def _want(self, one: _Account) -> Want:
        want = Want(
            path=one.path,
            tokens=max(one.wanted - one.free(), 0),
            open=one.open,
            connections=max(one.connections, min(one.wanted, 1)),
            opened=one.opened,
            unused=one.unused,
            borrowed=one.borrowed,
            lapsed=one.lapsed,
            loans=one.lent(),
        )
        # told once: should the question be lost, a little of the limit is wasted, and nothing passes it
        one.unused = one.lapsed = one.borrowed = one.opened = 0
        one.wanted = 0
        return want

    def hear(self, answer: PaceAnswer, now: int) -> bool:
        """Take an answer. Returns whether it gave something."""
        asked = self._asked.pop(answer.number, None)
        if answer.incarnation != self._incarnation or asked is None:
            return False
        while self._heard and self._first < answer.heard:
            self._heard.popleft()
            self._first += 1
        gave = self.flows.hear(answer.flows, asked)
        for name, given in answer.given.items():
            one = self._accounts.get(name)
            if one is None:
                continue
            if given.void:
                one.tokens.clear()
                one.loans.clear()
            gave = gave or bool(given.tokens or given.loans or given.connections != one.may_open)
            if given.tokens:
                one.tokens.append(_Spell(given.tokens, asked + TOKEN_MS))
            if given.loans:
                one.loans.append(_Spell(given.loans, asked + TOKEN_MS))
            one.may_open = given.connections
            one.per_connection = given.per_connection
            one.retry_ms = given.retry_ms
            one.ask_at = now + given.wait_ms
        return gave

    def trickle(self, now: int, every_ms: int) -> None:
        """While nobody answers: let each path that somebody waits for start one message now and then."""
        for one in self._accounts.values():
            one.lapse(now)
            if one.wanted and not one.tokens and now >= one.trickle_at:
                one.trickle_at = now + every_ms
                one.tokens.append(_Spell(1, now + TOKEN_MS))
                one.borrowed += 1
                one.may_open = max(one.may_open, 1)

    # ---- inside

    def _account(self, path: Path, now: int) -> _Account:
        name = path_name(path)
        found = self._accounts.get(name)
        if found is None:
            found = self._accounts[name] = _Account(path, now)
        elif found.path is not path:
            found.path = path
        return found

    def _reservations(self, route: str, now: int) -> int:
        spells = self._reserved.get(route)
        if not spells:
            return 0
        while spells and spells[0].until <= now:
            spells.popleft()
        return sum(one.left for one in spells)


def _take(spells: deque[_Spell]) -> None:
    spells[0].left -= 1
    if not spells[0].left:
        spells.popleft()
