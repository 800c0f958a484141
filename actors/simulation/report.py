"""What a simulation found, as one Struct: what `--json` prints, and what the page and the text are made of.

It has no time of the wall and no name of a machine in it: the same seed gives the same bytes.
"""

from __future__ import annotations

__all__ = (
    "Difference",
    "Experiment",
    "MailStep",
    "Report",
    "Step",
    "Tale",
    "Variant",
    "Volume",
    "make_report",
)

from collections.abc import Mapping, Sequence

import msgspec

from actors.simulation.counting import Tally
from actors.simulation.intervals import (
    Share,
    difference,
    power_of,
    share_of,
    visible_difference,
)
from actors.simulation.loads import Load, loads_of
from actors.simulation.post import Told
from actors.simulation.times import day_name
from actors.simulation.world import World
from actors.simulation.worst import mails_max
from scenarios.model import End, Send, Split, Switch, WaitFor, walk


class Step(msgspec.Struct, frozen=True):
    """One step of the funnel: how often journeys took it, of all journeys; `branches` by name.

    `per_journey` is more than 1 in a loop, where a share says nothing.
    """

    step: str
    kind: str
    reached: Share
    per_journey: float
    branches: dict[str, int]


class MailStep(msgspec.Struct, frozen=True):
    """What became of one step's mail. Opens and complaints are of what was delivered, clicks of what was opened."""

    step: str
    template: str
    topic: str
    decided: int
    handed_over: int
    became: dict[str, int]
    refused: dict[str, int]
    opened: Share
    clicked: Share
    complained: Share
    unsubscribed: Share


class Volume(msgspec.Struct, frozen=True):
    """How much mail. `per_contact` and `most_a_day` are contacts by number of mails.

    `worst_journey` is the longest way of one journey; `worst_instant` what goes if all contacts take it at once.
    """

    mails: int
    per_contact: dict[int, int]
    most_a_day: dict[int, int]
    days: dict[str, int]
    busiest_day: str
    busiest_day_mails: int
    worst_journey: int
    worst_instant: int


class Variant(msgspec.Struct, frozen=True):
    """One way of an experiment: who of the contacts that were assigned to it caused the metric's event."""

    name: str
    converted: Share


class Difference(msgspec.Struct, frozen=True):
    """A variant against the one that it is measured by. `power`: the chance to see as much with so many contacts."""

    variant: str
    against: str
    value: float
    low: float
    high: float
    power: float
    visible: float


class Experiment(msgspec.Struct, frozen=True):
    """What an experiment of this size shows."""

    step: str
    metric: str
    variants: tuple[Variant, ...]
    differences: tuple[Difference, ...]


class Tale(msgspec.Struct, frozen=True):
    """A way through the scenario, how many took it, and what one of them lived through."""

    way: str
    contacts: Share
    contact: str
    lines: tuple[Told, ...]


class Report(msgspec.Struct, frozen=True):
    """All of it."""

    scenario: str
    version: str
    description: str
    behaviour: str
    seed: int
    begins: str
    days: int
    ended_ms: int
    twins: bool
    contacts: int
    entered: Share
    mailed: Share
    journeys: int
    events: dict[str, int]
    funnel: tuple[Step, ...]
    ended: dict[str, Share]
    standing: dict[str, int]
    mail: tuple[MailStep, ...]
    cap_hits: int
    cap_days: dict[str, int]
    volume: Volume
    providers: tuple[Load, ...]
    experiments: tuple[Experiment, ...]
    tales: tuple[Tale, ...]
    findings: tuple[str, ...]
    fitted: tuple[str, ...] = ()


def make_report(
    world: World,
    tally: Tally,
    tales: Sequence[tuple[str, str, tuple[Told, ...]]],
    *,
    twins: bool,
    plan: tuple[int, ...] = (),
    fitted: tuple[str, ...] = (),
) -> Report:
    """Make the report.

    Args:
        world: of the simulation.
        tally: what was counted.
        tales: way, contact and lines of the sample.
        twins: whether providers answered in it.
        plan: the warm-up plan, mails a day for each provider.
        fitted: what was measured on a history, in words.
    """
    scenario, behaviour = world.scenario, world.setting.behaviour
    providers = loads_of(world, tally, plan, twins=twins)
    return Report(
        scenario=scenario.name,
        version=scenario.version,
        description=scenario.description,
        behaviour=behaviour.behaviour,
        seed=world.setting.seed,
        begins=behaviour.begins,
        days=behaviour.days,
        ended_ms=tally.last_ms,
        twins=twins,
        contacts=tally.contacts,
        entered=share_of(tally.entered, tally.contacts),
        mailed=share_of(tally.mailed, tally.contacts),
        journeys=tally.opened,
        events=_sorted(tally.events),
        funnel=_funnel(world, tally),
        ended={
            reason: share_of(number, tally.opened)
            for reason, number in sorted(tally.ended.items(), key=_most)
        },
        standing=_sorted(tally.standing),
        mail=_mail(world, tally),
        cap_hits=sum(tally.cap_days.values()),
        cap_days={day_name(day): number for day, number in sorted(tally.cap_days.items())},
        volume=_volume(world, tally),
        providers=providers,
        experiments=_experiments(world, tally),
        tales=tuple(
            Tale(way, share_of(tally.stories[way].contacts, tally.contacts), contact, lines)
            for way, contact, lines in tales
            if way in tally.stories
        ),
        findings=tuple(finding for one in providers for finding in one.findings),
        fitted=fitted,
    )


