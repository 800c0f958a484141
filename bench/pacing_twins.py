"""Providers with hidden rules, for the bench of pacing; they share no code with what they test.

A twin is a list of rules. Each rule may refuse a connection, defer a message, slow a reply down, and remember; each
also answers the oracle, who knows it: how long until a message can be sent without harm. Reply texts are in the
manner of the providers. All times are virtual milliseconds.
"""

from __future__ import annotations

__all__ = ("HOUR_MS", "MINUTE_MS", "Attempt", "Rule", "Twin", "make_twins")

import random
from collections import deque
from collections.abc import Callable

import msgspec

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
BEGIN_MS = 1_764_000_000_000 // DAY_MS * DAY_MS + 9 * HOUR_MS  # a morning

Quota = Callable[[int], int]


class Attempt(msgspec.Struct, frozen=True):
    """A message that is being tried: first tried when (0: now), on which connection, after how many others there."""

    message: int
    on_connection: int
    open_connections: int


class Rule:
    """A rule that allows everything; the others override what they care about."""

    text = ""

    def refuses(self, now_ms: int, open_connections: int) -> str:
        """Return the refusal of a new connection while so many are open, or nothing."""
        return ""

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        """Return the deferral of a message, or nothing."""
        return ""

    def took(self, now_ms: int, attempt: Attempt) -> None:
        """Count a message that all rules let in."""

    def latency_factor(self, now_ms: int) -> float:
        """Return by how much replies are slowed down now."""
        return 1.0

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        """Tell the oracle how long to wait; 0 if sending now does no harm."""
        return 0


def constant(quota: int) -> Quota:
    """Return a quota that never changes."""
    return lambda _now_ms: quota


def changing(before: int, after: int, at_ms: int) -> Quota:
    """Return a quota that changes at a moment."""
    return lambda now_ms: before if now_ms < at_ms else after


def by_day_and_night(day: int, night: int) -> Quota:
    """Return a quota that is `day` from 8 to 20 o'clock."""
    return lambda now_ms: day if 8 <= now_ms // HOUR_MS % 24 < 20 else night


class FixedWindow(Rule):
    """So many in each window, which begin at fixed moments."""

    def __init__(self, quota: Quota, length_ms: int, text: str, offset_ms: int = 0) -> None:
        self.quota, self.length_ms, self.text, self.offset_ms = quota, length_ms, text, offset_ms
        self.window, self.count = -1, 0

    def _turn(self, now_ms: int) -> None:
        window = (now_ms - self.offset_ms) // self.length_ms
        if window != self.window:
            self.window, self.count = window, 0

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        self._turn(now_ms)
        return self.text if self.count >= self.quota(now_ms) else ""

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self._turn(now_ms)
        self.count += 1

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        if not self.defers(now_ms, attempt):
            return 0
        return self.length_ms - (now_ms - self.offset_ms) % self.length_ms


class RollingWindow(Rule):
    """So many in any window of a length."""

    def __init__(self, quota: Quota, length_ms: int, text: str) -> None:
        self.quota, self.length_ms, self.text = quota, length_ms, text
        self.times: deque[int] = deque()

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        while self.times and self.times[0] <= now_ms - self.length_ms:
            self.times.popleft()
        return self.text if len(self.times) >= self.quota(now_ms) else ""

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.times.append(now_ms)

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        if not self.defers(now_ms, attempt):
            return 0
        return self.times[len(self.times) - self.quota(now_ms)] + self.length_ms - now_ms


class TokenRate(Rule):
    """A rate with a burst, as a leaky bucket."""

    def __init__(self, per_hour: float, burst: int, text: str) -> None:
        self.per_hour, self.burst, self.text = per_hour, burst, text
        self.level, self.at_ms = float(burst), BEGIN_MS

    def _fill(self, now_ms: int) -> None:
        gained = (now_ms - self.at_ms) * self.per_hour / HOUR_MS
        self.level, self.at_ms = min(self.burst, self.level + gained), now_ms

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        self._fill(now_ms)
        return "" if self.level >= 1 else self.text

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.level -= 1

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        self._fill(now_ms)
        return 0 if self.level >= 1 else int((1 - self.level) * HOUR_MS / self.per_hour) + 1


