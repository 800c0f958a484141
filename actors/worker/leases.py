"""The leases of one egress: what its routes may use now, and the questions it asks the governor for them.

Drives `deliverability.leasing.wallet` by the event loop's clock. A replay, whose rates run on the log's time, has equal
shares instead.
"""

from __future__ import annotations

__all__ = ("LeaseDesk", "ask_for_ever")

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from deliverability.governor import Lease
from deliverability.leasing.terms import Answer, Ask, Need
from deliverability.leasing.wallet import LeasedMeter, Wallet
from deliverability.transport.delivery import Delivery
from engine.errors import VeredusError

log = structlog.get_logger()

KEPT_MS = 5000
"""A budget that nobody wanted for so long isn't asked for any more."""

GAP_S = 0.01
"""Between two questions at least: what is short for long is no reason to ask all the time."""
CALL_TIMEOUT_S = 2.0
AFTER_FAILURE_S = 0.5
MINUTE_MS = 60_000
UNBOUND = 1 << 30
SOME_PER_MINUTE = 600
"""What is asked for at first, and at least by a route that was short of tokens."""

LeaseOf = Callable[[str], Lease]


class _Line:
    """What one budget was used for since the last question."""

    def __init__(self, now: int) -> None:
        self.wanted_at = now
        self.since = now
        self.taken = 0
        self.short = False
        self.open = 0
        self.connections = 0
        self.full = False  # it could use more than one egress may open
        self.rate = 0  # messages a minute, smoothed


