"""How many connections a provider takes, and how many messages each: found out one at a time.

Connections grow by one as long as more are needed than are allowed; a refusal sets the ceiling just below what was
open, and the ceiling is tried again only after a rest that doubles each time it was confirmed. The number of messages
a connection takes is learned from the first that was closed for it.
"""

from __future__ import annotations

__all__ = ("ConnectionControl",)

_STEP_MS = 15_000
_REST_MS = 60 * 60_000
_REST_MAX_MS = 8 * _REST_MS


class ConnectionControl:
    """Connections of one lane. `rule_limit` and `rule_messages` come from shaping rules and are never passed."""

    def __init__(self, rule_limit: int, rule_messages: int, first: int = 2) -> None:
        self.rule_limit = max(1, rule_limit)
        self.rule_messages = max(1, rule_messages)
        self._allowed = min(first, self.rule_limit)
        self._ceiling = self.rule_limit
        self._per_connection = self.rule_messages
        self._raised_ms = 0
        self._rest_until_ms = 0
        self._rest_ms = _REST_MS

    def target(self, now_ms: int, needed: int) -> int:
        """Return how many connections to have, given how many the present rate needs."""
        if needed > self._allowed and now_ms - self._raised_ms >= _STEP_MS:
            if self._allowed < self._ceiling:
                self._allowed += 1
                self._raised_ms = now_ms
            elif self._ceiling < self.rule_limit and now_ms >= self._rest_until_ms:
                self._ceiling += 1
                self._allowed = self._ceiling
                self._raised_ms = now_ms
        return max(1, min(self._allowed, needed))

    def refused(self, now_ms: int, open_connections: int) -> None:
        """Note that one more than `open_connections` were too many."""
        if now_ms < self._rest_until_ms and open_connections >= self._ceiling:
            return  # the same refusal, by another connection
        self._ceiling = max(1, min(open_connections, self._ceiling))
        self._allowed = self._ceiling
        self._rest_until_ms = now_ms + self._rest_ms
        self._rest_ms = min(2 * self._rest_ms, _REST_MAX_MS)

    def messages_per_connection(self) -> int:
        """Return after how many messages to close a connection ourselves."""
        return self._per_connection

    def connection_was_full(self, messages: int) -> None:
        """Note that a provider closed a connection after so many accepted messages."""
        self._per_connection = max(1, min(self._per_connection, messages))

    def ceiling(self) -> int:
        """Return the most connections that are believed to be taken."""
        return self._ceiling

    def remember(self, ceiling: int, messages_per_connection: int) -> None:
        """Take over what was found out before a restart, within the rules of now."""
        self._ceiling = max(1, min(ceiling, self.rule_limit))
        self._allowed = min(self._allowed, self._ceiling)
        self.connection_was_full(messages_per_connection)
