"""The bench of pacing: the loop against an oracle that knows the rules, and against the same sender without it.

Everything is simulated in virtual time, without sockets: a backlog that outlasts the run, one source, one provider
(`bench.pacing_twins`), connections with handshake and latency. Three senders meet fresh copies of each twin:

- the *loop*: `deliverability.pacing.lane`;
- the *oracle*: it asks the twin's rules when sending does no harm, and where that isn't best (reputation), the best
  of several constant rates;
- the *plain* sender: KumoMTA's shipped limits for that provider, its product defaults where it ships none, and the
  same retry curves.

`pacing_share_of_oracle` is delivered by the loop over delivered by the oracle; `pacing_deferral_ratio` is deferrals
per delivered message of the loop over those of the plain sender (refused connections count as deferrals);
`pacing_eta_coverage` is how often the stated 80 % interval of a waiting message held the truth.
"""

from __future__ import annotations

__all__ = ("Outcome", "Result", "TwinReport", "measure_twin", "run")

import heapq
import itertools
import random
from typing import Protocol

import msgspec

from bench.pacing_twins import BEGIN_MS, HOUR_MS, MINUTE_MS, Attempt, Twin, make_twins
from deliverability.pacing.eta import Eta, EtaModel
from deliverability.pacing.lane import Lane, LaneOptions
from deliverability.pacing.retry import burns_attempt, next_attempt
from deliverability.pacing.signals import Cause, cause_of_reply

_LIFE_MS = 7 * 24 * HOUR_MS
_REOPEN_MS = MINUTE_MS


class Result(msgspec.Struct, frozen=True):
    """One figure of the bench: mean over the twins, worst and best twin."""

    name: str
    value: float
    unit: str
    min: float
    max: float
    ceiling: float
    ratio: float


class Outcome(msgspec.Struct):
    """What one sender achieved with one twin; `curve` has delivered messages by hour."""

    delivered: int = 0
    deferrals: int = 0
    estimates: int = 0
    estimates_held: int = 0
    curve: list[int] = msgspec.field(default_factory=list)

    def deferrals_per_delivered(self) -> float:
        """Deferrals for each delivered message."""
        return self.deferrals / max(1, self.delivered)


class TwinReport(msgspec.Struct, frozen=True):
    """All three senders with one twin."""

    twin: str
    loop: Outcome
    oracle: Outcome
    plain: Outcome
    share: float
    deferral_ratio: float


class Sender(Protocol):
    """What decides when to send."""

    def wait_ms(self, now_ms: int, attempt: Attempt, *, fresh: bool) -> int:
        """Return how long the next message waits."""
        ...

    def sent(self, now_ms: int, *, fresh: bool) -> None:
        """Note that it goes."""
        ...

    def connections(self, now_ms: int) -> int:
        """Return how many connections to have."""
        ...

    def messages_per_connection(self) -> int:
        """Return after how many messages to close."""
        ...

    def answered(
        self, cause: Cause, now_ms: int, *, latency_ms: int, age_ms: int, on_connection: int
    ) -> None:
        """Hear a reply."""
        ...

    def refused(self, cause: Cause, now_ms: int, open_connections: int) -> None:
        """Hear that a connection was refused."""
        ...

    def connected(self, open_connections: int) -> None:
        """Hear how many connections are open."""
        ...

    def retry_at(self, cause: Cause, failures: int, now_ms: int, draw: float) -> int:
        """Return when a deferred message may be tried again."""
        ...


class LoopSender:
    """The product's lane."""

    def __init__(self, now_ms: int) -> None:
        self.lane = Lane(LaneOptions(), now_ms)

    def wait_ms(self, now_ms: int, attempt: Attempt, *, fresh: bool) -> int:
        return self.lane.wait_ms(now_ms, fresh=fresh)

    def sent(self, now_ms: int, *, fresh: bool) -> None:
        self.lane.sent(now_ms, fresh=fresh)

    def connections(self, now_ms: int) -> int:
        return self.lane.connection_target(now_ms)

    def messages_per_connection(self) -> int:
        return self.lane.messages_per_connection()

    def answered(
        self, cause: Cause, now_ms: int, *, latency_ms: int, age_ms: int, on_connection: int
    ) -> None:
        self.lane.answered(
            cause, now_ms, latency_ms=latency_ms, age_ms=age_ms, on_connection=on_connection
        )

    def refused(self, cause: Cause, now_ms: int, open_connections: int) -> None:
        self.lane.connection_refused(cause, now_ms, open_connections)

    def connected(self, open_connections: int) -> None:
        self.lane.connected(open_connections)

    def retry_at(self, cause: Cause, failures: int, now_ms: int, draw: float) -> int:
        if not burns_attempt(cause):
            return now_ms  # back to the head of the queue: the lane paces it
        learned_ms = self.lane.greylist.delay_ms() if cause is Cause.GREYLIST else 0
        return _retry_at(cause, failures, now_ms, draw, learned_ms)


