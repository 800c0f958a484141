"""Quantities as rules write them: throttles, durations, connection limits, exactly and without floats.

A throttle is `[local:]QUANTITY/PERIOD[,max_burst=N]`, a period a unit with an optional number before it
(`20/30 minutes`); a duration is one or more numbers with units (`90m`, `1 hour 30 min`).
KumoMTA docs/reference/kumo/make_throttle.md.
"""

from __future__ import annotations

__all__ = (
    "ConnectionLimit",
    "Threshold",
    "Throttle",
    "parse_connection_limit",
    "parse_duration_ms",
    "parse_threshold",
    "parse_throttle",
    "show_duration",
)

import re

import msgspec

from engine.errors import InputError

QUANTITY_MAX = 10**12
PERIOD_MS_MAX = 366 * 86_400_000

_UNIT_MS = {
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), 1),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000),
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000),
}
_PART = re.compile(r"\s*(\d{1,12})\s*([a-z]{1,12})\s*")
_PERIOD = re.compile(r"(\d{0,9})\s*([a-z]{1,12})")
_THROTTLE_MEND = 'write QUANTITY/PERIOD, such as "100/min", "5/30 minutes" or "10/s,max_burst=3"'


class Throttle(msgspec.Struct, frozen=True):
    """So many in each period; `burst` is how many may go at once (`None`: smooth, our default)."""

    quantity: int
    period_ms: int
    burst: int | None = None
    local: bool = False

    def __str__(self) -> str:
        """Render as it would be written in a rule."""
        burst = "" if self.burst is None else f",max_burst={self.burst}"
        scope = "local:" if self.local else ""
        return f"{scope}{self.quantity}/{_show_period(self.period_ms)}{burst}"

    def is_looser_than(self, other: Throttle) -> bool:
        """Compare the mean rates exactly."""
        return self.quantity * other.period_ms > other.quantity * self.period_ms


class ConnectionLimit(msgspec.Struct, frozen=True):
    """Connections at the same time; `local` means for each node and not shared."""

    limit: int
    local: bool = False

    def __str__(self) -> str:
        """Render as it would be written in a rule."""
        return f"local:{self.limit}" if self.local else str(self.limit)


class Threshold(msgspec.Struct, frozen=True):
    """A trigger: `count` matches within `period_ms`; 1 means the first match fires."""

    count: int
    period_ms: int

    def __str__(self) -> str:
        """Render as it would be written in a rule."""
        return "Immediate" if self.count <= 1 else f"{self.count}/{_show_period(self.period_ms)}"


def show_duration(duration_ms: int) -> str:
    """Render a duration in its largest whole unit, such as `90min` or `2h`."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if duration_ms >= size and duration_ms % size == 0:
            return f"{duration_ms // size}{unit}"
    return f"{duration_ms}ms"


def _show_period(period_ms: int) -> str:
    """Render the period of a rate: `min` rather than `1min`."""
    shown = show_duration(period_ms)
    return shown[1:] if shown[:1] == "1" and shown[1:2].isalpha() else shown


def parse_duration_ms(value: object) -> int:
    """Read a duration: text with units, or a whole number of seconds.

    Raises:
        InputError: it is none, or longer than a year.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _bounded_period(value * 1_000, str(value))
    if not isinstance(value, str):
        raise InputError(f"expected a duration, got {value!r:.60}", mend='write "90s" or "2 hours"')
    total, position, text = 0, 0, value.strip()
    while position < len(text):
        part = _PART.match(text, position)
        if part is None or part[2] not in _UNIT_MS:
            raise InputError(
                f"expected a duration, got {value[:60]!r}",
                mend='write numbers with units of ms, s, m, h, d, w: "90s", "1 hour 30 min"',
            )
        total, position = total + int(part[1]) * _UNIT_MS[part[2]], part.end()
    if not text:
        raise InputError("expected a duration, got an empty text", mend='write "90s" or "2 hours"')
    return _bounded_period(total, value)


def parse_throttle(value: object) -> Throttle:
    """Read a throttle.

    Raises:
        InputError: it isn't one, or a number is out of range.
    """
    if not isinstance(value, str) or "/" not in value:
        raise InputError(f"expected a rate, got {value!r:.60}", mend=_THROTTLE_MEND)
    local, text = _take_local(value.strip())
    quantity, _, rest = text.partition("/")
    period, _, burst = rest.partition(",max_burst=")
    found = _PERIOD.fullmatch(period.strip())
    if found is None or found[2] not in _UNIT_MS:
        raise InputError(f"expected a period after the / of {value[:60]!r}", mend=_THROTTLE_MEND)
    period_ms = int(found[1] or 1) * _UNIT_MS[found[2]]
    return Throttle(
        quantity=_count(quantity, value),
        period_ms=_bounded_period(period_ms, value),
        burst=_count(burst, value) if burst else None,
        local=local,
    )


def parse_threshold(value: object) -> Threshold:
    """Read the `Threshold` of a trigger, such as `5/hr`.

    Raises:
        InputError: it isn't one.
    """
    throttle = parse_throttle(value)
    return Threshold(throttle.quantity, throttle.period_ms)


def parse_connection_limit(value: object) -> ConnectionLimit:
    """Read a number of connections, or `local:N`.

    Raises:
        InputError: it isn't one.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= QUANTITY_MAX:
        return ConnectionLimit(value)
    if isinstance(value, str):
        local, text = _take_local(value.strip())
        return ConnectionLimit(_count(text, value), local)
    raise InputError(
        f"expected a number of connections, got {value!r:.60}", mend='write 5 or "local:5"'
    )


def _take_local(text: str) -> tuple[bool, str]:
    return (True, text[6:]) if text.startswith("local:") else (False, text)


def _count(text: str, whole: str) -> int:
    """Read a positive whole number that may be grouped with `,` or `_`."""
    digits = text.strip().replace(",", "").replace("_", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 13:
        raise InputError(f"expected a whole number in {whole[:60]!r}", mend=_THROTTLE_MEND)
    count = int(digits)
    if not 0 < count <= QUANTITY_MAX:
        raise InputError(f"{whole[:60]!r} is out of range", mend=f"use 1 to {QUANTITY_MAX}")
    return count


def _bounded_period(period_ms: int, whole: str) -> int:
    if not 0 < period_ms <= PERIOD_MS_MAX:
        raise InputError(f"the time in {whole[:60]!r} is out of range", mend="use 1 ms to 366 days")
    return period_ms
