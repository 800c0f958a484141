"""A route: the connections to one destination, what each carries, and when more are opened."""

from __future__ import annotations

__all__ = ("Route",)

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, assert_never

import msgspec

from deliverability.injected import body_of, dsn_of, requires_tls, wants_smtputf8
from deliverability.lines import BULK
from deliverability.message.records import AttemptOutcome
from deliverability.routing.hops import Hop
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Aborted, Accepted, Closed, Ending, Lost, Rejected
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.reply import Reply
from deliverability.transport.filling import Filling, emptiest
from deliverability.transport.smtp_client import Connection, connect
from deliverability.transport.target import TEXT_MAX, Target
from engine.errors import StoreError, TransportError, UserError
from engine.histogram import grain_of
from engine.vocabulary import Message, OutcomeKind

if TYPE_CHECKING:
    from deliverability.transport.delivery import Delivery

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0


class Route:
    """The connections to one destination; their owner."""

    def __init__(self, name: str, target: Target, delivery: Delivery) -> None:
        self.name = name
        self.target = target
        self.connections: dict[Connection, int] = {}  # how many messages each has carried
        self.opening = 0
        self.sent = 0
        self.accept_ms: dict[
            int, int
        ] = {}  # from hand-over to acceptance, by grain of one per cent
        self._delivery = delivery
        self._idle: dict[Connection, float] = {}  # since when (loop time)
        self._hungry: dict[Connection, None] = {}  # room for a message, which waits for its turn
        self._due: deque[tuple[Connection, Message]] = deque()  # content awaited, likewise
        self._leaving: set[Connection] = set()
        self._waiting = 0
        self.filling = Filling()
        self._roomy = True  # whether one more connection may be allowed, as far as was asked
        self._used_at = delivery.loop.time()
        self._backoff_s = 0.0
        self._until = 0.0  # no new connection before (loop time)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sizes: dict[bytes, int] = {}  # of the content that is under way, by message
        self._pace = delivery.pace_of(name) if delivery.pace_of is not None else None
        if self._pace is not None and target.way is not None:
            target.way.is_full = self._pace.is_full

    # ---- for the delivery

    def work(self, waiting: int) -> None:
        """Put idle connections to work, and open more when there is room."""
        self._used_at = self._delivery.loop.time()
        while self._idle and waiting > 0:
            self._next_idle().kick()
            waiting -= 1
        if self._hungry:  # what came may be more urgent than what they stand in line for
            if self._urgent():
                self._feed_one()
            self._enlist()
            waiting -= len(self._hungry)
        self._roomy = True
        if self._delivery.closing or self._delivery.loop.time() < self._until:
            return
        room = self.most(waiting) - len(self.connections) - self.opening
        for _ in range(min(room, waiting)):
            self._spawn()

    def close_idle(self) -> None:
        """Close connections that had nothing to do for longer than the target likes."""
        now = self._delivery.loop.time()
        limit = now - self.target.idle_s
        if self._hungry and self._delivery.egress.urgency(self.name) is None:
            self._idle |= dict.fromkeys(self._hungry, now)  # others sent what they waited for
            self._hungry.clear()
        for connection in [c for c, since in self._idle.items() if since < limit]:
            del self._idle[connection]
            connection.quit()
        while self._idle and self._too_many():
            connection, _ = self._idle.popitem()
            self._leave(connection)

    def is_unused(self, before: float) -> bool:
        """Whether nothing is left of it, and nothing was since `before` (loop time); a pause after failures is kept."""
        busy = self.connections or self.opening or self._due or self._tasks or self._sizes
        return not busy and self._used_at < before and self._until < before

    def most(self, waiting: int | None = None) -> int:
        """Give how many connections may be open now, with so many messages waiting; None: as many as lately."""
        self._waiting = self._waiting if waiting is None else waiting
        opened = len(self.connections) + self.opening
        wanted = self.filling.wanted(opened - len(self._idle), self._waiting)
        most = self.target.connections_max
        if self.target.allowed is not None:
            most = self.target.allowed(opened, wanted)
        if self._pace is not None:
            by_source = Counter(self._source(connection) for connection in self.connections)
            most = min(most, self._pace.connections(by_source, wanted))
        return most

    def _too_many(self) -> bool:
        self._leaving &= self.connections.keys()
        return len(self.connections) + self.opening - len(self._leaving) > self.most()

    def _leave(self, connection: Connection) -> None:
        self._leaving.add(connection)
        connection.quit()

    def fail_back(self) -> None:
        """Try a better host that was down, beside those that serve."""
        way = self.target.way
        hop = way.fail_back() if way is not None and not self._delivery.closing else None
        if hop is not None:
            self._spawn(hop)

    def quit(self) -> None:
        """Close politely, after what is in flight."""
        for connection in list(self.connections):
            connection.quit()

    def abandon(self) -> None:
        """Close at once."""
        for connection in list(self.connections):
            connection.close("shutting down")
        for task in list(self._tasks):
            task.cancel()

    # ---- for connections (ConnectionOwner)

    def next_transaction(self, connection: Connection) -> Transaction | None:
        """Give the next message of this route."""
        delivery = self._delivery
        carried = self.connections.setdefault(connection, 0)
        if not carried and self.target.way is not None:
            self.target.way.began(connection)
        if delivery.closing:
            return None
        if carried >= self._carries_at_most(connection):
            connection.quit()
            return None
        limited = self.target.allowed is not None or self._pace is not None
        if limited and self._too_many():
            self._leave(connection)  # its lease went to somebody else
            return None
        if not self._may_start(connection):
            self._idle[connection] = delivery.loop.time()
            return None
        if connection.in_flight and self.filling.spreads and self._is_for_others(connection):
            return None
        if connection.session.mode == "window" and not self._may_compose(connection):
            return None
        while (message := delivery.egress.take(self.name, delivery.now())) is not None:
            try:
                transaction = self._transaction(message)
            except UserError as error:
                delivery.conclude(message, "bounced", "content", text=str(error))
                continue
            held_ms = (
                0 if self._pace is None else self._pace.held_ms(self._source(connection), message)
            )
            if held_ms:
                delivery.hold(message, held_ms)
                continue
            self.connections[connection] = carried + 1
            self.filling.in_flight += 1
            self._idle.pop(connection, None)
            self._hungry.pop(connection, None)
            if self._pace is not None:
                self._pace.started(self._source(connection))
            return transaction
        self._idle[connection] = delivery.loop.time()
        return None

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort | None:
        """Render, sign, check a last time, write the begin mark; None when others are to compose first."""
        delivery = self._delivery
        message = transaction.token
        assert isinstance(message, Message), "tokens of our transactions are messages"
        # in a window the turn was asked for before the message was taken
        if connection.session.mode != "window" and not delivery.turns.may(
            self, urgent=message.message_class < BULK
        ):
            self._due.append((connection, message))
            self._enlist()
            return None
        try:
            rendered = delivery.renderer.render(message)
        except UserError as error:
            delivery.conclude(message, "bounced", "content", text=str(error))
            return Abort("the message could not be composed")
        except StoreError as error:
            delivery.conclude(message, "deferred", "content", text=str(error))
            return Abort("the content could not be read")
        try:
            begun = delivery.egress.begin(message, delivery.now())
        except StoreError as error:  # without a mark nothing may leave
            return Abort(str(error))
        if not begun:
            return Abort("withdrawn")
        if self._pace is not None:
            self._sizes[message.message_id] = len(rendered.content)
        return Content(rendered.content, dot_free=rendered.dot_free, checked=True)

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        """Turn an ending into the outcome of the attempt."""
        delivery = self._delivery
        message = transaction.token
        assert isinstance(message, Message), "tokens of our transactions are messages"
        way = self.target.way
        self.filling.in_flight -= 1
        told = self._told(connection, message)
        match ending:
            case Accepted(reply=reply):
                self.sent += 1
                self.filling.accepted(connection.session.took_s)
                self._backoff_s = 0.0
                if way is not None:
                    way.answered(connection)
                self._measure(message)
                delivery.conclude(
                    message, "delivered", "", reply, "dot", connection=connection, told=told
                )
            case Rejected(phase=phase, reply=reply):
                if way is not None:
                    way.answered(connection)
                verdict = delivery.classify(reply.code, reply.enhanced, reply.text, phase)
                kind: OutcomeKind = "deferred" if verdict.action == "retry" else "bounced"
                delivery.conclude(
                    message, kind, verdict.cause, reply, phase, connection=connection, told=told
                )
            case Lost(phase=phase, begun=begun, reason=reason):
                if way is not None:
                    way.lost(connection, reason)
                kind = "in_doubt" if begun else "deferred"
                delivery.conclude(
                    message, kind, "connection", None, phase, reason, connection, told
                )
            case Aborted(reason=reason):
                if self._pace is not None:
                    self._pace.not_sent(self._source(connection), message)
                kind = "cancelled" if delivery.egress.withdrawn(message) else "unattempted"
                delivery.conclude(message, kind, "", text=reason)
            case _:
                assert_never(ending)
        delivery.tell()

    def _told(
        self, connection: Connection, message: Message
    ) -> Callable[[AttemptOutcome], AttemptOutcome]:
        """Give what hears an outcome before all others: it tells the pace, and adds what that knows of retries."""
        source, pace, delivery = self._source(connection), self._pace, self._delivery
        carried = self.connections.get(connection, 0)

        def told(outcome: AttemptOutcome) -> AttemptOutcome:
            if pace is None:
                return outcome
            now = delivery.now()
            since = delivery.egress.started_at(message)
            retry_ms = pace.ended(
                source,
                message,
                outcome,
                latency_ms=now - (now if since is None else since),
                on_connection=max(carried - 1, 0),
                size=self._sizes.pop(message.message_id, 0),
            )
            return msgspec.structs.replace(outcome, retry_ms=retry_ms) if retry_ms else outcome

        return told

    def _measure(self, message: Message) -> None:
        """Count how long it took from hand-over to the reply to the dot."""
        since = self._delivery.egress.handed_over_at(message)
        if since is not None:
            grain = grain_of(self._delivery.now() - since)
            self.accept_ms[grain] = self.accept_ms.get(grain, 0) + 1

    def closed(self, connection: Connection, closed: Closed) -> None:
        """Forget a connection; slow down when it never carried a message."""
        carried = self.connections.pop(connection, 0)
        if self._pace is not None and closed.reply is not None and not carried:
            self._refused(connection, closed.reply, closed.phase)
        self._idle.pop(connection, None)
        self._hungry.pop(connection, None)
        self._due = deque(one for one in self._due if one[0] is not connection)
        way = self.target.way
        elsewhere = way is not None and way.closed(connection, closed)
        if closed.by not in ("quit", "aborted") and not carried and not elsewhere:
            self._never_served(closed)
        if not self._delivery.closing:
            self._delivery.loop.call_soon(self._delivery.pump)
        elif not self._delivery.open_connections:
            self._delivery.emptied.set()

    # ---- for turns (Seat)

    def urgency(self) -> int | None:
        """Give the class of the most urgent message that could be composed now."""
        waits = self._delivery.egress.urgency(self.name) if self._hungry else None
        due = min(map(_class_of, self._due), default=None)
        if waits is None or due is None:
            return due if waits is None else waits
        return min(waits, due)

    def serve(self) -> None:
        """Let one connection compose: content that a server awaits, unless what waits is more urgent.

        The connection that was hungry last goes first where the server is quick: few connections with windows in use
        cost less than many with one message each, and whoever's window is full isn't hungry. Else the emptiest.
        """
        due = min(self._due, key=_class_of, default=None)
        waits = self._delivery.egress.urgency(self.name) if self._hungry else None
        if due is not None and (waits is None or _class_of(due) <= waits):
            self._due.remove(due)
            due[0].kick()
        elif waits is not None:
            self._feed_one()

    # ---- inside

    def _next_idle(self) -> Connection:
        """Take one of the idle connections: the emptiest, of these the one that idled least: it is the warmest."""
        connection = next(reversed(self._idle))
        if self.filling.spreads:
            connection = emptiest(reversed(self._idle), connection.in_flight) or connection
        del self._idle[connection]
        return connection

    def _feed_one(self) -> None:
        """Let a connection that stands in line take a message, or an idle one that is emptier.

        One leaves the line each time that no message is taken, so it comes to an end.
        """
        if not self.filling.spreads and not self._urgent():
            self._hungry.popitem()[0].kick()
            return
        last = next(reversed(self._hungry))
        hungry = emptiest(reversed(self._hungry), last.in_flight) or last
        del self._hungry[hungry]
        emptier = self._emptier(hungry, self._idle)
        if emptier is None:
            hungry.kick()
            return
        del self._idle[emptier]
        before = self.filling.in_flight
        emptier.kick()
        if self.filling.in_flight > before:
            self._hungry.setdefault(hungry)
        else:
            self._idle.setdefault(hungry, self._delivery.loop.time())

    def _is_for_others(self, connection: Connection) -> bool:
        """Whether an emptier connection should take what waits; then this one stands in line.

        Where there is none, one more is opened if that is allowed. What is at hand doesn't wait for it: it may never
        come about.
        """
        if self._delivery.egress.urgency(self.name) is None:
            return False
        if self._emptier(connection, self._idle) or self._emptier(connection, self._hungry):
            self._hungry[connection] = None
            self._enlist()
            return True
        if self._roomy and self._delivery.loop.time() >= self._until:
            self._roomy = self.most() > len(self.connections) + self.opening
            if self._roomy:
                self._spawn()
        return False

    def _emptier(self, connection: Connection, others: Iterable[Connection]) -> Connection | None:
        """Find one with fewer mails in flight, from the same source where a pace counts by source."""
        if self._pace is not None:
            source = self._source(connection)
            others = (one for one in others if self._source(one) == source)
        return emptiest(others, connection.in_flight)

    def _source(self, connection: Connection) -> str:
        """Name the source of a connection; "" where the system chose."""
        return self.target.way.path(connection)[0] if self.target.way is not None else ""

    def _may_start(self, connection: Connection) -> bool:
        """Whether the pace lets a message start on a connection."""
        if self._pace is None:
            return True
        urgency = self._delivery.egress.urgency(self.name)
        return urgency is not None and self._pace.may_start(self._source(connection), urgency)

    def _carries_at_most(self, connection: Connection) -> int:
        """Give after how many messages a connection is closed."""
        most = self.target.messages_per_connection
        paced = self._pace.per_connection(self._source(connection)) if self._pace is not None else 0
        return min(most, paced) if paced else most

    def _refused(self, connection: Connection, reply: Reply, phase: str) -> None:
        assert self._pace is not None, "the caller asked"
        verdict = self._delivery.classify(reply.code, reply.enhanced, reply.text, phase)
        text = f"{reply.enhanced} {reply.text}".strip()
        self._pace.refused(self._source(connection), verdict.cause, reply.code, text)

    def _may_compose(self, connection: Connection) -> bool:
        """Whether a connection may take a message at once; if not, it stands in line, or has nothing to do."""
        if self._delivery.egress.urgency(self.name) is None:
            self._idle[connection] = self._delivery.loop.time()
            return False
        if self._delivery.turns.may(self, urgent=self._urgent()):
            return True
        self._hungry[connection] = None
        self._enlist()
        return False

    def _urgent(self) -> bool:
        """Whether something waits that goes before bulk."""
        urgency = self._delivery.egress.urgency(self.name)
        return urgency is not None and urgency < BULK

    def _enlist(self) -> None:
        urgency = self.urgency()
        if urgency is not None:
            self._delivery.turns.enlist(self, urgency)

    def _transaction(self, message: Message) -> Transaction:
        return Transaction(
            token=message,
            reverse_path=self._delivery.renderer.reverse_path(message),
            forward_path=message.address.encode(),
            body=body_of(message, self.target.body),
            smtputf8=wants_smtputf8(message),
            require_tls=requires_tls(message),
            dsn=dsn_of(message),
        )

    def _spawn(self, trial: Hop | None = None) -> None:
        self.opening += 1
        task = self._delivery.loop.create_task(self._open(trial))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, trial: Hop | None = None) -> None:
        target = self.target
        try:
            if target.way is not None:
                connection = await target.way.connect(self, trial)
            else:
                connection = await connect(
                    self,
                    target.endpoint,
                    target.config,
                    timeouts=target.timeouts,
                    context=target.tls,
                )
        except TransportError as error:
            self.opening -= 1
            if self._delivery.closing and not self._delivery.open_connections:
                self._delivery.emptied.set()
            if trial is not None:
                return  # those that serve go on
            self._slow_down()
            if not self.connections and not self.opening:
                self._fail("connection", 0, "", error.reason, error.phase)
        else:
            self.opening -= 1
            if self._pace is not None:
                self._pace.opened(self._source(connection))
            if not connection.session.closed:  # it counts while it shakes hands, too
                self.connections.setdefault(connection, 0)
                if self._delivery.closing:
                    connection.quit()

    def _never_served(self, closed: Closed) -> None:
        """The server would not have us at all: fewer connections for a while, or nobody there."""
        self._slow_down()
        if self.connections or self.opening:
            return
        reply = closed.reply
        if reply is None:
            self._fail("connection", 0, "", closed.reason, closed.phase)
        else:
            verdict = self._delivery.classify(reply.code, reply.enhanced, reply.text, closed.phase)
            self._fail(verdict.cause, reply.code, reply.enhanced, reply.text, closed.phase)

    def _fail(self, cause: str, code: int, enhanced: str, text: str, phase: str) -> None:
        at = self._delivery.wall_ms()
        outcome = AttemptOutcome(0, "deferred", cause, code, enhanced, text[:TEXT_MAX], phase, at)
        self._delivery.egress.fail_route(self.name, outcome)
        self._delivery.tell()

    def _slow_down(self) -> None:
        if self._delivery.loop.time() < self._until:
            return  # connections that fail together are one failure
        self._backoff_s = min(max(self._backoff_s * 2, BACKOFF_FIRST_S), BACKOFF_MAX_S)
        self._until = self._delivery.loop.time() + self._backoff_s
        self._delivery.loop.call_later(self._backoff_s, self._delivery.pump)


def _class_of(due: tuple[Connection, Message]) -> int:
    return due[1].message_class