class Concurrency(Rule):
    """So many connections at the same time."""

    def __init__(self, limit: Quota, text: str) -> None:
        self.limit, self.text = limit, text

    def refuses(self, now_ms: int, open_connections: int) -> str:
        return self.text if open_connections >= self.limit(now_ms) else ""


class PerConnection(Rule):
    """So many messages on a connection, then it is closed."""

    def __init__(self, limit: int, text: str) -> None:
        self.limit, self.text = limit, text

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        return self.text if attempt.on_connection >= self.limit else ""


class GreylistRule(Rule):
    """Defers each message until some time after its first attempt; may let a sender in for good."""

    def __init__(self, delay_ms: int, lets_in_after: int, text: str) -> None:
        self.delay_ms, self.lets_in_after, self.text = delay_ms, lets_in_after, text
        self.first: dict[int, int] = {}
        self.passed = 0

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        if self.lets_in_after and self.passed >= self.lets_in_after:
            return ""
        first_ms = self.first.setdefault(attempt.message, now_ms)
        return "" if now_ms - first_ms >= self.delay_ms else self.text

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.passed += 1


class Tarpit(Rule):
    """Replies become slow for a while once more than so many came within a minute."""

    def __init__(self, per_minute: int, factor: float, lasts_ms: int) -> None:
        self.per_minute, self.factor, self.lasts_ms = per_minute, factor, lasts_ms
        self.times: deque[int] = deque()
        self.slow_until_ms = 0

    def _recent(self, now_ms: int) -> int:
        while self.times and self.times[0] <= now_ms - MINUTE_MS:
            self.times.popleft()
        return len(self.times)

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.times.append(now_ms)
        if self._recent(now_ms) > self.per_minute:
            self.slow_until_ms = now_ms + self.lasts_ms

    def latency_factor(self, now_ms: int) -> float:
        return self.factor if now_ms < self.slow_until_ms else 1.0

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        if self._recent(now_ms) < self.per_minute:
            return 0
        return self.times[-self.per_minute] + MINUTE_MS - now_ms + 1


class Reputation(Rule):
    """A capacity that falls with complaints and with attempts made in spite of deferrals, and recovers slowly.

    Each accepted message complains with a probability; more complaints an hour than are tolerated cost standing. The
    oracle keeps to the rate whose complaints are just tolerated.
    """

    def __init__(self, per_window: int, complaint: float, tolerated: float, seed: int) -> None:
        self.per_window, self.complaint, self.tolerated = per_window, complaint, tolerated
        self.text = (
            "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints"
        )
        self.chance = random.Random(seed)
        self.standing, self.at_ms = 1.0, BEGIN_MS
        self.complaints: deque[int] = deque()
        self.times: deque[int] = deque()

    def _age(self, now_ms: int) -> None:
        self.standing = min(1.0, self.standing + (now_ms - self.at_ms) / HOUR_MS * 0.04)
        self.at_ms = now_ms
        while self.complaints and self.complaints[0] <= now_ms - HOUR_MS:
            self.complaints.popleft()
        while self.times and self.times[0] <= now_ms - 10 * MINUTE_MS:
            self.times.popleft()

    def _capacity(self) -> int:
        return max(1, int(self.per_window * self.standing))

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        self._age(now_ms)
        if len(self.times) < self._capacity():
            return ""
        self.standing = max(0.2, self.standing - 0.0005)
        return self.text

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.times.append(now_ms)
        if self.chance.random() < self.complaint:
            self.complaints.append(now_ms)
            if len(self.complaints) > self.tolerated:
                self.standing = max(0.2, self.standing - 0.01)

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        self._age(now_ms)
        if len(self.times) < self._capacity():
            return 0
        return self.times[0] + 10 * MINUTE_MS - now_ms + 1


