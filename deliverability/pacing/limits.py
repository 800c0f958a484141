"""All limits that hold for one sending, taken together or not at all.

A limit belongs to a scope, such as `source a1`, `provider google`, `site …`, `tenant t`, `stream marketing` or a
combination that the caller names, and bounds one dimension: messages, bytes, recipients or opens per time, or
connections at the same time. A demand names its scopes; the tightest limit decides, and is named.
"""

from __future__ import annotations

__all__ = ("Demand", "Dimension", "LimitBook", "Verdict")

import enum
from collections.abc import Sequence

import msgspec

from deliverability.pacing.tokens import Bucket
from deliverability.shaping.quantities import Throttle


class Dimension(enum.Enum):
    """What a limit counts."""

    MESSAGES = "messages"
    BYTES = "bytes"
    RECIPIENTS = "recipients"
    OPENS = "opens"
    CONNECTIONS = "connections"


class Demand(msgspec.Struct, frozen=True):
    """What one transaction takes; zero where it takes nothing."""

    messages: int = 1
    size_bytes: int = 0
    recipients: int = 1
    opens: int = 0

    def amount(self, dimension: Dimension) -> int:
        """Return how much of a dimension is wanted."""
        match dimension:
            case Dimension.MESSAGES:
                return self.messages
            case Dimension.BYTES:
                return self.size_bytes
            case Dimension.RECIPIENTS:
                return self.recipients
            case Dimension.OPENS | Dimension.CONNECTIONS:
                return self.opens


class Verdict(msgspec.Struct, frozen=True):
    """How long to wait (0: taken, or free to be), and which limit makes it so."""

    wait_ms: int
    scope: str = ""
    dimension: Dimension | None = None


class _Connections:
    """Connections at the same time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0


class LimitBook:
    """The limits of one process. Not bounded by itself: the caller sets limits for scopes that it knows.

    `full` False: rates begin without their burst, since a predecessor may have given it out just now.

    A connection that can't be had makes the verdict's wait `CLOSE_WAIT_MS`: ask again when one is closed.
    """

    CLOSE_WAIT_MS = 1_000

    def __init__(self, *, full: bool = True) -> None:
        self._full = full
        self._buckets: dict[tuple[str, Dimension], Bucket] = {}
        self._connections: dict[str, _Connections] = {}

    def set_rate(
        self, scope: str, dimension: Dimension, throttle: Throttle, largest: int = 1
    ) -> None:
        """Set a limit per time; what was used of a former one of the same quantity and period stays used."""
        assert dimension is not Dimension.CONNECTIONS
        before = self._buckets.get((scope, dimension))
        bucket = Bucket(
            throttle.quantity, throttle.period_ms, throttle.burst, largest, full=self._full
        )
        same = before is not None and (before.quantity, before.period_ms, before.burst) == (
            bucket.quantity,
            bucket.period_ms,
            bucket.burst,
        )
        if not same:
            self._buckets[scope, dimension] = bucket

    def set_connections(self, scope: str, limit: int) -> None:
        """Set how many connections may be open; those above a lowered limit stay until they are closed."""
        self._connections.setdefault(scope, _Connections(limit)).limit = limit

    def drop_rate(self, scope: str, dimension: Dimension) -> None:
        """Forget one limit of a scope, if it has it."""
        self._buckets.pop((scope, dimension), None)

    def drop(self, scope: str) -> None:
        """Forget a scope with all its limits."""
        self._connections.pop(scope, None)
        for dimension in Dimension:
            self._buckets.pop((scope, dimension), None)

    def ask(self, scopes: Sequence[str], demand: Demand, now_ms: int) -> Verdict:
        """Say how long to wait and for which limit, without taking anything."""
        worst = Verdict(0)
        for scope in scopes:
            connections = self._connections.get(scope)
            if connections and connections.open + demand.opens > connections.limit and demand.opens:
                worst = _longer(worst, Verdict(self.CLOSE_WAIT_MS, scope, Dimension.CONNECTIONS))
            for dimension in Dimension:
                bucket = self._buckets.get((scope, dimension))
                amount = demand.amount(dimension)
                if bucket is not None and amount:
                    wait_ms = bucket.wait_ms(now_ms, amount)
                    worst = _longer(worst, Verdict(wait_ms, scope, dimension))
        return worst

    def take(self, scopes: Sequence[str], demand: Demand, now_ms: int) -> Verdict:
        """Take the demand from each limit of each scope, or nothing from any.

        Duplicate scopes count once.
        """
        scopes = tuple(dict.fromkeys(scopes))
        verdict = self.ask(scopes, demand, now_ms)
        if verdict.wait_ms:
            return verdict
        for scope in scopes:
            if scope in self._connections:
                self._connections[scope].open += demand.opens
            for dimension in Dimension:
                bucket = self._buckets.get((scope, dimension))
                if bucket is not None and demand.amount(dimension):
                    took = bucket.take(now_ms, demand.amount(dimension))
                    assert took  # asked above, and nothing came between
        return Verdict(0)

    def give_back(self, scopes: Sequence[str], demand: Demand) -> None:
        """Return what was taken and not used; connections are returned by `close`."""
        for scope in dict.fromkeys(scopes):
            for dimension in Dimension:
                bucket = self._buckets.get((scope, dimension))
                if bucket is not None and demand.amount(dimension):
                    bucket.give_back(demand.amount(dimension))

    def close(self, scopes: Sequence[str]) -> None:
        """Count one connection as closed in each scope."""
        for scope in dict.fromkeys(scopes):
            connections = self._connections.get(scope)
            if connections is not None:
                assert connections.open > 0
                connections.open -= 1

    def open_connections(self, scope: str) -> int:
        """Return how many connections are open in a scope that has a limit."""
        found = self._connections.get(scope)
        return found.open if found else 0


def _longer(one: Verdict, two: Verdict) -> Verdict:
    return two if two.wait_ms > one.wait_ms else one
