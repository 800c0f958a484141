"""Pacing of one sender: its purse, driven by its delivery; and the pacer, beside it or over the controller.

One sender alone, and each worker of a replay, has a pacer of its own and asks it at once. Several senders ask the one
beside the governor, four times a second and when something changed. A pacer that is away keeps nobody from using what
it has; after that paced routes wait, but for a trickle of a message a minute on each path (`TRICKLE_MS`).
"""

from __future__ import annotations

__all__ = ("PaceDesk", "PacedGate", "RoutePace", "ask_pacer_for_ever")

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from deliverability.feedback.providers import provider_of
from deliverability.governor import Gate
from deliverability.message.records import AttemptOutcome
from deliverability.pacing.exchange import Heard, PaceAnswer, PaceAsk, Path, path_name
from deliverability.pacing.flows import FlowLimit
from deliverability.pacing.purse import Purse
from engine.errors import VeredusError
from engine.vocabulary import Message

if TYPE_CHECKING:
    from deliverability.transport.delivery import Delivery

log = structlog.get_logger()

ASK_EVERY_MS = 250
LOOK_S = 0.025
CALL_TIMEOUT_S = 2.0
AFTER_FAILURE_S = 0.5
WANT_MIN = 64
AWAY_MS = 5_000
TRICKLE_MS = 60_000
MINUTE_MS = 60_000
URGENT = 1
"""Message classes up to this may use loans."""

Answering = Callable[[PaceAsk, int], PaceAnswer | None]
"""Answers a question at a time (ms)."""
PathsOf = Callable[[str], Sequence[Path]]


