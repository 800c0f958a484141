"""What a change does to those under way, as one Struct: what `--json` prints; the page and the text are made of it."""

from __future__ import annotations

__all__ = ("ChangeReport", "Ending", "Hour", "MailShift", "Place", "Tale", "make_change_report")

from collections.abc import Sequence

import msgspec

from actors.simulation.change import HOURS, Change, ChangeTally
from actors.simulation.intervals import Share, share_of
from actors.simulation.post import Told
from actors.simulation.times import utc
from actors.simulation.world import Setting
from scenarios.difference import Change as Difference
from scenarios.difference import differences
from scenarios.duration import format_duration

WAVE_MIN = 20
"""A first hour with fewer mails is no wave."""


class Place(msgspec.Struct, frozen=True):
    """Journeys by the step at which they stood, and where they went.

    `to` "" is staying on their version, an end is in brackets. `at_once`: of so many a move made the step due.
    """

    step: str
    to: str
    journeys: int
    at_once: int


class Ending(msgspec.Struct, frozen=True):
    """Journeys by how they end without the change and with it."""

    without: str
    with_it: str
    journeys: int


class MailShift(msgspec.Struct, frozen=True):
    """Mails of one step, from the change on, by those under way."""

    step: str
    without: int
    with_it: int


class Hour(msgspec.Struct, frozen=True):
    """Mails of an hour after the change."""

    hour: int
    without: int
    with_it: int


class Tale(msgspec.Struct, frozen=True):
    """One contact to whom it happens, from the change on, both ways."""

    contact: str
    stood_at: str
    without: tuple[Told, ...]
    with_it: tuple[Told, ...]


class ChangeReport(msgspec.Struct, frozen=True):
    """All of it. `otherwise` are journeys that end otherwise or get other mail, or the same at another time."""

    scenario: str
    before: str
    after: str
    at: str
    policy: str
    spread: str
    seed: int
    contacts: int
    under_way: Share
    journeys: int
    otherwise: Share
    more_mail: int
    less_mail: int
    differences: tuple[Difference, ...]
    places: tuple[Place, ...]
    endings: tuple[Ending, ...]
    mails: tuple[MailShift, ...]
    hours: tuple[Hour, ...]
    twice: dict[str, int]
    tales: tuple[Tale, ...]
    findings: tuple[str, ...]


def make_change_report(
    setting: Setting, change: Change, tally: ChangeTally, tales: Sequence[Tale]
) -> ChangeReport:
    """Make the report."""
    places = []
    for key, number in sorted(tally.places.items(), key=_most):
        step, _, to = key.partition("\t")
        places.append(Place(step, to, number, tally.at_once.get(key, 0)))
    endings = []
    for key, number in sorted(tally.ends.items(), key=_most):
        without, _, with_it = key.partition("\t")
        endings.append(Ending(without, with_it, number))
    hours = tuple(
        Hour(hour, tally.hours.get(f"without\t{hour}", 0), tally.hours.get(f"with\t{hour}", 0))
        for hour in range(HOURS)
    )
    steps = dict.fromkeys(key.partition("\t")[2] for key in sorted(tally.mails))
    mails = tuple(
        MailShift(step, tally.mails.get(f"without\t{step}", 0), tally.mails.get(f"with\t{step}", 0))
        for step in steps
    )
    return ChangeReport(
        scenario=setting.scenario.name,
        before=change.before.version,
        after=setting.scenario.version,
        at=utc(change.at),
        policy=change.migration.policy,
        spread=format_duration(change.spread_ms) if change.spread_ms else "0",
        seed=setting.seed,
        contacts=tally.contacts,
        under_way=share_of(tally.under_way, tally.contacts),
        journeys=tally.journeys,
        otherwise=share_of(tally.otherwise, tally.journeys),
        more_mail=tally.more_mail,
        less_mail=tally.less_mail,
        differences=tuple(differences(change.before, setting.scenario)),
        places=tuple(places),
        endings=tuple(endings),
        mails=mails,
        hours=hours,
        twice=dict(sorted(tally.twice.items())),
        tales=tuple(tales),
        findings=tuple(_findings(change, tally, places, hours)),
    )


def _findings(
    change: Change, tally: ChangeTally, places: Sequence[Place], hours: Sequence[Hour]
) -> list[str]:
    """Say what somebody should know before publishing."""
    found = []
    if not tally.journeys:
        return [f"Nobody is under way at {utc(change.at)}: choose another moment with --on"]
    for one in places:
        if one.to == "(step_removed)":
            found.append(
                f"{one.journeys:,} journeys at {one.step} end, since the new version hasn't this step: "
                f"--place {one.step}=STEP says where they go instead"
            )
        elif one.to == "(no_date)":
            found.append(
                f"{one.journeys:,} journeys at {one.step} end, since their contact has no such date"
            )
    found += [
        f"{number:,} journeys send {template} a second time"
        for template, number in sorted(tally.twice.items())
    ]
    first = hours[0]
    if first.with_it >= WAVE_MIN and first.with_it > 2 * first.without:
        found.append(
            f"{first.with_it:,} mails go in the first hour after the change, {first.without:,} without it: "
            "a longer --spread makes that slower"
        )
    if tally.more_mail or tally.less_mail:
        found.append(
            f"{tally.more_mail:,} journeys get more mail than without the change, {tally.less_mail:,} less"
        )
    return found


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
