"""Editing under load: a scenario with waiting journeys gets a new version three times: pinned, at next step, now.

Who must get what is worked out here from the three versions by hand; nothing of the product's model is used for it.
With a million under way what they get is told on the feed (`notify`), since mail for all of them would take hours.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from actors.planning.versions import Migrating
from tests.actors.planning.town import Town, town

HOUR = 3_600_000
DAY = 24 * HOUR


def scenario(template: str, first: str, second: str, *, mail: bool, first_id: str = "first") -> str:
    gives = (
        f"send: {{template: {template}-NAME, topic: t}}"
        if mail
        else f"notify: {{channel: desk, text: {template}-NAME}}"
    )
    return f"""
scenario: s
entry: e
reentry: always
steps:
  - {{id: {first_id}, wait: {first}}}
  - {{id: one, {gives.replace("NAME", "one")}}}
  - {{id: second, wait: {second}}}
  - {{id: two, {gives.replace("NAME", "two")}}}
"""


TEMPLATES = [f"{name}-{step}" for name in "abcd" for step in ("one", "two")]


async def story(folder: Path, number: int, *, mail: bool = True) -> None:
    """Four groups enter, one before each edit and one after the last; then all is let run out."""
    within_s = 60 + number / 50
    async with town(folder, *TEMPLATES) as place:
        groups = [[f"g{group}-{n}" for n in range(number)] for group in range(4)]
        desk = place.keeper.versions
        await place.people(name for group in groups for name in group)
        desk.publish(
            "default", scenario("a", "2d", "2d", mail=mail), "a", Migrating(), place.author()
        )
        await place.use_catalog(desk.head().version)

        # group 0 waits at `first` of a; b is published pinned: it stays on a
        await place.events(groups[0], "e", "0")
        b = desk.publish(
            "default", scenario("b", "4d", "2d", mail=mail), "b", Migrating("stay"), place.author()
        )
        assert (b.policy, b.runs) == ("stay", [])
        await place.use_catalog(b.catalog)
        await place.events(groups[1], "e", "1")

        # c at the next step: groups 0 and 1 go on in c when they reach `second`
        c = desk.publish(
            "default", scenario("c", "6d", "3d", mail=mail), "c", Migrating("next"), place.author()
        )
        await place.use_catalog(c.catalog)
        await place.events(groups[2], "e", "2")
        await noisy(place, groups)

        place.later(2 * DAY + HOUR)  # group 0 sends `a-one`, and waits at `second` of c
        await settled(place, groups[0], "second", within_s)

        # d now, without `first`: its journeys go to `start`
        d_text = scenario("d", "5d", "5d", mail=mail, first_id="start")
        moving = Migrating("now", {"first": "start"}, spread_ms=HOUR)
        d = desk.publish("default", d_text, "d", moving, place.author())
        assert d.places == {"first": "start"}
        [run] = d.runs
        await place.done(run, within_s)
        await place.events(groups[3], "e", "3")
        await noisy(place, groups)
        for _ in range(4):  # a step at a time, so that each wait begins when the one before ends
            place.later(5 * DAY + HOUR)
            await place.until(lambda: place.worker.status().quiet, within_s)
        everybody = (name for group in groups for name in group)
        for name in everybody:
            await stands(place, name, [], within_s)
        await place.until(lambda: place.worker.status().quiet, within_s)
        check(place.received() if mail else await told(place), number)


async def noisy(place: Town, groups: list[list[str]]) -> None:
    """Load beside the edits: events that concern no journey."""
    mark = os.urandom(4).hex()
    for group in groups:
        await place.events(group, "noise", mark)


async def settled(place: Town, group: list[str], step: str, within_s: float) -> None:
    for name in group:
        await stands(place, name, [step], within_s)


async def stands(place: Town, name: str, steps: list[str], within_s: float) -> None:
    await place.until(lambda: [one.step for one in place.contact(name).journeys] == steps, within_s)


async def told(place: Town) -> list[tuple[str, str]]:
    """Read the feed: whom the scenario has told of, with the text."""
    found: list[tuple[str, str]] = []
    at = (0, 0)
    while entries := (await place.feed([at], 5000))[0]:
        at = (entries[-1].position, entries[-1].n)
        for entry in entries:
            if entry.channel == "notify.desk":
                body = msgspec.msgpack.decode(entry.body)
                found.append((f"{body['contact']}@inbox.example", body["text"]))
    return found


def check(received: list[tuple[str, str]], number: int) -> None:
    """Each contact gets exactly two; which, follows from when it entered and what was published since."""
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


def test_three_edits_as_the_feed_tells_it(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path, 40, mail=False))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_three_edits_with_a_million_under_way(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path, 250_000, mail=False))
