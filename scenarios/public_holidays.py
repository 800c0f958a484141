"""Public holidays by country, or by a part of one, as the library `holidays` knows them (its version is pinned).

`PL` is Poland, `DE-BY` Bavaria: codes of ISO 3166-1 and 3166-2. Substitute days, where a law has them, count too.
"""

from __future__ import annotations

__all__ = ("is_holiday", "knows")

from functools import cache, lru_cache
from typing import Any, Final

_EPOCH: Final = (
    719_163  # 1 January 1970 as a proleptic ordinal, which the standard library counts days by
)
_KEPT: Final = 65_536  # answers: some decades of some dozens of places


@cache
def _calendar(place: str) -> Any:
    """Give the library's calendar; None: it knows no such place. Importing it takes a third of a second, once."""
    import holidays

    country, _, part = place.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        return None


def knows(place: str) -> bool:
    """Tell whether the holidays of a place are known."""
    return _calendar(place) is not None


@lru_cache(maxsize=_KEPT)
def is_holiday(place: str, day: int) -> bool:
    """Tell whether a day (days since 1 January 1970) is a public holiday there. A place that isn't known has none."""
    import datetime as dt

    calendar = _calendar(place)
    return calendar is not None and dt.date.fromordinal(day + _EPOCH) in calendar
