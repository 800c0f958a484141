"""The step `webhook`: a call is made once, its answer decides the way, and is kept as far as the step says."""

from __future__ import annotations

from typing import Any

import pytest

from engine.ids import call_id
from engine.vocabulary import CALLS, Call, CallAnswered, ContactPut, Erase, Event
from scenarios.calls import kept_of
from scenarios.checking import check
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.settings import ContactSettings
from tests.scenarios.world import World

HOUR = 3_600_000
LEAD = """
scenario: lead
entry: asked
reentry: always
key: event.k
exit: gone
steps:
  - id: to-sales
    webhook:
      endpoint: sales
      data: {points: "= contact.count('asked') * 10", plan: "= event.plan", from: web}
      as: desk
      keep: [owner]
    timeout: 2h
    else:
      - id: by-hand
        notify: desk
  - id: known
    if: journey.desk.status == 200 && journey.desk.owner == 'eva'
    then:
      - id: hers
        tag: of-eva
"""


def asked(**data: Any) -> World:
    world = World(LEAD)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("asked", 0, {"k": "1", **data}))
    return world


def calls(world: World) -> list[Call]:
    return [one.body for one in world.emitted if one.channel == CALLS]


def answer(world: World, call: Call, status: int = 200, **fields: Any) -> None:
    taken = 200 <= status < 300
    journey = bytes.fromhex(call.journey)
    world.give("ann", CallAnswered(journey, call.step, call.visit, taken, status, fields))


def branches(world: World) -> list[tuple[str, Any]]:
    taken = world.facts("branch_taken")
    return [(str(one["branch"]), one.get("why")) for one in taken if one["step"] == "to-sales"]


def test_what_is_called() -> None:
    """Values are worked out when the step is reached; one without a value is left out."""
    [call] = calls(asked())
    assert (call.endpoint, call.contact, call.step, call.visit) == ("sales", "ann", "to-sales", 1)
    assert call.data == {"points": 10, "from": "web"}
    assert (call.at, call.not_after, call.keep) == (0, 2 * HOUR, ("owner",))
    assert call.call_id == call_id(bytes.fromhex(call.journey), "to-sales", 1).hex()
    assert calls(asked(plan="pro"))[0].data["plan"] == "pro"


def test_an_answer_is_kept_as_the_step_says() -> None:
    world = asked()
    answer(world, calls(world)[0], owner="eva", phone="123")
    assert branches(world) == [("taken", None)]
    assert set(world.contact("ann").tags) == {"of-eva"}
    assert "123" not in str(world.contact("ann"))
    world.drain()
    assert len(calls(world)) == 1


def test_an_answer_that_comes_again_changes_nothing() -> None:
    """Nor does one that is late, or for a journey that there is none of."""
    world = asked()
    [call] = calls(world)
    answer(world, call, 204)
    before = world.contact("ann")
    answer(world, call, 422)
    assert world.contact("ann") == before
    assert len(world.facts("answer_ignored")) == 1
    assert world.give("nobody", CallAnswered(b"x" * 16, "to-sales", 1, True, 200)).state is None


@pytest.mark.parametrize(("status", "why"), [(422, "refused"), (301, "refused")])
def test_a_refusal_takes_the_other_way_at_once(status: int, why: str) -> None:
    world = asked()
    answer(world, calls(world)[0], status, owner="eva")
    assert branches(world) == [("else", why)]
    assert [one.channel for one in world.emitted[1:]] == ["notify.desk"]


def test_without_an_answer_the_time_is_out() -> None:
    world = asked()
    world.until(2 * HOUR - 1)
    assert branches(world) == []
    world.until(2 * HOUR)
    assert branches(world) == [("else", "timeout")]
    answer(world, calls(world)[0], owner="eva")
    assert not world.contact("ann").tags


def test_who_is_erased_or_has_left_hears_no_answer() -> None:
    world = asked()
    world.give("ann", Event("gone", 0))
    answer(world, calls(world)[0], owner="eva")
    assert not world.contact("ann").tags
    world = asked()
    world.give("ann", Erase())
    answer(world, calls(world)[0], owner="eva")
    assert world.contact("ann").erased_at
    assert world.contact("ann").dropped == 0  # nobody gave an input that was lost


