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
from deliverability.message import AttemptOutcome
from deliverability.pacing.lane import Lane, LaneOptions
from deliverability.pacing.signals import Cause, cause_of_reply
from deliverability.twin.config import TwinConfig
from deliverability.twin.twin import Twin
from deliverability.twin.verdict import Verdict
from engine.vocabulary import Message, OutcomeKind

SOURCE: Final = "192.0.2.25"
"""The one source that mail comes from, as twins see it."""

_LATENCY_MS: Final = 200


class _Queue(msgspec.Struct):
    """Messages that wait for one provider, and its pace."""

    lane: Lane
    waiting: list[tuple[int, int, int, Life, bytes]]
    day: int = 0
    today: int = 0
    wakes_at: int = -1


class Providers:
    """The post of a crowd.

    Args:
        twin: what the providers are like.
        names: gives the provider of a domain.
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
        self._longest: dict[str, int] = {}
        self.wakes: list[tuple[int, str]] = []

    @property
    def longest(self) -> dict[str, int]:
        """The longest queue of each provider."""
        return self._longest

    def ready(self, life: Life, message_id: bytes, domain: str, order: int) -> int:
        """Take a message into the queue of its provider."""
        served = self._twin.provider_of(domain)
        name = served.name if served else domain
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(Lane(LaneOptions(), self._begins), [])
        self._number += 1
        heapq.heappush(queue.waiting, (order, life.number, self._number, life, message_id))
        self._longest[name] = max(self._longest.get(name, 0), len(queue.waiting))
        if queue.wakes_at < 0:
            self._wake(name, queue, life.now)
        return -1

    def pump(self, now: int, name: str) -> list[Life]:
        """Give credit to whoever may go now; gives those who have it."""
        queue = self._queues[name]
        queue.wakes_at = -1
        granted: list[Life] = []
        while queue.waiting:
            wait_ms = self._wait_ms(queue, now)
            if wait_ms > 0:
                self._wake(name, queue, now + wait_ms)
                break
            order, _, _, life, message_id = heapq.heappop(queue.waiting)
            queue.lane.sent(now, fresh=order >= now)
            queue.today += 1
            life.grant(now, message_id)
            granted.append(life)
            if queue.waiting:
                # One at a time: the reply to this one may change the pace of the next.
                self._wake(name, queue, now)
            break
        return granted

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
            self._hear(self._queues[served.name].lane, outcome, now)
        return outcome

    def _hear(self, lane: Lane, outcome: AttemptOutcome, now: int) -> None:
        text = f"{outcome.enhanced} {outcome.text}"
        cause = (
            Cause.ACCEPTED if outcome.kind == "delivered" else cause_of_reply(outcome.code, text)
        )
        lane.answered(cause, now, latency_ms=_LATENCY_MS)

    def _wait_ms(self, queue: _Queue, now: int) -> int:
        day = now // DAY_MS
        if day != queue.day:
            queue.day, queue.today = day, 0
        if self._plan:
            volume = self._plan[min(max(day - self._first_day, 0), len(self._plan) - 1)]
            if queue.today >= volume:
                return (day + 1) * DAY_MS - now
        return queue.lane.wait_ms(now)

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
