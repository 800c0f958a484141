"""The closed loop: how fast one source sends to one provider, from what its replies say.

Four phases:

- *climbing*: no ceiling is known; the rate doubles every few minutes of use.
- *cruising*: a ceiling is known; the rate stays a little below it, and after a rest tries a tenth more, then a quarter
  more, and so on, until the ceiling proves right (a trip) or wrong (on to climbing).
- *paused*: a confirmed deferral for rate (a trip); nothing goes but a probe now and then, and one at each moment at
  which a window that explains the evidence would open again.
- *recovering*: the recipe after Google's 4.7.28.

A trip sets the ceiling: from the windows that explain the evidence (see `windows`) if there are any, else
multiplicatively from the rate that was too much. A trip right after a pause lowers the share of the estimate that is
used; quiet raises it again. A reply that takes far longer than before (a tarpit) is a trip too.
"""

from __future__ import annotations

__all__ = ("Lane", "LaneMemory", "LaneOptions", "LaneReport", "Phase")

import enum

import msgspec

from deliverability.pacing.connections import ConnectionControl
from deliverability.pacing.daytime import DayMemory
from deliverability.pacing.greylist import Greylist, GreylistMode
from deliverability.pacing.recovery import STOP_MS, Recovery, begin_recovery, recovery_after
from deliverability.pacing.signals import Cause
from deliverability.pacing.windows import WindowEstimate, WindowEstimator

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DOUBLE_EVERY_MS = 5 * _MINUTE
_PROBE_FIRST_MS = 15_000
_PROBE_MAX_MS = 10 * _MINUTE
_PROBE_LOST_MS = 30 * _MINUTE
_REST_MIN_MS = 30 * _MINUTE
_REST_MAX_MS = 6 * _HOUR
_REST_CHEAP_MS = 75 * _MINUTE  # where being too fast for a moment costs one deferral
_REST_STOP_MS = 90 * _MINUTE  # after a stop, doubled by each further one
_RAISE_STEP_MS = 15 * _MINUTE
_RAISE_STEP_MAX_MS = 45 * _MINUTE
_SHARE = 0.97  # of an estimated ceiling
_SHARE_MIN = 0.4
_CUT = 0.9  # of the rate that was too much, where no window explains it
_RAISES = (1.1, 1.25, 1.5, 2.0)
_TARPIT_TIMES = 5.0
_TARPIT_MIN_MS = 3_000
_TARPIT_HELD = 4
_CONFIRMATIONS = 2
_STRAIN_MAX = 2.2  # about one deferral in five


class Phase(enum.Enum):
    """What a lane is doing; see the module's docstring."""

    CLIMBING = "climbing"
    CRUISING = "cruising"
    PAUSED = "paused"
    RECOVERING = "recovering"


class LaneOptions(msgspec.Struct, frozen=True):
    """What shaping rules say beforehand; the loop never goes beyond it."""

    max_per_hour: float = 360_000.0
    first_per_hour: float = 600.0
    max_connections: int = 20
    max_messages_per_connection: int = 100


class LaneReport(msgspec.Struct, frozen=True):
    """Why a lane sends as fast as it does, for people."""

    phase: Phase
    per_hour: float
    ceiling_per_hour: float | None
    reason: str
    trips: int
    connections: int
    since_ms: int


class LaneMemory(msgspec.Struct, frozen=True):
    """What a lane found out, to be stored and given to its successor; no windows, they are found again."""

    noted_ms: int
    ceiling_per_hour: float | None
    connections: int
    messages_per_connection: int
    greylist_mode: GreylistMode
    greylist_delay_ms: int