_SHIPPED = {"google": (5, 50), "office365": (5, 50), "outlook": (5, 50), "yahoo": (10, 20)}
_PRODUCT_DEFAULT = (32, 1_024)  # connections, messages on each


class PlainSender:
    """Fixed limits. KumoMTA policy-extras/shaping.toml for its providers, else the product's defaults."""

    def __init__(self, provider: str) -> None:
        self._connections, self._messages = _SHIPPED.get(provider, _PRODUCT_DEFAULT)

    def wait_ms(self, now_ms: int, attempt: Attempt, *, fresh: bool) -> int:
        return 0

    def sent(self, now_ms: int, *, fresh: bool) -> None:
        pass

    def connections(self, now_ms: int) -> int:
        return self._connections

    def messages_per_connection(self) -> int:
        return self._messages

    def answered(
        self, cause: Cause, now_ms: int, *, latency_ms: int, age_ms: int, on_connection: int
    ) -> None:
        pass

    def refused(self, cause: Cause, now_ms: int, open_connections: int) -> None:
        pass

    def connected(self, open_connections: int) -> None:
        pass

    def retry_at(self, cause: Cause, failures: int, now_ms: int, draw: float) -> int:
        return _retry_at(cause, failures, now_ms, draw, 0)


class OracleSender(PlainSender):
    """Knows the rules: waits exactly as long as they want."""

    def __init__(self, twin: Twin, per_hour: float = 0.0) -> None:
        super().__init__("")
        self.twin = twin
        self.interval_ms = HOUR_MS / per_hour if per_hour else 0.0
        self.next_ms = 0.0

    def wait_ms(self, now_ms: int, attempt: Attempt, *, fresh: bool) -> int:
        clear_ms = self.twin.clear_in_ms(now_ms, attempt)
        return max(clear_ms, int(self.next_ms - now_ms))

    def sent(self, now_ms: int, *, fresh: bool) -> None:
        self.next_ms = max(self.next_ms, now_ms) + self.interval_ms

    def connections(self, now_ms: int) -> int:
        return self.twin.oracle_connections

    def messages_per_connection(self) -> int:
        return self.twin.oracle_messages_per_connection


def _retry_at(cause: Cause, failures: int, now_ms: int, draw: float, learned_ms: int) -> int:
    decision = next_attempt(
        cause,
        failures,
        now_ms=now_ms,
        accepted_ms=0,
        expires_ms=now_ms + _LIFE_MS,
        draw=draw,
        learned_ms=learned_ms,
    )
    return decision.due_ms


class _Connection(msgspec.Struct):
    accepted: int = 0


class _Message(msgspec.Struct):
    number: int
    first_ms: int = -1
    failures: int = 0


