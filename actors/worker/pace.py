"""How much a tick decides, and how long the loop belongs to sockets and signatures between two ticks. Pure.

A tick is one batch with one sync: the larger, the cheaper an input, and the longer everybody else waits. So its size
follows from how long it may take, at the cost that an input had lately; and while messages wait to be composed, the
loop is theirs for a while after each tick.
"""

from __future__ import annotations

__all__ = ("URGENT_KEPT_S", "Pace")

BUSY_S = 0.006
"""How long a tick may take while mail is under way in the same loop."""
URGENT_S = 0.003
"""How long it may take while single events come too, each of which waits for a tick under way and for its own."""
URGENT_KEPT_S = 1.0
"""For so long after the last of them ticks stay short: the next may come in the middle of one."""
ALONE_S = 0.025
"""How long it may take when nothing else is to be done: intake alone, which must be answered within 50 ms."""
TIMERS_S = 0.008
"""How long it may take while timers are due: a million may be, and who comes meanwhile waits for two ticks at most."""
SLOW_S = 0.05
"""When a tick waited longer than this for its store, the next may decide for as long: else it would mostly wait."""
SLOW_MOST_S = 0.1
PAUSE_SHORT_S = 0.004
"""After a tick messages are composed for at least so long (or as long as it took), if there are any."""
PAUSE_LONG_S = 0.012
"""And for so long at most, if nobody urgent waits for the next tick."""
INPUTS_MIN = 16
FIRST_COST_S = 100e-6
FOLLOWS = 0.2  # of the newest tick in what an input is taken to cost


class Pace:
    """The pace of one worker. Times in s of the thread's CPU: on a busy machine it is no use to do less at a time.

    Args:
        inputs_max: no tick decides more.
    """

    def __init__(self, inputs_max: int) -> None:
        self._inputs_max = inputs_max
        self._cost_s = FIRST_COST_S
        self._took_s = 0.0
        self._waited_s = 0.0

    def bound(self, *, busy: bool, timers: bool = False, urgent: bool = False) -> int:
        """Tell how many inputs the next tick may decide, and how many messages it may hand over.

        `busy`: mail is under way; `timers`: some are due; `urgent`: single events come beside the mail.
        """
        target = BUSY_S if busy else TIMERS_S if timers else ALONE_S
        if busy and urgent:
            target = URGENT_S
        if self._waited_s > SLOW_S:
            target = max(target, min(self._waited_s, SLOW_MOST_S))
        return min(max(int(target / self._cost_s), INPUTS_MIN), self._inputs_max)

    def ticked(self, decided: int, took_s: float, waited_s: float = 0.0) -> None:
        """Hear what a tick decided (hand-overs included), how long it took, how long it waited (clock beside CPU)."""
        self._took_s = took_s
        self._waited_s = waited_s
        if decided:
            self._cost_s += FOLLOWS * (took_s / decided - self._cost_s)

    def pause_over(self, passed_s: float, *, urgent: bool) -> bool:
        """Tell whether the loop has been left to others long enough since the last tick."""
        if urgent:
            return passed_s >= min(self._took_s, PAUSE_SHORT_S)
        return passed_s >= min(max(2 * self._took_s, PAUSE_SHORT_S), PAUSE_LONG_S)
