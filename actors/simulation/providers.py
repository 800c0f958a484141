"""Providers in virtual time: the twins decide, the pacing loop of production says when, the warm-up plan how many.

The same reply leads to the same outcome as in a worker: its cause by the production classifier, its retry by the
message machine. No socket, no rendering: the twins' answers depend on addresses, times and counts alone.
"""

from __future__ import annotations

__all__ = ("SOURCE", "Providers")

import heapq
from typing import Final

import msgspec

from actors.simulation.counting import DAY_MS
from actors.simulation.life import Life
from actors.worker.assembly import classify
from deliverability.message.records import AttemptOutcome
from deliverability.pacing.lane import Lane, LaneOptions
from deliverability.pacing.signals import Cause, cause_of_reply
from deliverability.twin.config import TwinConfig
from deliverability.twin.twin import Twin
from deliverability.twin.verdict import Verdict
from engine.vocabulary import Message, OutcomeKind

SOURCE: Final = "192.0.2.25"
"""The one source that mail comes from, as twins see it."""

_LATENCY_MS: Final = 200
_LIFE_MS: Final = 30 * DAY_MS  # whatever waited so long has expired: it gets credit, and ends


_Waiting = tuple[int, int, int, Life, bytes]


class _Queue(msgspec.Struct):
    """Messages that wait for one provider, those never tried and those tried before, and its pace."""

    lane: Lane
    fresh: list[_Waiting]
    again: list[_Waiting]
    day: int = 0
    today: int = 0
    wakes_at: int = -1


class Providers:
    """The post of a crowd.

    Args:
        twin: what the providers are like.
        plan: the warm-up plan: mails a day from the first day on; () for none.
        begins: the first day, ms.
    """

    def __init__(self, twin: TwinConfig, plan: tuple[int, ...], begins: int) -> None:
        self._twin = Twin(twin)
        self._plan = plan
        self._first_day = begins // DAY_MS
        self._begins = begins
        self._queues: dict[str, _Queue] = {}
        self._number = 0
        self._tried: dict[bytes, int] = {}  # when a message that was deferred was first tried
        self.wakes: list[tuple[int, str]] = []

    def ready(self, life: Life, message_id: bytes, domain: str, order: int) -> int:
        """Take a message into the queue of its provider."""
        served = self._twin.provider_of(domain)
        name = served.name if served else domain
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(Lane(LaneOptions(), self._begins), [], [])
        self._number += 1
        waiting = queue.again if message_id in self._tried else queue.fresh
        heapq.heappush(waiting, (order, life.number, self._number, life, message_id))
        if queue.wakes_at < 0:
            self._wake(name, queue, life.now)
        return -1

    def pump(self, now: int, name: str) -> Life | None:
        """Give credit to whoever may go now, and tell whose it is.

        To one at a time: the reply may change the pace of the next. What was tried before goes first, since a provider
        that greylists wants to see it, and new mail is held meanwhile.
        """
        queue = self._queues[name]
        queue.wakes_at = -1
        waits = []
        for waiting, fresh in ((queue.again, False), (queue.fresh, True)):
            if not waiting:
                continue
            wait_ms = self._wait_ms(queue, now, fresh=fresh)
            if wait_ms > 0 and now - waiting[0][0] < _LIFE_MS:
                waits.append(wait_ms)
                continue
            _, _, _, life, message_id = heapq.heappop(waiting)
            queue.lane.sent(now, fresh=fresh)
            queue.today += 1
            life.grant(now, message_id)
            if queue.fresh or queue.again:
                self._wake(name, queue, now)
            return life
        if waits:
            self._wake(name, queue, now + min(waits))
        return None

    def attempt(self, life: Life, message: Message) -> AttemptOutcome:
        """Ask the twin, on a connection of its own, and hear what the reply means."""
        now, twin = life.now, self._twin
        served = twin.provider_of(message.address.rpartition("@")[2])
        connection, verdict = twin.opened(now, SOURCE, served.name if served else "")
        reverse_path = f"{message.message_id.hex()}@bounces.shop.example"
        phase = "connect"
        if not verdict.refuses:
            phase, verdict = "mail", twin.mail(now, connection, reverse_path)
        if not verdict.refuses:
            phase, verdict = "rcpt", twin.rcpt(now, connection, message.address)
        if not verdict.refuses:
            phase, verdict = "data", twin.data(now, connection)
        if not verdict.refuses:
            phase, (verdict, _) = "dot", twin.dot(now, connection, signed=True)
        twin.closed(connection)
        outcome = _outcome(message, phase, verdict, now)
        if served is not None and served.name in self._queues:
            self._hear(self._queues[served.name].lane, message.message_id, outcome, now)
        return outcome

    def _hear(self, lane: Lane, message_id: bytes, outcome: AttemptOutcome, now: int) -> None:
        """Let the pacing loop learn from a reply, and remember when a message was first tried."""
        text = f"{outcome.enhanced} {outcome.text}"
        cause = (
            Cause.ACCEPTED if outcome.kind == "delivered" else cause_of_reply(outcome.code, text)
        )
        tried = self._tried.get(message_id, now)
        lane.answered(cause, now, latency_ms=_LATENCY_MS, age_ms=now - tried)
        if outcome.kind == "deferred":
            self._tried[message_id] = tried
        else:
            self._tried.pop(message_id, None)

    def _wait_ms(self, queue: _Queue, now: int, *, fresh: bool) -> int:
        day = now // DAY_MS
        if day != queue.day:
            queue.day, queue.today = day, 0
        if self._plan:
            volume = self._plan[min(max(day - self._first_day, 0), len(self._plan) - 1)]
            if queue.today >= volume:
                return (day + 1) * DAY_MS - now
        return queue.lane.wait_ms(now, fresh=fresh)

    def _wake(self, name: str, queue: _Queue, at: int) -> None:
        queue.wakes_at = at
        heapq.heappush(self.wakes, (at, name))


def _outcome(message: Message, phase: str, verdict: Verdict, now: int) -> AttemptOutcome:
    """Turn a verdict into the outcome that a worker would make of it."""
    reply = verdict.reply
    if reply is None or (verdict.closes and reply.code < 400):
        kind: OutcomeKind = "in_doubt" if phase == "dot" else "deferred"
        return AttemptOutcome(message.attempt, kind, "connection", phase=phase, at=now)
    if reply.code < 400:
        return AttemptOutcome(message.attempt, "delivered", "", reply.code, at=now, phase=phase)
    meant = classify(reply.code, reply.enhanced, reply.text, phase)
    return AttemptOutcome(
        message.attempt,
        "deferred" if meant.action == "retry" else "bounced",
        meant.cause,
        reply.code,
        reply.enhanced,
        reply.text[:200],
        phase,
        now,
    )