class Simulation:
    """One sender, one twin, virtual time from `BEGIN_MS` on."""

    def __init__(self, twin: Twin, sender: Sender, hours: int, backlog: int, seed: int) -> None:
        self.twin, self.sender, self.backlog = twin, sender, backlog
        self.now_ms = BEGIN_MS
        self.end_ms = BEGIN_MS + hours * HOUR_MS
        self.chance = random.Random(f"{seed} {twin.name}")
        self.outcome = Outcome(curve=[0] * hours)
        self._events: list[tuple[int, int, str, object]] = []
        self._order = itertools.count()
        self._retries: list[tuple[int, int, _Message]] = []
        self._fresh = 0
        self._idle: list[_Connection] = []
        self._open = self._opening = 0
        self._reopen_ms = 0
        self._wake_ms = 0
        self.etas: list[tuple[int, int, Eta]] = []
        self.eta_model = EtaModel()

    def run(self) -> Outcome:
        """Run to the end, and return what was achieved."""
        self._wake(0)
        if isinstance(self.sender, LoopSender):
            self._at(self.now_ms + HOUR_MS, "ask", None)
        while self._events:
            self.now_ms, _, kind, what = heapq.heappop(self._events)
            if self.now_ms >= self.end_ms:
                break
            if kind == "wake":
                if self.now_ms != self._wake_ms:
                    continue  # an earlier one took its place
                self._wake_ms = 0
            elif kind == "ask":
                self._ask()
            elif kind == "opened":
                self._opened()
            elif kind == "answer":
                assert isinstance(what, tuple)
                self._answer(*what)
            self._pump()
        return self.outcome

    def _at(self, when_ms: int, kind: str, what: object) -> None:
        heapq.heappush(self._events, (when_ms, next(self._order), kind, what))

    def _wake(self, wait_ms: int) -> None:
        when_ms = self.now_ms + max(1, wait_ms)
        if not self._wake_ms or when_ms < self._wake_ms:
            self._wake_ms = when_ms
            self._at(when_ms, "wake", None)

    def _next_message(self) -> _Message | None:
        if self._retries and self._retries[0][0] <= self.now_ms:
            return self._retries[0][2]
        return _Message(self._fresh) if self._fresh < self.backlog else None

    def _pump(self) -> None:
        """Open, close and send whatever may be now."""
        target = self.sender.connections(self.now_ms)
        while self._idle and self._open > target:
            self._idle.pop()
            self._close()
        while True:
            message = self._next_message()
            if message is None:
                if self._retries:
                    self._wake(self._retries[0][0] - self.now_ms)
                return
            fresh = message.first_ms < 0
            on_connection = self._idle[-1].accepted if self._idle else 0
            attempt = Attempt(message.number, on_connection, self._open)
            wait_ms = self.sender.wait_ms(self.now_ms, attempt, fresh=fresh)
            if wait_ms > 0:
                self._wake(wait_ms)
                if self._retries and self._retries[0][0] > self.now_ms:
                    self._wake(self._retries[0][0] - self.now_ms)
                return
            if not self._idle:
                self._open_one(target)
                return
            self._send(message, attempt, fresh=fresh)

    def _open_one(self, target: int) -> None:
        """Open what is missing, if nothing is on its way that will be idle."""
        if self.now_ms < self._reopen_ms:
            self._wake(self._reopen_ms - self.now_ms)
            return
        while self._open + self._opening < target:
            self._opening += 1
            self._at(self.now_ms + self.twin.handshake_ms, "opened", None)
        if self._open + self._opening == 0:
            self._wake(MINUTE_MS)
        elif self._open + self._opening >= target:
            self._wake(15_000)

    def _opened(self) -> None:
        self._opening -= 1
        refusal = self.twin.connect(self.now_ms, self._open)
        if refusal:
            self.outcome.deferrals += 1
            self._reopen_ms = self.now_ms + _REOPEN_MS
            cause = cause_of_reply(int(refusal[:3]), refusal)
            self.sender.refused(cause, self.now_ms, self._open)
            return
        self._open += 1
        self._idle.append(_Connection())
        self.sender.connected(self._open)

    def _close(self) -> None:
        self._open -= 1
        self.sender.connected(self._open)

    def _send(self, message: _Message, attempt: Attempt, *, fresh: bool) -> None:
        if self._retries and self._retries[0][2] is message:
            heapq.heappop(self._retries)
        else:
            self._fresh += 1
        connection = self._idle.pop()
        self.sender.sent(self.now_ms, fresh=fresh)
        if message.first_ms < 0:
            message.first_ms = self.now_ms
        text, latency_ms, closes = self.twin.answer(self.now_ms, attempt)
        what = (message, connection, text, latency_ms, closes, fresh)
        self._at(self.now_ms + latency_ms, "answer", what)

    def _answer(
        self,
        message: _Message,
        connection: _Connection,
        text: str,
        latency_ms: int,
        closes: bool,
        fresh: bool,
    ) -> None:
        cause = cause_of_reply(int(text[:3]), text) if text else Cause.ACCEPTED
        age_ms = 0 if fresh else self.now_ms - latency_ms - message.first_ms
        self.sender.answered(
            cause,
            self.now_ms,
            latency_ms=latency_ms,
            age_ms=age_ms,
            on_connection=connection.accepted,
        )
        if cause is Cause.ACCEPTED:
            connection.accepted += 1
            self._delivered()
        else:
            self._deferred(message, cause)
        if closes or connection.accepted >= self.sender.messages_per_connection():
            self._close()
        else:
            self._idle.append(connection)

    def _delivered(self) -> None:
        self.outcome.delivered += 1
        self.outcome.curve[(self.now_ms - BEGIN_MS) // HOUR_MS] += 1
        while self.etas and self.etas[0][0] <= self.outcome.delivered:
            _, _, eta = heapq.heappop(self.etas)
            if eta.calibrated:
                self.outcome.estimates += 1
                self.outcome.estimates_held += eta.holds(self.now_ms)
            self.eta_model.came_true(eta, self.now_ms)

    def _deferred(self, message: _Message, cause: Cause) -> None:
        self.outcome.deferrals += 1
        plain = not isinstance(self.sender, LoopSender)
        if plain or burns_attempt(cause):
            message.failures += 1
        due_ms = self.sender.retry_at(cause, message.failures, self.now_ms, self.chance.random())
        if cause is not Cause.GREYLIST and message.failures == 0:
            message.first_ms = -1  # it counts as not tried: nothing was held against the message
        heapq.heappush(self._retries, (due_ms, next(self._order), message))

    def _ask(self) -> None:
        """Ask when messages at some depth will go, and remember the answers."""
        assert isinstance(self.sender, LoopSender)
        lane = self.sender.lane
        recent = lane.windows.count_in(self.now_ms, 2 * HOUR_MS)
        span_ms = min(2 * HOUR_MS, self.now_ms - BEGIN_MS)
        per_hour = max(1.0, recent * HOUR_MS / span_ms)
        for depth in (10, 60, 300, 1_500):
            ahead = int(depth * self.chance.uniform(0.5, 1.5))
            eta = self.eta_model.estimate(
                ahead=ahead, per_hour=per_hour, blocked_ms=0, now_ms=self.now_ms
            )
            heapq.heappush(self.etas, (self.outcome.delivered + ahead + 1, next(self._order), eta))
        self._at(self.now_ms + 7 * MINUTE_MS, "ask", None)


def _oracle(number: int, seed: int, hours: int) -> Outcome:
    """Let the oracle try each way that may be best, on fresh copies."""
    twin = make_twins(seed, hours)[number]
    outcomes = []
    for per_hour in (0.0, *twin.oracle_paces_per_hour):
        copy = make_twins(seed, hours)[number]
        simulation = Simulation(copy, OracleSender(copy, per_hour), hours, 1_000_000, seed)
        outcomes.append(simulation.run())
    return max(outcomes, key=lambda outcome: outcome.delivered)


def measure_twin(number: int, seed: int, hours: int) -> TwinReport:
    """Let all three senders meet one twin for so many virtual hours."""
    oracle = _oracle(number, seed, hours)
    backlog = oracle.delivered * 5 // 4 + 100
    twin = make_twins(seed, hours)[number]
    loop = Simulation(twin, LoopSender(BEGIN_MS), hours, backlog, seed).run()
    copy = make_twins(seed, hours)[number]
    plain = Simulation(copy, PlainSender(copy.provider), hours, backlog, seed).run()
    best = max(oracle.delivered, loop.delivered, plain.delivered, 1)
    usual = plain.deferrals_per_delivered()
    ours = loop.deferrals_per_delivered()
    ratio = ours / usual if usual else float(ours > 0)
    return TwinReport(twin.name, loop, oracle, plain, loop.delivered / best, ratio)


def run(quick: bool, seed: int) -> list[Result]:
    """Measure all twins. Quick: half a virtual day each; else a day."""
    hours = 12 if quick else 24
    reports = [measure_twin(number, seed, hours) for number in range(len(make_twins(seed, hours)))]
    return summarise(reports)


def summarise(reports: list[TwinReport]) -> list[Result]:
    """Turn the reports of all twins into the bench's figures."""
    shares = [report.share for report in reports]
    ratios = [report.deferral_ratio for report in reports]
    asked = [report.loop for report in reports if report.loop.estimates]
    covers = [outcome.estimates_held / outcome.estimates for outcome in asked]
    held = sum(outcome.estimates_held for outcome in asked)
    total = max(1, sum(outcome.estimates for outcome in asked))
    return [
        _result("pacing_share_of_oracle", shares),
        _result("pacing_deferral_ratio", ratios),
        Result(
            "pacing_eta_coverage",
            held / total,
            "ratio",
            min(covers),
            max(covers),
            0.8,
            held / total / 0.8,
        ),
    ]


def _result(name: str, values: list[float]) -> Result:
    mean = sum(values) / len(values)
    return Result(name, mean, "ratio", min(values), max(values), 1.0, mean)


def main() -> None:
    """Print a table of the twins; `python -m bench.pacing [--quick] [--seed N]`."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    hours = 12 if arguments.quick else 24
    reports = []
    for number in range(len(make_twins(arguments.seed, hours))):
        report = measure_twin(number, arguments.seed, hours)
        reports.append(report)
        loop, plain = report.loop, report.plain
        held = loop.estimates_held / max(1, loop.estimates)
        print(
            f"{report.twin:27} share {report.share:.3f} deferral ratio {report.deferral_ratio:.3f} "
            f"delivered {loop.delivered} oracle {report.oracle.delivered} plain {plain.delivered} "
            f"deferrals a message {loop.deferrals_per_delivered():.3f}, "
            f"plain {plain.deferrals_per_delivered():.2f} "
            f"estimates held {held:.2f} of {loop.estimates}",
            flush=True,
        )
    for result in summarise(reports):
        print(f"{result.name:28} {result.value:.3f} (min {result.min:.3f}, max {result.max:.3f})")


if __name__ == "__main__":
    main()