class PaceDesk:
    """All paced routes of one life of a sender. Make it, `begin` it, then use it from its loop only.

    Args:
        holder: the name of the sender.
        pacer: answers at once; None: `ask_pacer_for_ever` asks.
        flows: limits of tenants and streams.
    """

    def __init__(
        self, holder: str, pacer: Answering | None, flows: Sequence[FlowLimit] = ()
    ) -> None:
        self._flows = flows
        self._holder = holder
        self._pacer = pacer
        self._delivery: Delivery | None = None
        self._asked_at = 0
        self._heard_at = 0
        self._spent = 0
        self._woken: Callable[[], None] = lambda: None

    def begin(
        self,
        incarnation: int,
        paths_of: PathsOf,
        clock: Callable[[], int],
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin a life.

        Args:
            incarnation: which.
            paths_of: gives the paths of a route of connections.
            clock: ms; the sender's monotonic clock, in a replay the log's time.
            woken: called when there is something to use.
        """
        self._purse = Purse(self._holder, incarnation, self._flows)
        self._paths_of = paths_of
        self._clock = clock
        self._woken = woken
        self._heard_at = self._asked_at = clock()

    @property
    def is_alone(self) -> bool:
        """Whether the pacer is its own."""
        return self._pacer is not None

    def serve(self, delivery: Delivery) -> None:
        """Hear whose routes these are."""
        self._delivery = delivery
        delivery.pace_of = self.route

    def route(self, name: str) -> RoutePace:
        """Give what paces a route."""
        return RoutePace(self, self._purse, name, tuple(self._paths_of(name)), self._clock)

    # ---- for the gate

    def room(self, route: str, *, urgent: bool) -> int:
        """Tell how many messages of a route may be handed over now; asks for more when there are none."""
        now, paths = self._clock(), self._paths_of(route)
        found = self._purse.room(route, paths, now, urgent=urgent)
        if found < WANT_MIN:
            self._purse.want(paths, max(WANT_MIN, 2 * self._spent), now)
            if self._pacer is not None and self._purse.due(now):
                self.look()
                found = self._purse.room(route, paths, now, urgent=urgent)
        return found

    def reserve(self, route: str, number: int) -> None:
        """Count messages that are handed over."""
        self._purse.reserve(route, number, self._clock())

    def release(self, route: str, number: int) -> None:
        """Count messages that come back."""
        self._purse.release(route, number)

    def wait_ms(self, route: str) -> int:
        """Tell when it is worth looking again."""
        now = self._clock()
        return max(self._purse.next_at(self._paths_of(route), now) - now, 1)

    # ---- questions

    def look(self) -> None:
        """Ask a pacer of our own, and report what happened."""
        if self._pacer is None:
            return
        now = self._clock()
        if self._purse.due(now) or now - self._asked_at >= ASK_EVERY_MS:
            ask = self._ask(now)
            answer = self._pacer(ask, now)
            if answer is not None:
                self._hear(answer, now)

    def ask(self) -> PaceAsk | None:
        """Give the next question, when it is time for one."""
        now = self._clock()
        self._trickle(now)
        if now - self._asked_at < ASK_EVERY_MS:
            return None
        return self._ask(now)

    def hear(self, answer: PaceAnswer) -> None:
        """Take an answer, and put what it gives to work."""
        self._hear(answer, self._clock())

    def _ask(self, now: int) -> PaceAsk:
        if self._delivery is not None:
            self._delivery.report()
        self._asked_at, self._spent = now, 0
        return self._purse.ask(now)

    def _hear(self, answer: PaceAnswer, now: int) -> None:
        self._heard_at = now
        if self._purse.hear(answer, now) and self._pacer is None:
            if self._delivery is not None:
                self._delivery.pump()
            self._woken()

    def _trickle(self, now: int) -> None:
        """While the pacer is away, each path may send a message now and then."""
        if now - self._heard_at > AWAY_MS:
            self._purse.trickle(now, TRICKLE_MS)

    def spent(self) -> None:
        """Count a message that started."""
        self._spent += 1


class RoutePace:
    """What paces the connections of one route."""

    def __init__(
        self,
        desk: PaceDesk,
        purse: Purse,
        name: str,
        paths: tuple[Path, ...],
        clock: Callable[[], int],
    ) -> None:
        self._desk = desk
        self._purse = purse
        self._name = name
        self._clock = clock
        self._paths = paths
        self._by_source = {path.source: path for path in paths}

    def may_start(self, source: str, message_class: int) -> bool:
        """Tell whether a message of a class may start on a connection from a source."""
        path = self._path(source)
        return self._purse.may_start(path, self._clock(), urgent=message_class <= URGENT)

    def started(self, source: str) -> None:
        """Count one that starts."""
        self._purse.spend(self._name, self._path(source), self._clock())
        self._desk.spent()

    def held_ms(self, source: str, message: Message) -> int:
        """Tell how long limits of its tenant or stream hold a message; 0: it may start, and is counted."""
        urgent = message.message_class <= URGENT
        held = self._purse.flows.held_ms(*_flow_of(source, message), self._clock(), urgent=urgent)
        if held:
            self._purse.release(self._name, 1)
        return held

    def not_sent(self, source: str, message: Message) -> None:
        """Count one that was withdrawn."""
        self._purse.unspend(self._path(source), self._clock())
        self._purse.flows.not_sent(*_flow_of(source, message))

    def connections(self, opened: Mapping[str, int], wanted: int) -> int:
        """Tell how many connections may be open, given those of each source and how many could be used in all."""
        now, total = self._clock(), 0
        for path in self._paths:
            total += self._purse.connections(path, opened.get(path.source, 0), wanted, now)
        return total

    def is_full(self, source: str, opened: int) -> bool:
        """Tell whether a source has all the connections here that it may have, or nothing to send on one."""
        path = self._by_source.get(source)
        if path is None:
            return False
        now = self._clock()
        return opened >= self._purse.may_open(path, now) or not self._purse.may_start(
            path, now, urgent=True
        )

    def opened(self, source: str) -> None:
        """Count a connection that was opened."""
        self._purse.opened(self._path(source), self._clock())

    def per_connection(self, source: str) -> int:
        """Tell after how many messages a connection is to be closed; 0: nobody says."""
        return self._purse.per_connection(self._path(source), self._clock())

    def ended(
        self,
        source: str,
        message: Message,
        outcome: AttemptOutcome,
        *,
        latency_ms: int,
        on_connection: int,
        size: int,
    ) -> int:
        """Hear what became of an attempt. Returns how long the site's greylisting wants, or 0."""
        path = self._path(source)
        age = outcome.at - message.date
        age = age // MINUTE_MS * MINUTE_MS if age >= MINUTE_MS else 0
        self._purse.flows.sent(*_flow_of(source, message), size)
        if outcome.kind == "delivered":
            told = (message.tenant, message.stream, latency_ms, size, age)
            self._purse.accepted(path, *told)
            return 0
        self._purse.heard(
            Heard(
                path_name(path),
                outcome.kind,
                outcome.cause,
                code=outcome.code,
                text=f"{outcome.enhanced} {outcome.text}".strip(),
                tenant=message.tenant,
                stream=message.stream,
                campaign=message.scenario or message.step,
                latency_ms=latency_ms,
                age_ms=age,
                on_connection=on_connection,
            )
        )
        return self._purse.retry_ms(path, self._clock())

    def refused(self, source: str, cause: str, code: int, text: str) -> None:
        """Hear that a connection was refused by a reply."""
        path = path_name(self._path(source))
        self._purse.heard(Heard(path, "refused", cause, code=code, text=text))

    def _path(self, source: str) -> Path:
        return self._by_source.get(source) or self._paths[0]


def _flow_of(source: str, message: Message) -> tuple[str, str, str, str]:
    """By what limits know a message: tenant, stream, provider as feedback names it, source."""
    domain = message.route.partition("/")[2]
    return message.tenant, message.stream, provider_of(domain), source


class PacedGate(Gate):
    """A gate that gives what the pacer allows, too.

    Args:
        inner: knows leases, and which domains are known.
        desk: knows what the pacer gave.
        queue_of: gives the route of connections for a message's route.
    """

    def __init__(self, inner: Gate, desk: PaceDesk, queue_of: Callable[[str], str]) -> None:
        self._inner = inner
        self._desk = desk
        self._queue_of = queue_of
        self._asked_at = 0

    def available(self, route: str, now: int, *, urgent: bool = False) -> int | None:
        """Tell how many messages a route may be given now."""
        self._asked_at = now
        leased = self._inner.available(route, now, urgent=urgent)
        if leased == 0:
            return 0
        room = self._desk.room(self._queue_of(route), urgent=urgent)
        return room if leased is None else min(room, leased)

    def take(self, route: str, number: int) -> None:
        """Use what is available."""
        self._inner.take(route, number)
        self._desk.reserve(self._queue_of(route), number)

    def give_back(self, route: str, number: int) -> None:
        """Return what was taken and not used."""
        self._inner.give_back(route, number)
        self._desk.release(self._queue_of(route), number)

    def next_at(self, route: str) -> int | None:
        """Give the time at which a route may be given a message again."""
        leased = self._inner.next_at(route) or 0
        return max(leased, self._asked_at + self._desk.wait_ms(self._queue_of(route)))


async def ask_pacer_for_ever(desk: PaceDesk, call: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Ask the pacer whenever it is time.

    `call` reaches the controller's `pace`; it may raise whatever a lost actor raises.
    """
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(PaceAnswer | None).decode
    while True:
        await asyncio.sleep(LOOK_S)
        ask = desk.ask()
        if ask is None:
            continue
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = decode(await call(encode(ask)))
        except (TimeoutError, VeredusError) as error:
            log.info("pacer_away", error=repr(error)[:200])
            await asyncio.sleep(AFTER_FAILURE_S)
            continue
        if answer is not None:
            desk.hear(answer)
