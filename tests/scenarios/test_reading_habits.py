"""The last mails and the hours of reading: kept as they happen, only where somebody asks, by people alone."""

from __future__ import annotations

from typing import Any

import pytest

from engine.vocabulary import ConsentGiven, ContactPut, Event, OutcomeNotice
from scenarios.checking import check
from scenarios.reading_habits import best_minute
from scenarios.recount import SegmentRecount
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR
MAILS = """
scenario: mails
entry: go
reentry: always
key: event.k
steps:
  - id: mail
    send: {template: t, topic: news}
  - id: receipt
    send: {template: t, stream: transactional}
"""
ASKS = """
scenario: asks
entry:
  becomes: contact.last_mails('delivered', 3) == 3 && contact.last_mails('opened', 3) == 0
steps:
  - id: cold
    tag: cold
"""
BEST = """
scenario: best
entry: go
reentry: always
steps:
  - id: hour
    wait: {for: 1h, hour: best, at: "10:00"}
  - id: mail
    send: {template: t, topic: news}
"""


def world_of(*texts: str, **attributes: Any) -> World:
    world = World(*texts)
    world.give("ann", ContactPut({"email": "ann@example.com", **attributes}))
    world.give("ann", ConsentGiven("news", True, 0))
    return world


def mail(world: World, number: int, kind: Any = "delivered") -> str:
    """Let a mail and a receipt come to their end; give the id of the mail."""
    world.give("ann", Event("go", world.now, {"k": str(number)}))
    sends = {send.step: identity for _, _, identity, send in world.sent[-2:]}
    for identity in sends.values():
        world.give("ann", OutcomeNotice(identity, kind, 1, world.now, True))
    return sends["mail"].hex()


def opened(
    world: World, message: str | None, name: str = "mail.opened", by: str = "person"
) -> None:
    data = {"by": by} if message is None else {"by": by, "message_id": message}
    world.give("ann", Event(name, world.now, data))


def marks(world: World) -> list[int]:
    return [one.marks for one in world.contact("ann").mails]


def test_as_many_are_kept_as_somebody_asks_for() -> None:
    """The newest; transactional mail and what bounced isn't among them."""
    world = world_of(MAILS, ASKS)
    first = mail(world, 1)
    mail(world, 2, "bounced")
    for number in range(3, 6):
        mail(world, number)
    assert len(marks(world)) == 3
    opened(world, first)  # it has left the last three
    assert marks(world) == [0, 0, 0]


def test_nothing_is_kept_where_nobody_asks() -> None:
    world = world_of(MAILS)
    opened(world, mail(world, 1))
    assert world.contact("ann").mails == ()
    assert world.contact("ann").hours == ()


def test_opens_and_clicks_by_people() -> None:
    world = world_of(MAILS, ASKS)
    ids = [mail(world, number) for number in range(3)]
    opened(world, ids[0], by="scanner")
    opened(world, ids[0], by="apple_privacy")
    assert marks(world) == [0, 0, 0]
    opened(world, ids[0], by="proxy")
    opened(world, ids[1], "mail.clicked")
    assert marks(world) == [1, 3, 0]
    opened(world, None)  # of the newest
    opened(world, "ff" * 16)  # of none that is known
    assert marks(world) == [1, 3, 1]


def test_what_becomes_true_opens_a_journey() -> None:
    world = world_of(MAILS, ASKS)
    opened(world, mail(world, 1))
    mail(world, 2)
    mail(world, 3)
    assert "cold" not in world.contact("ann").tags
    mail(world, 4)
    assert "cold" in world.contact("ann").tags


def test_a_segment_follows_and_is_counted_anew() -> None:
    world = world_of(MAILS)
    world.catalog.segment("readers", "contact.last_mails('opened', 5) > 0")
    message = mail(world, 1)
    assert "readers" not in world.contact("ann").segments
    opened(world, message)
    assert world.contact("ann").segments["readers"].until == 0
    import msgspec

    recount = SegmentRecount(world.catalog.all("segment", "t").values(), world.now)
    recount.take(msgspec.msgpack.encode(world.contact("ann")))
    assert [(one.holds, one.stored, one.differ) for one in recount.results()] == [(1, 1, 0)]


