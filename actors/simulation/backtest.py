"""A scenario over what really happened: whom it would have written to, and when, compared with the history.

The log's events go through the production machines at their own times, as in a replay; nobody acts, so nothing answers
the mail that would have gone. Two comparisons say what it is worth: with the mail that the log says was sent, and with
what contacts did after the moment at which the scenario would have written, without that mail.
"""

from __future__ import annotations

__all__ = ("SENT_EVENTS", "After", "Backtest", "Compared", "WouldSend", "backtest")

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from actors.replay.driver import arrivals_of
from actors.replay.rows import LogRow
from actors.simulation.counting import DAY_MS, Tally
from actors.simulation.intervals import Share, share_of
from actors.simulation.life import Life
from actors.simulation.post import HandedOver, OpenPost
from actors.simulation.world import World

SENT_EVENTS: Final = ("mail.sent", "mail.delivered")
"""Events of a log that say a mail was sent; the first of them that the log has is taken."""

WITHIN_DAYS: Final = 14


class WouldSend(msgspec.Struct, frozen=True):
    """A mail that would have gone: to whom, of which step, when (ms)."""

    contact: str
    scenario: str
    step: str
    at: int
    day: str
    message_id: str


class After(msgspec.Struct, frozen=True):
    """What contacts did within `days` after a step's mail would have gone, without it: the share that did.

    `just_before` did so within the day before: their mail would have come too late.
    """

    step: str
    event: str
    days: int
    did: Share
    just_before: Share


class Compared(msgspec.Struct, frozen=True):
    """Would-be mails against those in the log, by contact and day (UTC)."""

    event: str
    both: int
    only_scenario: int
    only_log: int


class Backtest(msgspec.Struct, frozen=True):
    """All of it. `mails` by step; `not_sent` by step and reason; `days` mails by day."""

    scenario: str
    version: str
    events: int
    contacts: int
    entered: Share
    mailed: Share
    journeys: int
    mails: dict[str, int]
    not_sent: dict[str, dict[str, int]]
    ended: dict[str, int]
    days: dict[str, int]
    per_contact: dict[int, int]
    after: tuple[After, ...]
    compared: Compared | None


def backtest(
    world: World, instants: Iterable[tuple[int, list[LogRow]]]
) -> tuple[Backtest, list[WouldSend]]:
    """Run a history through a scenario.

    Args:
        world: with the scenario and those beside it.
        instants: the log by time, each time once, rows in file order.
    """
    run = _Run(world)
    for at, rows in instants:
        run.take(at, rows)
    return run.result()


class _Run:
    """The lives of the log's contacts, and what of the log the comparisons need."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tally = Tally()
        self._post = OpenPost()
        self._lives: dict[str, Life] = {}
        self._events = 0
        self._watched = frozenset(_watched(world))
        self._did: dict[tuple[str, str], list[int]] = {}
        self._sent: dict[str, set[tuple[str, int]]] = {name: set() for name in SENT_EVENTS}

    def take(self, at: int, rows: list[LogRow]) -> None:
        """Take the events of one time: what is due by then goes first."""
        touched: dict[str, Life] = {}
        for row in rows:
            life = self._lives.get(row.contact) or self._born(row.contact)
            touched[row.contact] = life
            _go_on(life, at)
        for row in rows:
            arrivals = arrivals_of(self._world.tenant, row)
            touched[row.contact].given(at, [(one.input_id, one.body) for one in arrivals])
            self._note(row)
        for life in touched.values():
            life.step(at)
        self._events += len(rows)

    def _born(self, contact: str) -> Life:
        life = Life(self._world, -1, contact, None, self._post, self._tally)
        life.handed_over = []
        self._lives[contact] = life
        return life

    def _note(self, row: LogRow) -> None:
        name, at = row.event.name, row.event.at
        if name in self._watched:
            self._did.setdefault((row.contact, name), []).append(at)
        if name in self._sent:
            self._sent[name].add((row.contact, at // DAY_MS))

    def result(self) -> tuple[Backtest, list[WouldSend]]:
        """Let time go on until nothing is due, and compare."""
        for life in self._lives.values():
            life.run()
        tally, scenario = self._tally, self._world.scenario
        sent = sorted(self._would_send(), key=lambda one: (one.at, one.contact, one.step))
        own = [one for one in sent if one.scenario == scenario.name]
        found = Backtest(
            scenario=scenario.name,
            version=scenario.version,
            events=self._events,
            contacts=tally.contacts,
            entered=share_of(tally.entered, tally.contacts),
            mailed=share_of(len({one.contact for one in own}), tally.contacts),
            journeys=tally.opened,
            mails=_counts(one.step for one in own),
            not_sent=_not_sent(tally),
            ended=dict(sorted(tally.ended.items())),
            days=_counts(one.day for one in own),
            per_contact=dict(sorted(tally.per_contact.items())),
            after=tuple(self._after(own)),
            compared=self._compared(own),
        )
        return found, sent

    def _would_send(self) -> Iterator[WouldSend]:
        for contact, life in self._lives.items():
            for one in life.handed_over or ():
                yield WouldSend(
                    contact, one.scenario, one.step, one.at, _day(one), one.message_id.hex()
                )

    def _after(self, sent: list[WouldSend]) -> Iterator[After]:
        for event in sorted(self._watched):
            by_step: dict[str, list[int]] = {}
            for one in sent:
                times = self._did.get((one.contact, event), ())
                did = any(one.at < at <= one.at + WITHIN_DAYS * DAY_MS for at in times)
                before = any(one.at - DAY_MS <= at <= one.at for at in times)
                counts = by_step.setdefault(one.step, [0, 0, 0])
                counts[0] += 1
                counts[1] += did
                counts[2] += before
            for step, (mails, did_so, just) in sorted(by_step.items()):
                yield After(
                    step, event, WITHIN_DAYS, share_of(did_so, mails), share_of(just, mails)
                )

    def _compared(self, sent: list[WouldSend]) -> Compared | None:
        event = next((name for name in SENT_EVENTS if self._sent[name]), None)
        if event is None:
            return None
        ours = {(one.contact, one.at // DAY_MS) for one in sent}
        theirs = self._sent[event]
        return Compared(event, len(ours & theirs), len(ours - theirs), len(theirs - ours))


def _watched(world: World) -> set[str]:
    """Choose the events that say whether mail was worth it: goals and metrics; without any, what opens journeys."""
    scenario = world.scenario
    goals = {watch.event for watch in scenario.watches if watch.goal and watch.event}
    return goals | set(world.metrics) or {one.event for one in scenario.entries if one.event}


def _go_on(life: Life, at: int) -> None:
    """Let a life go on until just before the inputs of a time: timers of that time go first."""
    while (due := life.next_at) is not None and due <= at:
        life.step(due)


def _not_sent(tally: Tally) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for key, number in sorted(tally.mail.items()):
        step, _, what = key.partition("\t")
        if what.startswith(("skipped", "cancelled", "suppressed", "expired", "erased")):
            found.setdefault(step, {})[what.removeprefix("skipped ")] = number
    return found


def _counts(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _day(one: HandedOver) -> str:
    return datetime.fromtimestamp(one.at / 1000, UTC).date().isoformat()