def test_two_journeys_call_apart() -> None:
    world = asked()
    world.give("ann", Event("asked", 0, {"k": "2"}))
    one, two = calls(world)
    assert one.call_id != two.call_id
    answer(world, two, 422)
    answer(world, one, owner="eva")
    assert branches(world) == [("else", "refused"), ("taken", None)]


LOOP = """
scenario: loop
entry: asked
steps:
  - id: thrice
    repeat: 3
    steps:
      - id: ask
        webhook: sales
      - id: hour
        wait: 1h
"""


def test_each_visit_of_a_loop_is_a_call_of_its_own() -> None:
    world = World(LOOP)
    world.give("ann", Event("asked", 0))
    for visit in (1, 2, 3):
        call = calls(world)[-1]
        assert call.visit == visit
        answer(world, call)
        world.until(world.now + HOUR)
    assert len({one.call_id for one in calls(world)}) == 3
    assert [one["reason"] for one in world.facts("journey_ended")] == [""]


def test_where_nobody_posts_a_call_is_taken_at_once() -> None:
    """So it is in a replay and in a comparison over history."""
    world = World(LEAD, contact=ContactSettings(webhooks="assumed"))
    world.give("ann", Event("asked", 0, {"k": "1"}))
    assert calls(world) == []
    assert branches(world) == [("taken", None)]
    assert [one["reason"] for one in world.facts("journey_ended")] == [""]


# ---- a new version while the answer is waited for


def test_a_journey_that_moves_keeps_its_call() -> None:
    world = asked()
    [call] = calls(world)
    after = world.catalog.publish(LEAD.replace("timeout: 2h", "timeout: 5h"))
    world.give("ann", MoveJourneys("lead", after.version))
    assert len(calls(world)) == 1
    assert world.contact("ann").journeys[0].due == 5 * HOUR
    answer(world, call, owner="eva")
    assert set(world.contact("ann").tags) == {"of-eva"}


WAIT = LEAD.partition("steps:")[0] + "steps:\n  - {id: to-sales, wait: 3h}\n"


def test_a_journey_that_is_moved_to_a_call_makes_it() -> None:
    """It stood at a wait of the same name, whose call nobody would answer; moved back, it waits again."""
    world = World(WAIT)
    world.give("ann", Event("asked", 0, {"k": "1"}))
    world.until(HOUR)
    after = world.catalog.publish(LEAD)
    world.give("ann", MoveJourneys("lead", after.version, run="r"))
    [call] = calls(world)
    assert (call.at, call.not_after) == (HOUR, 3 * HOUR)
    assert world.contact("ann").journeys[0].due == 3 * HOUR
    world.give("ann", MoveBack("lead", "r"))
    answer(world, call)
    assert len(world.facts("answer_ignored")) == 1


# ---- what is kept, what is refused


def test_an_answer_is_bounded() -> None:
    long = "x" * 5_000
    assert kept_of({"a": 1, "b": long, "c": 2}, ("a", "b", "c")) == {"a": 1}
    assert kept_of({"a": 1, "b": 2}, ("b", "z")) == {"b": 2}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("webhook: {data: {a: 1}}", "endpoint"),
        ("webhook: {endpoint: s, keep: [a]}", "has no name"),
        ("webhook: {endpoint: s, as: x, keep: [status]}", "always kept"),
        ("webhook: {endpoint: s, data: 3}", "data has names"),
        ("webhook: {endpoint: s, as: event}", "hide a field"),
        ("webhook: {endpoint: s, data: {a: '= contact.'}}", "expression"),
    ],
)
def test_what_the_checker_finds(written: str, told: str) -> None:
    text = f"scenario: s\nentry: a\nsteps:\n  - id: w\n    {written}\n"
    assert any(told in str(one) for one in check(text)), check(text)


def test_a_loop_of_calls_alone_never_waits() -> None:
    """An answer may come at once."""
    text = "scenario: s\nentry: a\nsteps:\n  - {id: r, repeat: 3, steps: [{id: w, webhook: x}]}\n"
    assert any("never waits" in str(one) for one in check(text))
