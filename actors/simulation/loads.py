"""What each provider gets of a simulation's mail, held against its quotas and the warm-up plan."""

from __future__ import annotations

__all__ = ("Load", "loads_of")

from collections.abc import Mapping

import msgspec

from actors.simulation.counting import DAY_MS, Tally
from actors.simulation.forecast import (
    LATE_MINUTES,
    Delay,
    Forecast,
    Quota,
    forecast,
    quotas_of,
    wait_told,
)
from actors.simulation.times import day_name, hour_name
from actors.simulation.world import World


class Load(msgspec.Struct, frozen=True):
    """What one provider gets. `hours` are attempts by hour (UTC), those of the busiest 48 hours.

    `forecast` is a queue at its quotas and the warm-up plan; `measured` what the simulation with twins itself saw.
    `findings` are sentences for people.
    """

    provider: str
    mails: int
    attempts: int
    busiest_hour: str
    busiest_hour_attempts: int
    quotas: tuple[Quota, ...]
    plan: tuple[int, ...]
    days: dict[str, int]
    hours: dict[str, int]
    forecast: Forecast
    measured: Forecast | None
    deferrals: dict[str, int]
    findings: tuple[str, ...]


def loads_of(world: World, tally: Tally, plan: tuple[int, ...], *, twins: bool) -> tuple[Load, ...]:
    """Work out the load of every provider that gets mail.

    Args:
        world: of the simulation.
        tally: what was counted.
        plan: the warm-up plan, mails a day.
        twins: whether providers answered in it; then their waits are measured, not forecast.
    """
    demand: dict[str, dict[tuple[int, str], int]] = {}
    for key, number in tally.demand.items():
        name, minute, meant = key.split("\t")
        demand.setdefault(name, {})[int(minute), meant] = number
    late: dict[str, dict[tuple[str, int], int]] = {}
    for key, number in tally.late.items():
        name, meant, minutes = key.split("\t")
        late.setdefault(name, {})[meant, int(minutes)] = number
    quotas = quotas_of(world.setting.twin)
    first_day = world.cast.begins // DAY_MS
    found = []
    for name, wanted in sorted(demand.items()):
        expected = forecast(wanted, quotas.get(name, ()), plan, first_day)
        measured = _measured(late.get(name, {})) if twins else None
        found.append(_load(name, tally, wanted, quotas.get(name, ()), plan, expected, measured))
    return tuple(found)


def _load(
    name: str,
    tally: Tally,
    wanted: Mapping[tuple[int, str], int],
    quotas: tuple[Quota, ...],
    plan: tuple[int, ...],
    expected: Forecast,
    measured: Forecast | None,
) -> Load:
    hours: dict[int, int] = {}
    for key, number in tally.load.items():
        provider, _, hour = key.partition("\t")
        if provider == name:
            hours[int(hour)] = number
    days: dict[int, int] = {}
    for (minute, _), number in wanted.items():
        days[minute // 1440] = days.get(minute // 1440, 0) + number
    busiest = max(hours, key=lambda hour: (hours[hour], -hour), default=0)
    shown = range(busiest - 24, busiest + 24)
    return Load(
        provider=name,
        mails=sum(wanted.values()),
        attempts=sum(hours.values()),
        busiest_hour=hour_name(busiest),
        busiest_hour_attempts=hours.get(busiest, 0),
        quotas=quotas,
        plan=plan[: len(days) + 1],
        days={day_name(day): number for day, number in sorted(days.items())},
        hours={hour_name(hour): hours.get(hour, 0) for hour in shown},
        forecast=expected,
        measured=measured,
        deferrals={
            key.partition("\t")[2]: number
            for key, number in sorted(tally.deferrals.items())
            if key.partition("\t")[0] == name
        },
        findings=tuple(_findings(name, measured or expected, plan)),
    )


def _measured(late: Mapping[tuple[str, int], int]) -> Forecast:
    """Put what a simulation with twins saw into the same form."""
    mails = sum(late.values())
    meant: dict[str, list[int]] = {}
    for (wall, minutes), number in late.items():
        counts = meant.setdefault(wall, [0, 0, 0])
        counts[0] += number
        counts[1] += number if minutes >= LATE_MINUTES else 0
        counts[2] = max(counts[2], minutes)
    delays = [
        Delay(wall, counts[0], counts[1], counts[2])
        for wall, counts in meant.items()
        if wall and counts[1]
    ]
    delays.sort(key=lambda one: (-one.minutes_max, one.meant))
    total = sum(minutes * number for (_, minutes), number in late.items())
    return Forecast(
        mails,
        sum(counts[1] for counts in meant.values()),
        round(total / mails, 2) if mails else 0.0,
        max((minutes for _, minutes in late), default=0),
        0,
        tuple(delays),
    )


def _findings(name: str, seen: Forecast, plan: tuple[int, ...]) -> list[str]:
    """Say what can't be kept."""
    why = f"{name}'s limits" + (" and the warm-up plan" if plan else "")
    found = [
        f"{one.meant} cannot be met at provider {name}: {wait_told(one.minutes_max)} late at worst, "
        f"{one.late:,} of {one.mails:,} mails by {LATE_MINUTES} min or more"
        for one in seen.delays[:3]
    ]
    if seen.late and not found:
        found.append(
            f"{seen.late:,} of {seen.mails:,} mails to {name} wait for {why}: "
            f"{wait_told(seen.minutes_max)} at worst"
        )
    return found
