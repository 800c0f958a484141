"""What publishing a new version does to those under way: the same lives, once without it and once with it.

Each contact lives twice with the same chance. Up to the change both lives are the same; then one goes on with the old
version, and in the other the new one is published with a policy for journeys under way (`scenarios.migration`). Only
journeys that are open at that moment are compared: what those do that open later, a plain simulation of the new version
tells. A move `now` happens at one moment here; in production its run walks over all contacts, which takes as long as it
takes.
"""

from __future__ import annotations

__all__ = ("Change", "ChangeTally", "Course", "Rehearsal", "change_of", "live_changed")

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from actors.simulation.chunks import Work, in_chunks
from actors.simulation.counting import HOUR_MS, Tally
from actors.simulation.life import Life
from actors.simulation.post import OpenPost, Told
from actors.simulation.solo import contact_name
from actors.simulation.world import Setting, World
from engine.errors import InputError
from scenarios.behaviour.acting import Actor
from scenarios.migration import Migration, MoveJourneys
from scenarios.model import Scenario

HOURS: Final = 48
"""So many hours from the change on are counted one by one."""
EXAMPLES_MAX: Final = 200
"""So many kinds of difference have an example."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is live, and how the setting's scenario takes its place.

    `at` is the moment (ms); `spread_ms` is over which time a move `now` spreads what it makes due.
    """

    before: Scenario
    at: int
    migration: Migration
    spread_ms: int = 0