# ---- the best hour


@pytest.mark.parametrize(
    ("hours", "best"),
    [
        ({}, 600),
        ({8: 4}, 600),
        ({8: 5}, 8 * 60),
        ({8: 3, 20: 3}, 8 * 60),
        ({8: 4, 19: 2, 20: 2, 21: 2}, 8 * 60),
        ({8: 3, 19: 2, 20: 2, 21: 2}, 20 * 60),
        ({23: 3, 0: 2}, 23 * 60),
    ],
)
def test_the_hour_that_is_best(hours: dict[int, int], best: int) -> None:
    """Five readings are needed; neighbours count half, over midnight too; of equal ones the earliest."""
    counts = tuple(hours.get(hour, 0) for hour in range(24)) if hours else ()
    assert best_minute(counts, 600) == best


def read_at(world: World, hour: int, times: int) -> None:
    for _ in range(times):
        world.until((world.now // DAY + 1) * DAY + hour * HOUR)
        opened(world, None)


def due(world: World) -> int:
    return world.contact("ann").journeys[-1].due


def test_a_wait_for_the_best_hour_in_the_contacts_zone() -> None:
    """Until it is known, `at`; what is fetched in advance doesn't count."""
    world = world_of(BEST, timezone="Asia/Tokyo")
    world.give("ann", Event("go", 0))
    assert due(world) == HOUR  # 10:00 in Tokyo, an hour after the beginning
    world = world_of(BEST, timezone="Asia/Tokyo")
    for _ in range(9):
        opened(world, None, by="prefetch")
    read_at(world, 11, 5)  # 20:00 in Tokyo
    world.give("ann", Event("go", world.now))
    assert (due(world) - world.now) == DAY  # it is just past this hour
    assert world.facts("best_hour")[-1] == {"minute": 20 * 60, "readings": 5}
    world.drain()
    assert world.sent[-1][0] % DAY == 11 * HOUR


def test_readings_of_history_count_at_their_own_time() -> None:
    world = world_of(BEST)
    for day in range(5):
        world.give("ann", Event("mail.opened", day * DAY + 7 * HOUR, {}, historical=True))
    world.until(10 * DAY)
    world.give("ann", Event("go", world.now))
    assert due(world) == 10 * DAY + 7 * HOUR


def test_newer_readings_weigh_more() -> None:
    world = world_of(BEST)
    for _ in range(150):
        opened(world, None)
    read_at(world, 9, 120)
    assert sum(world.contact("ann").hours) <= 200
    world.give("ann", Event("go", world.now))
    assert world.facts("best_hour")[-1]["minute"] == 9 * 60


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("contact.last_mails('opened') > 0", "of how many"),
        ("contact.last_mails('read', 5) > 0", "aren't counted by"),
        ("contact.last_mails('opened', 51) > 0", "51 isn't a number"),
        ("contact.last_mails('opened', 0) > 0", "0 isn't a number"),
        ("contact.last_mails('opened', '5') > 0", "of how many"),
        ("contact.last_mails(5, 'opened') > 0", "of how many"),
    ],
)
def test_what_the_checker_finds(condition: str, told: str) -> None:
    text = (
        f'scenario: s\nentry: a\nsteps:\n  - id: w\n    if: "{condition}"\n    then: [{{end: x}}]\n'
    )
    assert any(told in str(one) for one in check(text)), check(text)


def test_a_best_hour_needs_another_for_those_who_read_little() -> None:
    text = "scenario: s\nentry: a\nsteps:\n  - {id: w, wait: {hour: best}}\n"
    assert any("no best hour" in str(one) for one in check(text))