class GoogleStop(Rule):
    """Over the limit everything is deferred until there was silence for ten minutes; then few connections."""

    def __init__(self, quota: Quota, length_ms: int = 10 * MINUTE_MS) -> None:
        self.inner = RollingWindow(
            quota,
            length_ms,
            "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address",
        )
        self.stopped = False
        self.last_try_ms = 0
        self.probation_ms = -DAY_MS

    def _allowed(self, now_ms: int) -> int:
        """Connections on probation: one at first, one more each minute."""
        return 1 + (now_ms - self.probation_ms) // MINUTE_MS

    def _silent(self, now_ms: int) -> bool:
        return now_ms - self.last_try_ms >= 10 * MINUTE_MS

    def refuses(self, now_ms: int, open_connections: int) -> str:
        if self.stopped and not self._silent(now_ms):
            self.last_try_ms = now_ms
            return self.inner.text
        if not self.stopped and open_connections >= self._allowed(now_ms):
            return self.inner.text
        return ""

    def defers(self, now_ms: int, attempt: Attempt) -> str:
        if self.stopped and self._silent(now_ms):
            self.stopped, self.probation_ms = False, now_ms
        over = bool(self.inner.defers(now_ms, attempt))
        over = over or attempt.open_connections > self._allowed(now_ms)
        if self.stopped or over:
            self.stopped, self.last_try_ms = True, now_ms
            return self.inner.text
        return ""

    def took(self, now_ms: int, attempt: Attempt) -> None:
        self.inner.took(now_ms, attempt)

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        return self.inner.clear_in_ms(now_ms, attempt)


class Twin(msgspec.Struct):
    """A provider: its rules, how fast it answers, and what the oracle may use."""

    name: str
    provider: str
    rules: list[Rule]
    latency_ms: int = 400
    handshake_ms: int = 300
    oracle_connections: int = 20
    oracle_messages_per_connection: int = 1_000
    oracle_paces_per_hour: tuple[float, ...] = ()
    is_drawn: bool = False

    def connect(self, now_ms: int, open_connections: int) -> str:
        """Return the refusal of a new connection, or nothing."""
        return next((t for rule in self.rules if (t := rule.refuses(now_ms, open_connections))), "")

    def answer(self, now_ms: int, attempt: Attempt) -> tuple[str, int, bool]:
        """Return a message's reply (empty: accepted), its latency, and whether the connection is closed."""
        latency_ms = self.latency_ms
        for rule in self.rules:
            latency_ms = int(latency_ms * rule.latency_factor(now_ms))
        for rule in self.rules:
            text = rule.defers(now_ms, attempt)
            if text:
                closes = text.startswith("421") or isinstance(rule, PerConnection)
                return text, latency_ms, closes
        for rule in self.rules:
            rule.took(now_ms, attempt)
        return "", latency_ms, False

    def clear_in_ms(self, now_ms: int, attempt: Attempt) -> int:
        """Tell the oracle how long to wait."""
        return max((rule.clear_in_ms(now_ms, attempt) for rule in self.rules), default=0)


_TOO_MANY = "450 4.7.1 You have sent too many messages, try again later"
_ONET = "450 4.7.1 message deferred by rule #CR-IN-DEF-2"
_WP = "470 4.7.1 sent too many messages in a short time"
_TOO_MANY_CONNECTIONS = (
    "451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections"
)
_GREY = "451 4.7.1 Greylisting in action, please come back later"
_THROTTLED = "421 4.7.0 rate limited, please slow down your sending rate"