def change_of(
    setting: Setting, before: Scenario, on: str, migration: Migration, spread_ms: int
) -> Change:
    """Say when the change comes: `on` is a moment in ISO 8601, UTC unless it says otherwise; "" is midway.

    Raises:
        InputError: it isn't a moment, or none within the days of the behaviour.
    """
    behaviour = setting.behaviour
    begins = datetime.fromisoformat(behaviour.begins).replace(tzinfo=UTC)
    ends = begins + timedelta(days=behaviour.days)
    at = begins + timedelta(days=behaviour.days // 2, hours=12)
    if on:
        try:
            at = datetime.fromisoformat(on)
        except ValueError:
            raise InputError(
                f"`{on}` isn't a moment", mend="write `2026-03-17 09:00`, for instance"
            ) from None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not begins <= at < ends:
        raise InputError(
            f"{at:%Y-%m-%d %H:%M} isn't within the simulated days",
            mend=f"they go from {begins:%Y-%m-%d} to before {ends:%Y-%m-%d}",
        )
    at_ms = int(at.timestamp() * 1000)
    return Change(before=before, at=at_ms, migration=migration, spread_ms=spread_ms)


class Course(msgspec.Struct, frozen=True):
    """How one journey went on from the change: its mails by step, template and time, and how it ended.

    `moved` is "" where it stayed on its version, else the step at which it stood in the new one first; `due` when that
    step was due (ms; 0: at no time). `templates` counts the mails of the whole journey, those before the change too.
    """

    mails: tuple[tuple[str, str, int], ...]
    ended: str
    moved: str = ""
    due: int = 0
    templates: Mapping[str, int] = {}


class ChangeTally(msgspec.Struct):
    """Counts of pairs of lives. Keys with parts have them joined by a tab.

    `places` has step and step of the new version ("" for those that stayed, an end in brackets); `at_once` the same,
    of those that a move made due; `ends` how a journey ended without and with the change; `mails` `without` or `with`
    and the step; `hours` the same and the hour after the change; `examples` has for each kind of difference the first
    contact that it befell.
    """

    contacts: int = 0
    under_way: int = 0
    journeys: int = 0
    more_mail: int = 0
    less_mail: int = 0
    otherwise: int = 0
    places: dict[str, int] = {}
    at_once: dict[str, int] = {}
    ends: dict[str, int] = {}
    mails: dict[str, int] = {}
    hours: dict[str, int] = {}
    twice: dict[str, int] = {}
    examples: dict[str, int] = {}

    def add(self, other: ChangeTally) -> None:
        """Take in the counts of other lives."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _COUNTS:
            mine = getattr(self, name)
            for key, number in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + number
        for kind, number in other.examples.items():
            if kind in self.examples or len(self.examples) < EXAMPLES_MAX:
                self.examples[kind] = min(self.examples.get(kind, number), number)


_NUMBERS: Final = (
    "contacts",
    "under_way",
    "journeys",
    "more_mail",
    "less_mail",
    "otherwise",
)
_COUNTS: Final = ("places", "at_once", "ends", "mails", "hours", "twice")


class Rehearsal:
    """Both worlds of a change, in one process.

    Args:
        setting: of the simulation; its scenario is the new version.
        change: what is live, and how it is replaced.

    Raises:
        InputError: the two versions have different names.
    """

    def __init__(self, setting: Setting, change: Change) -> None:
        if change.before.name != setting.scenario.name:
            raise InputError(
                f"`{setting.scenario.name}` can't replace `{change.before.name}`",
                mend="both files must have the same `scenario:`",
            )
        self.change = change
        self.old = World(msgspec.structs.replace(setting, scenario=change.before))
        self.new = World(setting, older=change.before, migration=change.migration)
        self.version = setting.scenario.version

    def chunk(self, first: int, end: int) -> ChangeTally:
        """Live the contacts from `first` to before `end` both ways, those that are under way at the change."""
        tally = ChangeTally()
        for number in range(first, end):
            tally.contacts += 1
            plain = self._until_change(number, story=False)
            standing = self._standing(plain)
            if not standing:
                continue
            tally.under_way += 1
            changed = self._until_change(number, story=False)
            self._publish(changed)
            plain.run()
            changed.run()
            for journey, step in standing.items():
                self._count(tally, number, step, self._course(plain, journey), changed, journey)
        return tally

    def told(self, number: int) -> tuple[tuple[Told, ...], tuple[Told, ...]]:
        """Tell what a contact lives through from the change on, without it and with it."""
        plain, changed = (self._until_change(number, story=True) for _ in range(2))
        self._publish(changed)
        plain.run()
        changed.run()
        at = self.change.at
        without, with_it = (
            tuple(line for line in life.story or () if line.at >= at) for life in (plain, changed)
        )
        return without, with_it

    def _until_change(self, number: int, *, story: bool) -> Life:
        world, name, post = self.old, contact_name(number), OpenPost()
        actor = Actor(world.cast, name, world.setting.seed)
        post.bounces = actor.bounces
        life = Life(world, number, name, actor, post, Tally())
        life.handed_over, life.facts = [], []
        if story:
            life.story = [Told(world.cast.begins, "begins", name)]
        life.begin()
        at = self.change.at
        while (due := life.next_at) is not None and due < at:
            life.step(due)
        return life

    def _standing(self, life: Life) -> dict[bytes, str]:
        if life.state is None:
            return {}
        name = self.change.before.name
        return {one.id: one.step for one in life.state.journeys if one.scenario == name}

    def _publish(self, life: Life) -> None:
        life.enter(self.new)
        migration = self.change.migration
        if migration.policy == "now":
            move = MoveJourneys(
                self.change.before.name,
                self.version,
                dict(migration.places),
                self.change.spread_ms,
            )
            life.given(self.change.at, [(b"move", move)])

    def _course(self, life: Life, journey: bytes) -> Course:
        """Read from a life's records how one of its journeys went."""
        at, ours = self.change.at, set()
        ended, moved, due = "", "", 0
        for when, fact, detail in life.facts or ():
            if detail.get("journey") != journey:
                continue
            if fact == "send_decided":
                ours.add(detail["message"])
            elif fact == "journey_ended":
                ended = detail["reason"] or "done"
            elif fact == "journey_moved" and not moved:
                moved, due = detail["step"], detail.get("due", 0)
                assert when >= at, "nothing moves before the change"
        mails = [one for one in life.handed_over or () if one.message_id in ours]
        return Course(
            mails=tuple((one.step, one.template, one.at) for one in mails if one.at >= at),
            ended=ended or "still under way",
            moved=moved,
            due=due,
            templates=Counter(one.template for one in mails),
        )

    def _count(
        self,
        tally: ChangeTally,
        number: int,
        step: str,
        without: Course,
        changed: Life,
        journey: bytes,
    ) -> None:
        with_it = self._course(changed, journey)
        tally.journeys += 1
        gone = with_it.ended in _ENDED_BY_CHANGE and with_it.ended != without.ended
        to = f"({with_it.ended})" if gone and not with_it.moved else with_it.moved
        _add(tally.places, f"{step}\t{to}")
        if with_it.moved and 0 < with_it.due <= self.change.at + self.change.spread_ms:
            _add(tally.at_once, f"{step}\t{to}")
        _add(tally.ends, f"{without.ended}\t{with_it.ended}")
        for side, course in (("without", without), ("with", with_it)):
            for name, _, at in course.mails:
                _add(tally.mails, f"{side}\t{name}")
                hour = (at - self.change.at) // HOUR_MS
                if hour < HOURS:
                    _add(tally.hours, f"{side}\t{hour}")
        tally.more_mail += len(with_it.mails) > len(without.mails)
        tally.less_mail += len(with_it.mails) < len(without.mails)
        again = _again(without.templates, with_it.templates)
        for template in again:
            _add(tally.twice, template)
        if (with_it.mails, with_it.ended) != (without.mails, without.ended):
            tally.otherwise += 1
            kind = "\t".join((step, to, without.ended, with_it.ended, " ".join(again)))
            if len(tally.examples) < EXAMPLES_MAX:
                tally.examples.setdefault(kind, number)


_ENDED_BY_CHANGE: Final = frozenset({"step_removed", "no_date"})


def _again(without: Mapping[str, int], with_it: Mapping[str, int]) -> list[str]:
    """Name templates that a journey sends again because of the change."""
    return sorted(one for one, number in with_it.items() if number > max(1, without.get(one, 0)))


def _add(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def live_changed(
    setting: Setting,
    change: Change,
    contacts: int,
    processes: int,
    progress: Callable[[int], None],
) -> ChangeTally:
    """Live all pairs of lives, in so many processes; `progress` hears how many contacts are done."""
    total = ChangeTally()
    what = msgspec.msgpack.encode((setting, change))
    for done in in_chunks(_work_of, what, contacts, processes):
        total.add(_TALLY.decode(done))
        progress(total.contacts)
    return total


_TALLY: Final = msgspec.msgpack.Decoder(ChangeTally)


def _work_of(what: bytes) -> Work:
    setting, change = msgspec.msgpack.decode(what, type=tuple[Setting, Change])
    rehearsal = Rehearsal(setting, change)
    return lambda first, end: msgspec.msgpack.encode(rehearsal.chunk(first, end))
