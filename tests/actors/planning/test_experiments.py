"""Experiments end to end: contacts in a worker, counts from its feed, a decision that is published and on record."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from actors.planning.experiments import ExperimentView
from actors.planning.versions import Migrating
from engine.errors import InputError
from tests.actors.planning.test_campaigns import names
from tests.actors.planning.town import Town, town

DAY = 86_400_000
TEXT = """
scenario: spring
entry: began
steps:
  - id: which
    experiment:
      - {name: plain, weight: 45, then: [{id: a, send: {template: plain, topic: t}}]}
      - {name: picture, weight: 45, then: [{id: b, send: {template: picture, topic: t}}]}
      - {name: nothing, weight: 10}
    metric: bought
    within: 7d
    holdout: nothing
    decide: {baseline: 10, effect: 40}
    guard: {complaints: 1, after: 20}
"""


async def begun(place: Town, text: str, number: int) -> dict[str, list[str]]:
    """Publish, let contacts in, and give who was assigned what."""
    place.keeper.versions.publish("default", text, "f", Migrating(), place.author())
    await place.until(
        lambda: place.worker.host.catalog.version == place.keeper.versions.head().version
    )
    await place.people(names(number))
    await place.events(names(number), "began", "1")
    found: dict[str, list[str]] = {}
    for name in names(number):
        [trial] = place.contact(name).trials.values()
        found.setdefault(trial.variant, []).append(name)
    await place.until(lambda: sum(arm.contacts for arm in view(place).arms) == number)
    return found


def view(place: Town) -> ExperimentView:
    return place.keeper.experiments.view("default", "spring/which")


def test_a_fixed_test_is_decided_by_itself_on_record_and_for_those_who_come_later(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with town(tmp_path, "plain", "picture") as place:
            groups = await begun(place, TEXT, 100)
            assert view(place).needed == 20
            await place.events(groups["picture"], "bought", "1")
            await place.events(groups["plain"][:2], "bought", "1")
            place.later(6_000)
            await place.until(lambda: view(place).arms[1].converted.count == len(groups["picture"]))
            assert view(place).state == "running"  # their time isn't over
            place.later(7 * DAY)
            await place.until(lambda: view(place).state == "decided")
            told = view(place)
            assert (told.winner, told.arms[0].role, told.arms[2].role) == (
                "picture",
                "control",
                "holdout",
            )
            assert "picture is better than plain" in told.story[-1].what
            [arm] = [arm for arm in told.arms if arm.variant == "picture"]
            assert arm.difference is not None
            assert arm.difference[1] > 0.4
            await place.until(
                lambda: place.worker.host.catalog.version == place.keeper.versions.head().version
            )
            later = [f"later{n}" for n in range(60)]
            await place.people(later)
            await place.events(later, "began", "1")
            got = Counter(
                trial.variant for name in later for trial in place.contact(name).trials.values()
            )
            assert got["plain"] == 0
            assert got["picture"] > got["nothing"] > 0

    asyncio.run(story())


def test_a_guard_rail_stops_a_variant(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "plain", "picture") as place:
            groups = await begun(place, TEXT, 100)
            for name in groups["picture"][:5]:
                await place.events([name], "mail.complained", "1", scenario="spring", step="b")
            place.later(6_000)
            await place.until(lambda: view(place).state == "decided")
            told = view(place)
            assert told.winner == "plain"
            assert [arm.dropped for arm in told.arms] == [False, True, False]

    asyncio.run(story())


def test_a_decision_by_hand_and_what_is_on_record_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "plain", "picture") as place:
            await begun(place, TEXT, 10)
            desk = place.keeper.experiments
            with pytest.raises(InputError, match="did you mean `plain`"):
                desk.decide("default", "spring/which", "plane", place.author())
            with pytest.raises(InputError, match="there is no experiment"):
                desk.view("default", "spring/what")
            told = desk.decide("default", "spring/which", "plain", place.author("the boss said so"))
            assert (told.state, told.winner) == ("decided", "plain")
            assert told.story[-1].what == "plain, by hand: the boss said so"
            from engine.store.control_file import ControlFile

            last = ControlFile(tmp_path / "control.log").records()[-1].change
            assert (last.action, last.subject) == ("decide", "experiment default/spring/which")
            from actors.planning.experiments import ExperimentDesk

            again = ExperimentDesk(tmp_path, place.keeper.versions, place.keeper.counting)
            assert again.view("default", "spring/which") == told

    asyncio.run(story())