def _funnel(world: World, tally: Tally) -> tuple[Step, ...]:
    branches: dict[str, dict[str, int]] = {}
    for key, number in sorted(tally.branches.items()):
        name, _, branch = key.partition("\t")
        branches.setdefault(name, {})[branch] = number
    known = _branch_names(world)
    found = []
    for step in walk(world.scenario.steps):
        if isinstance(step, End):
            continue
        taken = tally.reached.get(step.id, 0)
        ways = branches.get(step.id, {})
        found.append(
            Step(
                step.id,
                type(step).__name__.lower(),
                share_of(taken, max(tally.opened, taken)),
                round(taken / tally.opened, 4) if tally.opened else 0.0,
                {known.get((step.id, way), way): number for way, number in ways.items()},
            )
        )
    return tuple(found)


def _branch_names(world: World) -> Mapping[tuple[str, str], str]:
    """Name branches as people know them: by their event, or by their condition."""
    found: dict[tuple[str, str], str] = {}
    for step in walk(world.scenario.steps):
        match step:
            case WaitFor(id=identity, waiters=waiters):
                events = [waiter.event for waiter in waiters]
                for at, event in enumerate(events):
                    again = f" ({at + 1})" if events.count(event) > 1 else ""
                    found[identity, str(at)] = event + again
            case Switch(id=identity, cases=cases):
                for at, case in enumerate(cases):
                    found[identity, str(at)] = case.when
            case _:
                pass
    return found


def _mail(world: World, tally: Tally) -> tuple[MailStep, ...]:
    became: dict[str, dict[str, int]] = {}
    for key, number in sorted(tally.mail.items()):
        name, _, what = key.partition("\t")
        became.setdefault(name, {})[what] = number
    refused: dict[str, dict[str, int]] = {}
    for key, number in sorted(tally.refused.items()):
        name, _, reason = key.partition("\t")
        refused.setdefault(name, {})[reason] = number
    found = []
    for step in walk(world.scenario.steps):
        if not isinstance(step, Send):
            continue
        of = became.get(step.id, {})
        delivered, opened = of.get("delivered", 0), of.get("opened", 0)
        ends = {name: n for name, n in of.items() if name not in _NOT_ENDS}
        found.append(
            MailStep(
                step.id,
                step.template,
                step.topic,
                of.get("decided", 0),
                of.get("handed over", 0),
                ends,
                refused.get(step.id, {}),
                share_of(opened, delivered),
                share_of(of.get("clicked", 0), opened),
                share_of(of.get("complained", 0), delivered),
                share_of(of.get("unsubscribed", 0), delivered),
            )
        )
    return tuple(found)


def _volume(world: World, tally: Tally) -> Volume:
    days = {day_name(day): number for day, number in sorted(tally.days.items())}
    busiest = max(days, key=lambda day: (days[day], day), default="")
    worst = mails_max(world.scenario.steps)
    return Volume(
        mails=sum(days.values()),
        per_contact=dict(sorted(tally.per_contact.items())),
        most_a_day=dict(sorted(tally.per_day.items())),
        days=days,
        busiest_day=busiest,
        busiest_day_mails=days.get(busiest, 0),
        worst_journey=worst,
        worst_instant=worst * tally.contacts,
    )


# ---- experiments


def _experiments(world: World, tally: Tally) -> tuple[Experiment, ...]:
    found = []
    for step in walk(world.scenario.steps):
        if not isinstance(step, Split) or not step.experiment:
            continue
        variants = []
        for variant in step.variants:
            key = f"{step.id}\t{variant.name}\t"
            assigned = tally.variants.get(f"{key}assigned", 0)
            converted = tally.variants.get(f"{key}converted", 0)
            variants.append(Variant(variant.name, share_of(converted, assigned)))
        # A holdout is a variant without steps; where there is none, the first variant is the measure.
        silent = [one.name for one in step.variants if not one.then]
        measure = silent[0] if silent else step.variants[0].name
        base = next(one for one in variants if one.name == measure)
        found.append(
            Experiment(
                step.id,
                step.metric,
                tuple(variants),
                tuple(_compared(one, base) for one in variants if one is not base),
            )
        )
    return tuple(found)


def _compared(one: Variant, base: Variant) -> Difference:
    value, low, high = difference(one.converted, base.converted)
    return Difference(
        one.name,
        base.name,
        value,
        low,
        high,
        power_of(one.converted, base.converted),
        visible_difference(base.converted.value, one.converted.of, base.converted.of),
    )


_NOT_ENDS = frozenset({"decided", "handed over", "opened", "clicked", "complained", "unsubscribed"})


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=_most))
