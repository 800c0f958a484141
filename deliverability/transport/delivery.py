"""Drives an egress over real connections: opens them, feeds them, and turns endings into outcomes.

One `Delivery` serves one egress in one event loop; each `Route` (`transport.route`) owns the connections to one
destination. Where it leads, and what may be used of it, the composition root says by `Target` (`transport.target`).
Rendering and signing happen when the content is due, a slice of a turn of the loop for all routes together
(`transport.turns`).
"""

from __future__ import annotations

__all__ = ("Delivery",)

import asyncio
import contextlib
import time
from collections.abc import Callable

from deliverability.egress import Egress
from deliverability.message.records import HELD, AttemptOutcome
from deliverability.smtp.reply import Reply
from deliverability.transport.paced import Pace
from deliverability.transport.route import Route
from deliverability.transport.smtp_client import Connection
from deliverability.transport.target import TEXT_MAX, Attempted, Classifier, Renderer, Target
from deliverability.transport.turns import Turns
from engine.errors import StoreError
from engine.vocabulary import Message, OutcomeKind

ROUTES_KEPT = 1000
"""Routes that are remembered, used or not."""
FORGET_S = 300.0
"""How long a route beyond them is remembered after its last message."""


class Delivery:
    """The routes of one egress.

    Args:
        egress: what to send, and who hears of it.
        renderer: makes content.
        target_of: resolves a route to its target, or to the outcome of all that waits for it.
        classify: tells what a reply means.
        wall_ms: wall or log time in ms, for outcomes.
        concluded: called when there are new outcomes.
        look: called at each tick, for whoever looks after ways.
        ended: called when all connections are closed.
    """

    def __init__(
        self,
        egress: Egress,
        renderer: Renderer,
        target_of: Callable[[str], Target | AttemptOutcome],
        classify: Classifier,
        wall_ms: Callable[[], int],
        concluded: Callable[[], None],
        look: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.egress = egress
        self.renderer = renderer
        self.classify = classify
        self.wall_ms = wall_ms
        self._concluded = concluded
        self._telling = False
        self.loop = asyncio.get_running_loop()
        self.closing = False
        self.attempted: Attempted | None = None
        """Hears of each transaction that came to an end, with its connection."""
        self.pace_of: Callable[[str], Pace] | None = None
        """Gives what paces a route; None: nothing does."""
        self.ledger_failures = 0  # outcomes that the ledger couldn't keep
        self.emptied = asyncio.Event()  # set when the last connection closes while closing
        self.routes: dict[str, Route] = {}
        self.routes_kept, self.forget_s = ROUTES_KEPT, FORGET_S
        self.forgotten_sent = 0  # messages accepted on routes that are forgotten
        self.turns = Turns(self.loop.call_soon, time.perf_counter)
        self._target_of = target_of
        self._look = look
        self._ended = ended

    def report(self) -> None:
        """Let whoever leases connections hear how many there are."""
        waiting = dict(self.egress.waiting())
        for name, route in self.routes.items():
            route.most(waiting.get(name, 0))

    def pump(self) -> None:
        """See that each route with waiting messages has connections at work."""
        for name, waiting in list(self.egress.waiting()):
            route = self.routes.get(name)
            if route is None:
                target = self._target_of(name)
                if isinstance(target, AttemptOutcome):
                    self.egress.fail_route(name, target)
                    self.tell()
                    continue
                route = self.routes[name] = Route(name, target, self)
            route.work(waiting)

    def tick(self) -> None:
        """Look after time: what waits too long goes back, connections that idle too long are closed."""
        self.egress.expire(self.now())
        self._look()
        for route in self.routes.values():
            route.close_idle()
            route.fail_back()
        if len(self.routes) > self.routes_kept:
            self._forget()
        self.pump()
        self.tell()

    def _forget(self) -> None:
        """Let go of routes that nobody used for a while: a sender of the world meets a hundred thousand sites a day."""
        before = self.loop.time() - self.forget_s
        for route in [one for one in self.routes.values() if one.is_unused(before)]:
            del self.routes[route.name]
            self.forgotten_sent += route.sent

    async def close(self, grace_s: float = 10.0) -> None:
        """Finish what is in flight, then close all connections."""
        self.closing = True
        for route in self.routes.values():
            route.quit()
        if self.open_connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.emptied.wait(), grace_s)
        for route in self.routes.values():
            route.abandon()
        self._ended()

    def tell(self) -> None:
        """Say that there are new outcomes: once for all of this turn of the loop."""
        if not self._telling:
            self._telling = True
            self.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        self._concluded()

    @property
    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        return sum(len(route.connections) + route.opening for route in self.routes.values())

    def sent(self) -> dict[str, int]:
        """Count accepted messages by route; "": on routes that are forgotten."""
        found = {name: route.sent for name, route in self.routes.items()}
        if self.forgotten_sent:
            found[""] = self.forgotten_sent
        return found

    def now(self) -> int:
        """The egress's monotonic clock, in ms."""
        return int(self.loop.time() * 1000)

    def conclude(
        self,
        message: Message,
        kind: OutcomeKind,
        cause: str,
        reply: Reply | None = None,
        phase: str = "",
        text: str = "",
        connection: Connection | None = None,
        told: Callable[[AttemptOutcome], AttemptOutcome] = lambda outcome: outcome,
    ) -> None:
        """Give an attempt its outcome; `told` hears it first, and may add to it."""
        outcome = AttemptOutcome(
            message.attempt,
            kind,
            cause,
            code=reply.code if reply else 0,
            enhanced=reply.enhanced if reply else "",
            text=(reply.text if reply else text)[:TEXT_MAX],
            phase=phase,
            at=self.wall_ms(),
            host=connection.endpoint.tls_name if connection is not None else "",
            source=connection.endpoint.source if connection is not None else "",
        )
        outcome = told(outcome)
        if self.attempted is not None:
            self.attempted(message, outcome, connection)
        try:
            self.egress.conclude(message, outcome)
        except StoreError:
            # the outcome is told all the same; only a crash before its confirmation would make it a doubt
            self.ledger_failures += 1

    def hold(self, message: Message, retry_ms: int) -> None:
        """Give back a message that a limit of its tenant or stream holds for so long; it was no attempt."""
        outcome = AttemptOutcome(
            message.attempt, "unattempted", HELD, at=self.wall_ms(), retry_ms=retry_ms
        )
        try:
            self.egress.conclude(message, outcome)
        except StoreError:
            self.ledger_failures += 1
