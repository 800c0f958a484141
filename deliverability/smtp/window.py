"""How many contents may be in flight on one connection: as many as rate times round trip needs. Pure.

What is in flight is what a lost connection leaves in doubt, so a window should be no larger than it is good for. It
opens by one with each acceptance, up to its bound, but only while most of it is used; and it closes again when even the
quickest acceptance of a round takes longer than the shortest round trip explains: then the contents only queue at the
server (as TCP Vegas tells it: Brakmo and Peterson, 1994). A refusal for good halves it, one for now brings it to 1, so
that a server that says no sees few contents in vain.
"""

from __future__ import annotations

__all__ = ("Window",)

from math import inf

FIRST = 2  # contents risked before the server has accepted anything
SLACK_S = 0.020
"""What an acceptance may take beside the round trip before it tells of a queue: turns of our loop and of theirs."""
QUEUED_FEW = 4  # contents that may queue at the server, so that it never waits for us
QUEUED_MANY = 12
DRIFT = 0.002  # by which the shortest round trip known is forgotten with each round: paths change


class Window:
    """The window of one connection. Times in s on a monotonic clock; one that stands still leaves out the queue.

    Args:
        most: never more than so many in flight (`in_doubt_max`).
    """

    __slots__ = ("_left", "_most", "_queued", "_quickest", "_shortest", "size")

    def __init__(self, most: int) -> None:
        assert most >= 1, "a window takes at least one transaction"
        self._most = most
        self._shortest = inf
        self._quickest = inf  # of this round
        self._left = FIRST  # acceptances until the round is over
        self._queued = 0.0  # contents that queue at the server, as the last round told
        self.size = min(FIRST, most)

    def accepted(self, took_s: float, in_flight: int) -> None:
        """Hear of an acceptance: how long it took, and how many were in flight once its content was sent."""
        self._quickest = min(self._quickest, took_s)
        self._left -= 1
        if self._left <= 0:
            self._round_over()
        if self._queued <= QUEUED_FEW and 4 * (in_flight + 1) >= 3 * self.size < 3 * self._most:
            self.size += 1

    def refused(self, *, transient: bool) -> None:
        """Hear of a refusal."""
        self.size = 1 if transient else max(1, self.size // 2)

    def _round_over(self) -> None:
        quickest = self._quickest
        self._shortest = min(self._shortest * (1 + DRIFT), quickest)
        excess = quickest - self._shortest - SLACK_S
        self._queued = self.size * excess / quickest if excess > 0 else 0.0
        if self._queued > QUEUED_MANY:
            self.size = max(self.size - int(self._queued - QUEUED_FEW) // 2, FIRST)
        self._quickest = inf
        self._left = self.size