class LeaseDesk:
    """All budgets of one life of an egress. Make it, `begin` it, then use it from its loop only.

    Args:
        holder: the name of the egress.
        connections_max: what it may open to one site, whatever is leased; 0: as much as is leased.
    """

    def __init__(self, holder: str, connections_max: int = 0) -> None:
        self._holder = holder
        self._connections_max = connections_max or UNBOUND
        self._lines: dict[str, _Line] = {}
        self._wallet: Wallet | None = None
        self._equal: LeaseOf | None = None
        self._delivery: Delivery | None = None
        self._urgent = asyncio.Event()
        self._urgent.set()
        self.heard: Callable[[], None] = lambda: None
        """Called when there is more to use: whoever gives credits should look again."""

    def begin(self, incarnation: int, equal: LeaseOf) -> None:
        """Begin a life: `equal` gives the equal share of a route, for what isn't leased (messages a connection)."""
        self._loop = asyncio.get_running_loop()
        self._wallet = Wallet(self._holder, incarnation, self._now())
        self._equal = equal

    def serve(self, delivery: Delivery) -> None:
        """Hear whose connections are counted."""
        self._delivery = delivery

    def lease(self, route: str) -> Lease:
        """Give the lease of a route: it goes on being asked as it is used."""
        assert self._equal is not None, "it was begun"
        equal = self._equal(route)

        def allowed(opened: int, wanted: int) -> int:
            return self._allowed(route, opened, wanted)

        return msgspec.structs.replace(equal, allowed=allowed, meter=_Meter(self, route))

    def _allowed(self, route: str, opened: int, wanted: int) -> int:
        line = self._line(route)
        line.open, line.connections = opened, min(wanted, self._connections_max)
        line.full = wanted > self._connections_max <= opened
        now = self._now()
        if opened or wanted:
            line.wanted_at = now
        most = min(self._need().share(route, now).connections, self._connections_max)
        if wanted > most and not most:
            self._urgent.set()
        return most

    def full(self) -> list[str]:
        """Name the routes that could use more connections than one egress may open."""
        since = self._now() - KEPT_MS
        return [
            route for route, line in self._lines.items() if line.full and line.wanted_at > since
        ]

    # ---- for meters

    def meter(self, route: str) -> LeasedMeter:
        """Give the meter of a route as it is now."""
        return self._need().meter(route, self._now())

    def available(self, route: str) -> int | None:
        """Tell how many messages a route may be given."""
        line, now = self._line(route), self._now()
        line.wanted_at = now
        if self._need().share(route, now).per_minute is None:
            return None
        found = self._need().meter(route, now).available(now)
        if not found:
            line.short = True
            if not self._need().share(route, now).per_minute:
                self._urgent.set()
        return found

    def took(self, route: str, number: int) -> None:
        """Count what was used; negative: given back."""
        self._line(route).taken += number

    def wait_ms(self, route: str) -> int:
        """Tell how long until there is a token, or until it is worth asking again."""
        now = self._now()
        at = self._need().meter(route, now).next_at(now)
        return max(at - now, 1) if at is not None else 100

    # ---- questions

    async def due(self) -> None:
        """Wait until it is time for a question: at once for a route that has nothing."""
        wait_ms = self._need().due_in(self._now())
        if wait_ms and not self._urgent.is_set():
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._urgent.wait()
            except TimeoutError:
                return

    def ask(self) -> Ask | None:
        """Give the next question, when it is time for one."""
        wallet, now = self._wallet, self._now()
        if wallet is None or not (wallet.due(now) or self._urgent.is_set()):
            return None
        self._urgent.clear()
        if self._delivery is not None:
            self._delivery.report()
        needs = {}
        for route, line in list(self._lines.items()):
            may = wallet.share(route, now).connections
            if line.wanted_at + KEPT_MS < now and not may and not line.open:
                del self._lines[route]
                continue
            needs[route] = self._need_of(line, now, may)
        return wallet.ask(needs, now)

    def hear(self, answer: Answer) -> None:
        """Take an answer, and put what it gives to work."""
        if self._need().hear(answer, self._now()) and self._delivery is not None:
            self._delivery.pump()
            self.heard()

    def _need_of(self, line: _Line, now: int, may: int) -> Need:
        """Estimate what a route could use: a little more than lately, twice as much where it ran short."""
        idle = line.wanted_at + KEPT_MS < now
        passed = max(now - line.since, 1)
        rate = line.taken * MINUTE_MS // passed
        line.rate = max(rate, (line.rate + rate) // 2)
        wanted = line.rate * 21 // 20 + 1
        if line.short:
            wanted = max(2 * line.rate, SOME_PER_MINUTE)
        line.since, line.taken, line.short = now, 0, False
        return Need(line.connections, 0 if idle else wanted, line.open, may, warm=int(not idle))

    def _line(self, route: str) -> _Line:
        line = self._lines.get(route)
        if line is None:
            line = self._lines[route] = _Line(self._now())
            self._urgent.set()
        return line

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    def _need(self) -> Wallet:
        assert self._wallet is not None, "it was begun"
        return self._wallet


class _Meter:
    """A leased meter in the place of one that runs on the time of inputs."""

    def __init__(self, desk: LeaseDesk, route: str) -> None:
        self._desk = desk
        self._route = route
        self._looked_at = 0

    def available(self, now: int) -> int | None:
        """Tell how many tokens there are; None: as many as you like."""
        self._looked_at = now
        return self._desk.available(self._route)

    def take(self, number: int) -> None:
        """Use tokens."""
        self._desk.took(self._route, number)
        self._desk.meter(self._route).take(number)

    def give_back(self, number: int) -> None:
        """Return tokens that weren't used."""
        self._desk.took(self._route, -number)
        self._desk.meter(self._route).give_back(number)

    def next_at(self) -> int:
        """Give the time of inputs at which there may be a token."""
        return self._looked_at + self._desk.wait_ms(self._route)


async def ask_for_ever(desk: LeaseDesk, call: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Ask the governor whenever it is time; one that is away keeps nobody from using what it has.

    `call` reaches the governor's `lease`; it may raise whatever a lost actor raises.
    """
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Answer | None).decode
    while True:
        await asyncio.sleep(GAP_S)
        await desk.due()
        ask = desk.ask()
        if ask is None:
            continue
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = decode(await call(encode(ask)))
        except (TimeoutError, VeredusError) as error:
            log.info("governor_away", error=repr(error)[:200])
            await asyncio.sleep(AFTER_FAILURE_S)
            continue
        if answer is not None:
            desk.hear(answer)