class Lane:
    """One source and one provider. Calls must come in the order of time.

    With a memory (not older than `MEMORY_MS`) it begins at the rate that was found before; without, it climbs.
    """

    MEMORY_MS = 24 * _HOUR

    def __init__(self, options: LaneOptions, now_ms: int, memory: LaneMemory | None = None) -> None:
        self.options = options
        self.windows = WindowEstimator()
        self.greylist = Greylist()
        self.connections = ConnectionControl(
            options.max_connections, options.max_messages_per_connection
        )
        self.days = DayMemory()
        self.phase = Phase.CLIMBING
        self.trips = 0
        self._reason = "no limit met yet"
        self._since_ms = now_ms
        self._per_hour = min(options.first_per_hour, options.max_per_hour)
        self._ceiling: float | None = None
        self._window: WindowEstimate | None = None  # the one that is kept to
        self._held: float | None = None  # the highest rate that held since the ceiling was set
        self._proved: float | None = None  # what had held before a stop
        self._share = _SHARE
        self._raises = 0
        self._next_ms = now_ms  # when the next message may go
        self._changed_ms = now_ms  # when the rate was last raised
        self._rest_until_ms = now_ms
        self._rest_ms = _REST_MIN_MS
        self._paused_ms = self._probe_ms = self._resumed_ms = now_ms
        self._probe_every_ms = _PROBE_FIRST_MS
        self._probing = False
        self._probed_ms = now_ms
        self._deferred_in_row = 0
        self._strain = 0.0  # deferrals of late, each forgotten by a tenth with each acceptance
        self._recovery: Recovery | None = None
        self._latency_ms = 0.0  # of messages, lately
        self._latency_low_ms = 0.0
        self._hour = now_ms // _HOUR
        self._used = 0  # since the rate was last changed
        self._open = 0
        if memory is not None and now_ms - memory.noted_ms <= self.MEMORY_MS:
            self._remember(memory, now_ms)

    def memory(self, now_ms: int) -> LaneMemory:
        """Return what is worth keeping over a restart."""
        return LaneMemory(
            noted_ms=now_ms,
            ceiling_per_hour=self._ceiling,
            connections=self.connections.ceiling(),
            messages_per_connection=self.connections.messages_per_connection(),
            greylist_mode=self.greylist.mode,
            greylist_delay_ms=self.greylist.learned_delay_ms(),
        )

    def _remember(self, memory: LaneMemory, now_ms: int) -> None:
        self.connections.remember(memory.connections, memory.messages_per_connection)
        self.greylist.remember(memory.greylist_mode, memory.greylist_delay_ms)
        if memory.ceiling_per_hour is not None:
            self._ceiling = memory.ceiling_per_hour
            self._enter(Phase.CRUISING, now_ms, "the ceiling found before a restart")
            self._cruise_at(self._share, now_ms)

    # ------------------------------------------------------------------ asking

    def wait_ms(self, now_ms: int, *, fresh: bool = True) -> int:
        """Return how long the next message must wait; 0 if it may go now. Takes nothing; see `sent`."""
        self._tick(now_ms)
        if self._probing and now_ms - self._probed_ms > _PROBE_LOST_MS:
            self._probing = False  # whoever sent it is dead
        waits = [0]
        if fresh:
            held_ms = self.greylist.holds_fresh(now_ms)
            waits.append(held_ms - now_ms if held_ms else 0)
        match self.phase:
            case Phase.PAUSED:
                waits.append(_MINUTE if self._probing else self._probe_ms - now_ms)
            case Phase.RECOVERING:
                assert self._recovery is not None
                waits.append(self._recovery.until_ms - now_ms)
                waits.append(_MINUTE if self._probing else 0)
                waits.append(self._next_ms - now_ms)
            case Phase.CLIMBING | Phase.CRUISING:
                waits.append(self._next_ms - now_ms)
                if self._window is not None and not self._raises:
                    waits.append(self.windows.full_for_ms(self._window, now_ms))
        return max(waits)

    def sent(self, now_ms: int, *, fresh: bool = True, slots: int = 1) -> None:
        """Note that a message goes now, as `wait_ms` allowed; it takes the time of so many."""
        interval_ms = 3_600_000 / self._per_hour
        begin_ms = max(self._next_ms, now_ms - min(interval_ms, 1_000))
        self._next_ms = int(begin_ms + slots * interval_ms)
        self._used += 1
        if self.phase is Phase.PAUSED or (self._recovery and self._recovery.connections == 1):
            self._probing, self._probed_ms = True, now_ms
        if fresh:
            self.greylist.sent_fresh(now_ms)

    def unanswered(self) -> None:
        """Note that a message got no reply at all: it says nothing about pace, and a probe may be made again."""
        self._probing = False

    def unsent(self, messages: int) -> None:
        """Note that messages which were noted as sent didn't go after all."""
        self._next_ms = int(self._next_ms - messages * 3_600_000 / self._per_hour)
        self._used = max(0, self._used - messages)
        self._probing = False

    def connection_target(self, now_ms: int) -> int:
        """Return how many connections to have open."""
        self._tick(now_ms)
        needed = int(self._per_hour * max(self._latency_ms, 50.0) * 1.3 / 3_600_000) + 1
        if self.phase is Phase.PAUSED:
            return 1
        if self._recovery is not None:
            allowed = self._recovery.connections if now_ms >= self._recovery.until_ms else 0
            return min(allowed, self.connections.target(now_ms, needed))
        return self.connections.target(now_ms, needed)

    def messages_per_connection(self) -> int:
        """Return after how many messages to close a connection."""
        return self.connections.messages_per_connection()

    def report(self, now_ms: int) -> LaneReport:
        """Explain the present rate."""
        self._tick(now_ms)
        ceiling = None if self._ceiling is None else self._ceiling
        target = self.connection_target(now_ms)
        return LaneReport(
            self.phase, self._per_hour, ceiling, self._reason, self.trips, target, self._since_ms
        )

    # ------------------------------------------------------------------ hearing

    def answered(
        self,
        cause: Cause,
        now_ms: int,
        *,
        latency_ms: int = 0,
        age_ms: int = 0,
        on_connection: int = 0,
    ) -> None:
        """Hear the reply to a message.

        Args:
            cause: what the reply says about pace.
            now_ms: when it came.
            latency_ms: how long the transaction took.
            age_ms: how long ago the message was first tried; 0 if this was the first attempt.
            on_connection: messages accepted on this connection so far.
        """
        self._tick(now_ms)
        self._probing = False
        if self._recovery is not None or cause is Cause.STOP:
            self._recover(cause, now_ms)
        match cause:
            case Cause.ACCEPTED:
                self.greylist.accepted(age_ms, now_ms)
                self._accepted(now_ms, latency_ms)
            case Cause.RATE | Cause.REPUTATION:
                self._too_fast(now_ms, cause)
            case Cause.STOP:
                pass  # the recovery has begun above
            case Cause.CONNECTIONS:
                self.connections.refused(now_ms, self._open - 1)
            case Cause.PER_CONNECTION:
                self.connections.connection_was_full(max(1, on_connection))
            case Cause.GREYLIST:
                self.greylist.deferred(age_ms, now_ms)
                self._next_ms = max(now_ms, self._next_ms - int(3_600_000 / self._per_hour))
            case Cause.MAILBOX_FULL | Cause.TRANSIENT | Cause.PERMANENT:
                self._resume_if_paused(now_ms)

    def connected(self, open_connections: int) -> None:
        """Note how many connections are open now, this one included."""
        self._open = open_connections

    def connection_refused(self, cause: Cause, now_ms: int, open_connections: int) -> None:
        """Hear that a connection was refused while so many others were open."""
        self._tick(now_ms)
        if cause is Cause.STOP:
            self._recover(cause, now_ms)
        elif cause in (Cause.RATE, Cause.REPUTATION):
            self._too_fast(now_ms, cause)
        else:
            self.connections.refused(now_ms, open_connections)

    # ------------------------------------------------------------------ the loop

    def _accepted(self, now_ms: int, latency_ms: int) -> None:
        self.windows.accepted(now_ms)
        self._strain *= 0.9
        slow = self._is_tarpit(latency_ms)
        self._deferred_in_row = self._deferred_in_row + 1 if slow else 0
        if slow and self.phase is not Phase.PAUSED:
            held = (
                latency_ms * self._per_hour / 3_600_000
            )  # messages that could have gone meanwhile
            if self._deferred_in_row > _CONFIRMATIONS or held > _TARPIT_HELD:
                self._trip(now_ms, "replies have become slow", sent_ms=now_ms - latency_ms)
        elif slow:
            self._probe_later(now_ms)
        else:
            self._resume_if_paused(now_ms)

    def _is_tarpit(self, latency_ms: int) -> bool:
        """Tell whether a reply took much longer than replies do here, and learn how long they do."""
        if not latency_ms:
            return False
        low = self._latency_low_ms or float(latency_ms)
        if latency_ms > max(_TARPIT_MIN_MS, _TARPIT_TIMES * low):
            return True
        self._latency_low_ms = low + 0.05 * (latency_ms - low)
        last = self._latency_ms or float(latency_ms)
        self._latency_ms = last + 0.1 * (latency_ms - last)
        return False

    def _too_fast(self, now_ms: int, cause: Cause) -> None:
        self._deferred_in_row += 1
        self._strain += 1
        if self.phase is Phase.PAUSED:
            self.windows.deferred(now_ms, begins=False)
            self._probe_later(now_ms)
        elif self._deferred_in_row >= _CONFIRMATIONS or self._strain > _STRAIN_MAX:
            self._trip(now_ms, f"deferred: {cause.value}")
        elif self._raises:
            self._confirm_ceiling()
            self._cruise_at(self._share, now_ms)
        else:
            self._next_ms = max(self._next_ms, now_ms + 2_000)  # ask again soon, to be sure

    def _trip(self, now_ms: int, reason: str, sent_ms: int = 0) -> None:
        """Stop, and set the ceiling from what was too much.

        `sent_ms` is when a message that met a tarpit was sent; that is no evidence about windows.
        """
        self.trips += 1
        self._strain = 0.0
        soon = self._ceiling is not None and now_ms - self._resumed_ms < self._rest_ms // 2
        if self._raises:
            self._confirm_ceiling()
        else:
            if soon and not self._is_window_full(now_ms):
                self._share = max(_SHARE_MIN, self._share * 0.92)
            self._ceiling = min(self._measured_per_hour(sent_ms or now_ms), self._per_hour) * _CUT
        self._held = None
        if not sent_ms:
            self.windows.deferred(now_ms, begins=True)
        self._enter(Phase.PAUSED, now_ms, reason)
        self._paused_ms = now_ms
        self._probe_every_ms = _PROBE_FIRST_MS
        self._probe_ms = now_ms + _PROBE_FIRST_MS

    def _confirm_ceiling(self) -> None:
        """A raise was too much: what held before it is the ceiling, and is tried again less soon."""
        assert self._ceiling is not None
        self._ceiling = max(self._ceiling, self._held or 0.0)
        if self._window is not None and self.windows.is_refuted(self._window):
            self._window = None
        self._share = _SHARE
        self._rest_ms = max(self._rest_ms, min(_REST_CHEAP_MS, self._rest_ms * 3 // 2))
        self._held = None

    def _is_window_full(self, now_ms: int) -> bool:
        return self._window is not None and self.windows.full_for_ms(self._window, now_ms) > 0

    def _measured_per_hour(self, at_ms: int) -> float:
        """Return the rate of acceptance over the five minutes before, or since the last pause."""
        span_ms = max(20_000, min(5 * _MINUTE, at_ms - self._resumed_ms))
        return max(1, self.windows.count_in(at_ms, span_ms)) * 3_600_000 / span_ms

    def _probe_later(self, now_ms: int) -> None:
        paused_ms = now_ms - self._paused_ms
        self._probe_every_ms = min(_PROBE_MAX_MS, max(_PROBE_FIRST_MS, paused_ms // 5))
        self._probe_ms = now_ms + self._probe_every_ms
        reopens_ms = self.windows.reopens_ms()
        if reopens_ms is not None and now_ms < reopens_ms < self._probe_ms:
            self._probe_ms = reopens_ms

    def _resume_if_paused(self, now_ms: int) -> None:
        self._deferred_in_row = 0
        if self.phase is not Phase.PAUSED:
            return
        paused_ms = now_ms - self._paused_ms
        self.windows.resumed(now_ms)
        estimates = self.windows.estimates()
        if estimates:
            best = self._window = estimates[0]
            self._ceiling = best.per_hour
            reason = _reason_of(best)
            self._rest_ms = min(_REST_CHEAP_MS, max(_REST_MIN_MS, best.hypothesis.length_ms))
        else:
            assert self._ceiling is not None
            self._window = None
            reason = "below the rate that was too much"
            rest_ms = max(_REST_MIN_MS, 15 * paused_ms, self._rest_ms)
            self._rest_ms = min(_REST_MAX_MS, rest_ms)
        self._resumed_ms = now_ms
        self._enter(Phase.CRUISING, now_ms, reason)
        self._cruise_at(self._share, now_ms)

    def _cruise_at(self, share: float, now_ms: int) -> None:
        assert self._ceiling is not None
        self._per_hour = min(self.options.max_per_hour, max(1.0, self._ceiling * share))
        self._raises = 0
        self._rest_until_ms = now_ms + self._rest_ms
        self._next_ms = max(self._next_ms, now_ms + int(3_600_000 / self._per_hour))
        self._changed_ms = now_ms
        self._used = 0

    def _enter(self, phase: Phase, now_ms: int, reason: str) -> None:
        self.phase = phase
        self._since_ms = now_ms
        self._reason = reason

    def _recover(self, cause: Cause, now_ms: int) -> None:
        """Follow Google's recipe from the first 4.7.28 to the last connection."""
        if self._recovery is None:
            self.trips += 1
            self._proved = self._held or (self._ceiling if self._raises else None)
            self._ceiling = min(self._measured_per_hour(now_ms), self._per_hour) * _CUT
            self.windows.deferred(now_ms, begins=True)
            self._recovery = begin_recovery(now_ms, max(4, self._open))
            self._per_hour = self._ceiling / 2
            self._rest_ms = min(_REST_MAX_MS, max(_REST_STOP_MS, 2 * self._rest_ms))
            self._enter(Phase.RECOVERING, now_ms, "4.7.28: stop, then one connection at a time")
            return
        self._recovery = recovery_after(self._recovery, cause, now_ms)
        if self._recovery.finished():
            self._recovery = None
            self._resumed_ms = now_ms
            self.windows.resumed(now_ms)
            estimates = self.windows.estimates()
            # A stop is dear, so believe a slow window; but what ten minutes of silence
            # forgive is hardly counted over much longer. While that is a guess, look again soon.
            short = [each for each in estimates if each.hypothesis.length_ms <= STOP_MS]
            chosen = short or estimates
            self._window = chosen[-1] if chosen else None
            if self._proved is not None:  # a rate that held for a while is better than any guess
                self._window, self._ceiling = None, self._proved
            elif len({each.hypothesis.length_ms for each in chosen}) > 1:
                self._rest_ms = _REST_MIN_MS
            if self._window:
                self._ceiling = self._window.per_hour
            self._enter(Phase.CRUISING, now_ms, "recovered from 4.7.28")
            self._cruise_at(_SHARE, now_ms)

    def _tick(self, now_ms: int) -> None:
        """Let time do what it does: climb, rest, raise, and turn the hour."""
        match self.phase:
            case Phase.CLIMBING:
                self._climb(now_ms)
            case Phase.CRUISING:
                self._turn_hour(now_ms)
                self._raise(now_ms)
            case Phase.PAUSED | Phase.RECOVERING:
                pass

    def _is_used(self, now_ms: int) -> bool:
        """Tell whether the rate was made use of since it was set; what isn't used isn't raised."""
        expected = self._per_hour * (now_ms - self._changed_ms) / 3_600_000
        return self._used >= 0.7 * expected - 2

    def _climb(self, now_ms: int) -> None:
        if now_ms - self._changed_ms < _DOUBLE_EVERY_MS:
            return
        if self._is_used(now_ms):
            self._per_hour = min(self.options.max_per_hour, self._per_hour * 2)
        self._changed_ms = now_ms
        self._used = 0

    def _raise(self, now_ms: int) -> None:
        """After a rest, try more than the ceiling, step by step; when that goes well, forget the ceiling."""
        assert self._ceiling is not None
        if now_ms < self._rest_until_ms:
            return
        window_ms = self._window.hypothesis.length_ms if self._window else 0
        self._rest_until_ms = now_ms + min(_RAISE_STEP_MAX_MS, max(_RAISE_STEP_MS, window_ms))
        if self._choose_next_window(now_ms):
            return
        self.days.note(now_ms, self._ceiling)
        if not self._is_used(now_ms):
            self._changed_ms, self._used = now_ms, 0
            return
        if self._share < _SHARE:
            self._share = min(_SHARE, self._share * 1.15)
            self._cruise_at(self._share, now_ms)
            return
        self._held = self._per_hour if self._raises else None
        if self._raises >= len(_RAISES):
            self._enter(Phase.CLIMBING, now_ms, "the former limit no longer holds")
            self._ceiling = self._window = self._held = None
            self._raises = 0
            self._share = _SHARE
        else:
            self._per_hour = min(self.options.max_per_hour, self._ceiling * _RAISES[self._raises])
            self._raises += 1
        self._changed_ms, self._used = now_ms, 0

    def _choose_next_window(self, now_ms: int) -> bool:
        """Go on to the next slowest window that explains the evidence, once a raise refuted the one kept to."""
        if self._window is None or not self.windows.is_refuted(self._window):
            return False
        estimates = [each for each in self.windows.estimates() if each.per_hour > self._per_hour]
        if not estimates:
            self._window = None
            return False
        self._held = self._per_hour
        self._window = estimates[-1]
        self._ceiling = self._window.per_hour
        self._reason = _reason_of(self._window)
        self._cruise_at(self._share, now_ms)
        return True

    def _turn_hour(self, now_ms: int) -> None:
        if now_ms // _HOUR == self._hour:
            return
        self._hour = now_ms // _HOUR
        assert self._ceiling is not None
        factor = self.days.factor(now_ms)
        if factor != 1.0:
            self._ceiling *= factor
            self._reason = f"what this hour took before ({factor:.2f} of the hour before)"
            self._cruise_at(self._share, now_ms)


def _reason_of(estimate: WindowEstimate) -> str:
    window = estimate.hypothesis
    return f"at most {estimate.high} in {window.length_ms // _MINUTE} min, {window.laid.value}"
