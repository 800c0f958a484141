"""Editing under load: a scenario with waiting journeys gets a new version three times: pinned, at next step, now.

Who must get what is worked out here from the three versions by hand; nothing of the product's model is used for it.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from actors.planning.versions import Migrating
from tests.actors.planning.town import Town, town

HOUR = 3_600_000
DAY = 24 * HOUR


def scenario(template: str, first: str, second: str, first_id: str = "first") -> str:
    return f"""
scenario: s
entry: e
reentry: always
steps:
  - {{id: {first_id}, wait: {first}}}
  - {{id: one, send: {{template: {template}-one, topic: t}}}}
  - {{id: second, wait: {second}}}
  - {{id: two, send: {{template: {template}-two, topic: t}}}}
"""


TEMPLATES = [f"{name}-{step}" for name in "abcd" for step in ("one", "two")]


async def story(folder: Path, number: int) -> None:
    """Four groups enter, one before each edit and one after the last; then all is let run out."""
    async with town(folder, *TEMPLATES) as place:
        groups = [[f"g{group}-{n}" for n in range(number)] for group in range(4)]
        desk = place.keeper.versions
        await place.people(name for group in groups for name in group)
        desk.publish("default", scenario("a", "2d", "2d"), "a", Migrating(), place.author())
        await place.use_catalog(desk.head().version)

        # group 0 waits at `first` of a; b is published pinned: it stays on a
        await place.events(groups[0], "e", "0")
        b = desk.publish(
            "default", scenario("b", "4d", "2d"), "b", Migrating("stay"), place.author()
        )
        assert (b.policy, b.runs) == ("stay", [])
        await place.use_catalog(b.catalog)
        await place.events(groups[1], "e", "1")

        # c at the next step: groups 0 and 1 go on in c when they reach `second`
        c = desk.publish(
            "default", scenario("c", "6d", "3d"), "c", Migrating("next"), place.author()
        )
        await place.use_catalog(c.catalog)
        await place.events(groups[2], "e", "2")
        await noisy(place, groups)

        place.later(2 * DAY + HOUR)  # group 0 sends `a-one`, and waits at `second` of c
        await settled(place, groups[0], "second")

        # d now, without `first`: its journeys go to `start`
        d_text = scenario("d", "5d", "5d", first_id="start")
        moving = Migrating("now", {"first": "start"}, spread_ms=HOUR)
        d = desk.publish("default", d_text, "d", moving, place.author())
        assert d.places == {"first": "start"}
        [run] = d.runs
        await place.done(run)
        await place.events(groups[3], "e", "3")
        await noisy(place, groups)
        for _ in range(4):  # a step at a time, so that each wait begins when the one before ends
            place.later(5 * DAY + HOUR)
            await place.until(lambda: place.worker.status().quiet)
        everybody = [name for group in groups for name in group]
        await place.until(lambda: not any(place.contact(name).journeys for name in everybody))
        await place.until(lambda: place.worker.status().quiet)
        check(place.received(), number)


async def noisy(place: Town, groups: list[list[str]]) -> None:
    """Load beside the edits: events that concern no journey."""
    mark = os.urandom(4).hex()
    await asyncio.gather(*(place.events(group, "noise", mark) for group in groups))


async def settled(place: Town, group: list[str], step: str) -> None:
    await place.until(
        lambda: all([one.step for one in place.contact(name).journeys] == [step] for name in group)
    )


def check(received: list[tuple[str, str]], number: int) -> None:
    """Each contact gets exactly two mails; which, follows from when it entered and what was published since."""
    wanted: Counter[tuple[str, str]] = Counter()
    for group, (first, second) in enumerate(
        [("a-one", "d-two"), ("d-one", "d-two"), ("d-one", "d-two"), ("d-one", "d-two")]
    ):
        for n in range(number):
            wanted[f"g{group}-{n}@inbox.example", first] += 1
            wanted[f"g{group}-{n}@inbox.example", second] += 1
    assert Counter(received) == wanted


def test_three_edits_under_way(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path, 40))


@pytest.mark.long
def test_three_edits_with_many_under_way(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path, 20_000))
