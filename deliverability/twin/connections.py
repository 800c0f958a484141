"""Limits on connections: how many at once, how many a minute, how many mails over one."""

from __future__ import annotations

__all__ = ("Connections", "ConnectionsModel")

from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.verdict import Connection, Rule

_MINUTE_MS = 60_000
_SOURCES_MAX = 20_000


class Connections(Rule, frozen=True, kw_only=True):
    """What one source may do with connections. 0 means no limit."""

    open_max: Annotated[int, Meta(ge=0, le=100_000, description="at one time")] = 0
    per_minute_max: Annotated[
        int, Meta(ge=0, le=1_000_000, description="opened in one minute of the clock")
    ] = 0
    mails_max: Annotated[int, Meta(ge=0, le=1_000_000, description="taken over one of them")] = 0
    then: Annotated[
        Literal["421", "hang_up"],
        Meta(description="what comes after the last mail: a reply, or nothing at all"),
    ] = "421"


class ConnectionsModel:
    """Counts a source's connections."""

    cause = "too_many_connections"
    cause_mails = "too_many_mails"

    def __init__(self, rule: Connections) -> None:
        self.rule = rule
        self._open: dict[str, int] = {}  # bounded by the server's own limit on connections
        self._opened: ExpiringTable[tuple[int, int]] = ExpiringTable(_SOURCES_MAX)

    def opened(self, now: int, connection: Connection) -> bool:
        """Count a new connection; tell whether it is one too many. Call `closed` in either case."""
        source = connection.source
        count = self._open.get(source, 0) + 1
        self._open[source] = count
        too_many = 0 < self.rule.open_max < count
        if not self.rule.per_minute_max:
            return too_many
        minute = now // _MINUTE_MS
        last, opened = self._opened.get(now, source) or (minute, 0)
        opened = opened + 1 if last == minute else 1
        self._opened.put(now, source, (minute, opened), (minute + 1) * _MINUTE_MS)
        return too_many or opened > self.rule.per_minute_max

    def closed(self, connection: Connection) -> None:
        """Count a connection no more."""
        count = self._open.pop(connection.source, 0) - 1
        if count > 0:
            self._open[connection.source] = count

    def used_up(self, taken: int) -> bool:
        """Tell whether a connection over which so many mails were taken may carry no more."""
        return 0 < self.rule.mails_max <= taken

    def open_of(self, source: str) -> int:
        """Count connections of one source that are open now."""
        return self._open.get(source, 0)
