"""The mail servers of the world: they accept, defer, bounce, lose connections before and after the dot, or go silent.

What they accepted is the truth that everything else is compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from deliverability.message.records import AttemptOutcome
from engine.vocabulary import Message, OutcomeKind
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.life import Life

REPLY_TIMEOUT_MS = 30_000


class Sink:
    """All destinations, and what they have accepted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accepted: Counter[bytes] = Counter()
        self.held: set[bytes] = set()  # accepted messages of streams whose doubt is held
        self.open: Counter[str] = Counter()  # connections by domain, over all lives
        self.slow_until = 0
        self.silent_until = 0
        self.down_until = 0

    def accept(self, message: Message) -> None:
        """Take a message for good."""
        self.accepted[message.message_id] += 1
        self.world.tell(f"accepted {message.message_id.hex()[:12]} attempt {message.attempt}")
        if self.accepted[message.message_id] > 1:
            self.world.reach("a duplicate arrived")


class Smtp:
    """The sending side of one life: what `transport.delivery` does with sockets, on virtual time."""

    def __init__(self, life: Life, sink: Sink) -> None:
        self._life = life
        self._sink = sink
        self._world = sink.world
        self._open: Counter[str] = Counter()
        self.in_the_air = 0  # begin marks without an outcome

    def pump(self) -> None:
        """Put messages that wait on connections, as many as the lease allows."""
        life, world = self._life, self._world
        for route, waiting in list(life.egress.waiting()):
            domain = route.partition("/")[2]
            if world.now < self._sink.down_until and world.chance.random() < 0.3:
                world.reach("smtp: nobody there")
                life.egress.fail_route(route, AttemptOutcome(0, "deferred", "connection"))
                life.wake(25)
                continue
            room = life.lease(domain).connections - self._open[route]
            for _ in range(min(room, waiting)):
                message = life.egress.take(route, life.mono())
                if message is None:
                    break
                self._start(message, route, domain)

    def _start(self, message: Message, route: str, domain: str) -> None:
        self._open[route] += 1
        self._sink.open[domain] += 1
        chance = self._world.chance
        delay = 2 + int(chance.random() * 30)
        if self._world.now < self._sink.slow_until:
            self._world.reach("smtp: slow")
            delay = chance.choice((2_000, 20_000, 61_000))

        def content() -> None:
            self._content(message, lambda: self._end(route, domain))

        self._world.after(delay, lambda: self._life.do(content))

    def _end(self, route: str, domain: str) -> None:
        self._open[route] -= 1
        self._sink.open[domain] -= 1

    def buried(self) -> None:
        """The process died: its connections are gone."""
        for route, number in self._open.items():
            self._sink.open[route.partition("/")[2]] -= number
        self._open.clear()

    def _content(self, message: Message, end: Callable[[], None]) -> None:
        life, world = self._life, self._world
        if world.chance.random() < 0.02:
            world.reach("smtp: lost before the mark")
            end()
            self._conclude(message, "deferred", "connection")
            return
        if not life.egress.begin(message, life.mono()):
            world.reach("egress: withdrawn at the last check")
            end()
            self._conclude(
                message, "cancelled" if life.egress.withdrawn(message) else "unattempted"
            )
            return
        self.in_the_air += 1
        life.marks += 1
        self._dot(message, end)

    def _dot(self, message: Message, end: Callable[[], None]) -> None:
        """The content is out: from here on the other side alone decides."""
        world, sink, life = self._world, self._sink, self._life
        draw = world.chance.random()
        there, back = 1 + int(draw * 50), 1 + int(world.chance.random() * 50)
        kind: OutcomeKind = "delivered"
        cause = ""
        silent = world.now < sink.silent_until
        draw = world.chance.random()
        if draw < 0.10:
            kind, cause = "deferred", world.chance.choice(("greylisted", "sending-too-fast", "x"))
        elif draw < 0.14:
            kind, cause = "bounced", "unknown-user"
        arrives = kind == "delivered" and not (silent and draw < 0.5)
        if arrives:
            world.after(there, lambda: sink.accept(message))
        lost = silent or draw > 0.97
        if lost:
            world.reach("smtp: reply lost" if arrives else "smtp: silent")
            kind, cause, back = "in_doubt", "connection", REPLY_TIMEOUT_MS

        def reply() -> None:
            self.in_the_air -= 1
            end()
            if lost:
                life.cluster.in_the_air += 1
            self._conclude(message, kind, cause)

        world.after(there + back, lambda: life.do(reply))

    def _conclude(self, message: Message, kind: OutcomeKind, cause: str = "") -> None:
        outcome = AttemptOutcome(message.attempt, kind, cause, at=self._world.now)
        self._life.egress.conclude(message, outcome)
        self.pump()
        self._life.wake(25)