def _named(seed: int, hours: int) -> list[Twin]:
    middle_ms = BEGIN_MS + hours * HOUR_MS // 2
    return [
        Twin("fixed-hour", "", [FixedWindow(constant(200), HOUR_MS, _TOO_MANY, 17 * MINUTE_MS)]),
        Twin("clock-ten-minutes", "", [FixedWindow(constant(45), 10 * MINUTE_MS, _TOO_MANY)]),
        Twin("rolling-minute", "", [RollingWindow(constant(5), MINUTE_MS, _THROTTLED)]),
        Twin("leaky-bucket", "", [TokenRate(240, 12, _THROTTLED)]),
        Twin(
            "wp-day-and-hour",
            "wp",
            [
                FixedWindow(constant(250), HOUR_MS, _WP),
                FixedWindow(constant(4_000), DAY_MS, _WP, HOUR_MS),
            ],
        ),
        Twin(
            "onet-rolling-with-greylist",
            "onet",
            [
                GreylistRule(15 * MINUTE_MS, 5, _GREY),
                RollingWindow(constant(180), HOUR_MS, _ONET),
            ],
        ),
        Twin(
            "greylist-lets-in",
            "",
            [GreylistRule(12 * MINUTE_MS, 5, _GREY), TokenRate(240, 30, _THROTTLED)],
        ),
        Twin(
            "greylist-each-message",
            "",
            [GreylistRule(7 * MINUTE_MS, 0, _GREY), TokenRate(200, 30, _THROTTLED)],
        ),
        Twin(
            "microsoft-connections",
            "office365",
            [Concurrency(constant(3), _TOO_MANY_CONNECTIONS)],
            latency_ms=40_000,
            oracle_connections=3,
        ),
        Twin(
            "per-connection",
            "",
            [
                PerConnection(7, "421 4.7.0 too many messages for this session"),
                Concurrency(constant(2), "421 too many connections"),
            ],
            latency_ms=15_000,
            handshake_ms=10_000,
            oracle_connections=2,
            oracle_messages_per_connection=7,
        ),
        Twin(
            "tarpit",
            "",
            [Tarpit(5, 120.0, 5 * MINUTE_MS), Concurrency(constant(8), "421 too many connections")],
            latency_ms=2_000,
            oracle_connections=8,
        ),
        Twin(
            "yahoo-reputation",
            "yahoo",
            [Reputation(50, 0.01, 3, seed), PerConnection(20, "421 Max messages per connection")],
            oracle_messages_per_connection=20,
            oracle_paces_per_hour=(150, 200, 240, 260, 280, 300),
        ),
        Twin("google-stop", "google", [GoogleStop(constant(40))], latency_ms=2_000),
        Twin(
            "halved-under-way",
            "",
            [RollingWindow(changing(240, 120, middle_ms), HOUR_MS, _TOO_MANY)],
        ),
        Twin(
            "doubled-under-way",
            "",
            [FixedWindow(changing(30, 60, middle_ms), 15 * MINUTE_MS, _TOO_MANY)],
        ),
        Twin(
            "day-and-night",
            "",
            [RollingWindow(by_day_and_night(20, 45), 10 * MINUTE_MS, _TOO_MANY)],
        ),
    ]


def _drawn(seed: int, count: int, hours: int) -> list[Twin]:
    """Draw twins whose rules nobody can tune to."""
    twins = []
    for number in range(count):
        chance = random.Random(f"pacing twin {seed} {number}")
        per_hour = chance.uniform(80, 320)
        length_ms = int(chance.choice([1, 3, 7, 10, 25, 45, 60, 90, 150, 240]) * MINUTE_MS)
        quota = max(3, int(per_hour * length_ms / HOUR_MS))
        at_ms = BEGIN_MS + int(chance.uniform(0.2, 0.8) * hours * HOUR_MS)
        later = max(2, int(quota * chance.uniform(0.5, 2.0)))
        size = changing(quota, later, at_ms) if chance.random() < 0.5 else constant(quota)
        offset_ms = int(chance.uniform(0, length_ms))
        stop_minutes = chance.choice([5, 8, 10, 15, 20])
        kinds: list[Rule] = [
            FixedWindow(size, length_ms, _TOO_MANY, offset_ms),
            RollingWindow(size, length_ms, _ONET),
            TokenRate(per_hour, chance.randint(2, 40), _THROTTLED),
            GoogleStop(
                constant(max(8, int(per_hour * stop_minutes / 60))), stop_minutes * MINUTE_MS
            ),
        ]
        rules = [kinds[number % len(kinds)]]
        if chance.random() < 0.4:
            delay_ms = int(chance.uniform(2, 20) * MINUTE_MS)
            rules.insert(0, GreylistRule(delay_ms, chance.randint(2, 8), _GREY))
        connections = chance.randint(1, 6)
        if chance.random() < 0.5:
            rules.append(Concurrency(constant(connections), _TOO_MANY_CONNECTIONS))
        else:
            connections = 20
        twins.append(
            Twin(
                f"drawn-{number}",
                "",
                rules,
                latency_ms=chance.randint(200, 4_000),
                oracle_connections=connections,
                is_drawn=True,
            )
        )
    return twins


def make_twins(seed: int, hours: int, drawn: int = 6) -> list[Twin]:
    """Make fresh twins for a run of so many hours: sixteen with rules of their own, and some drawn from the seed."""
    return _named(seed, hours) + _drawn(seed, drawn, hours)
