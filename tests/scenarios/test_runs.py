"""What runs over many contacts do: entries by call, campaigns, pauses, moves that are reverted."""

from __future__ import annotations

from engine.keyspace import contact_key
from engine.vocabulary import (
    Cancel,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    MaySend,
    Permit,
    Refuse,
)
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.runs import EnterJourney, ReleaseHeld, StopJourneys, share_of
from scenarios.settings import Pause
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR
S = """
scenario: s
entry: [e, {by: api, when: event.value > 1}]
reentry: always
goal: {event: bought, when: event.cart == journey.event.cart}
steps:
  - {id: first, wait: 1d}
  - {id: one, send: {template: one, topic: t, late: 6h}}
  - {id: second, wait: 1d}
  - {id: two, send: {template: two, topic: t}}
"""


def under_way() -> World:
    world = World(S)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", ConsentGiven("t", granted=True, at=0))
    world.give("ann", Event("e", 0, {"cart": "a"}))
    return world


def reasons(world: World) -> list[str]:
    return [fact["reason"] for fact in world.facts("entry_refused")]


def test_a_call_opens_a_journey_by_an_entry_for_calls_whose_condition_holds() -> None:
    world = World(S)
    world.give("ann", EnterJourney("s", "api", {"value": 2}))
    world.give("bob", EnterJourney("s", "api", {"value": 1}))
    world.give("cat", EnterJourney("s", "list", {"value": 2}))
    world.give("dan", EnterJourney("other", "api", {"value": 2}))
    assert len(world.contact("ann").journeys) == 1
    assert reasons(world) == ["condition", "not_an_entry", "not_published"]


def test_what_comes_due_in_a_pause_waits_for_its_end_and_its_mail_knows_how_late_it_is() -> None:
    world = under_way()
    world.catalog.put("pause", "s", Pause(1))
    world.until(8 * DAY)
    [journey] = world.contact("ann").journeys
    assert (journey.step, journey.due, journey.held) == ("first", 0, DAY)
    world.give("ann", Event("e", 0, {"cart": "b"}))
    assert reasons(world) == ["paused"]
    world.catalog.put("pause", "s", Pause(0))
    world.give("ann", ReleaseHeld("s", HOUR))
    world.until(8 * DAY + HOUR)
    [(_, _, message, send)] = world.sent
    assert send.due == DAY  # so that `late: 6h` skips it
    world.give("ann", MaySend(message, 1, send.stream, send.topic, send.due))
    assert world.told[-1].body == Refuse(1, "late", None)
    [journey] = world.contact("ann").journeys
    assert (journey.step, journey.held) == ("second", 0)


def test_an_event_that_a_paused_journey_waits_for_is_not_lost() -> None:
    world = World(S.replace("{id: first, wait: 1d}", "{id: first, wait_for: x}"))
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", Event("e", 0))
    world.catalog.put("pause", "s", Pause(1))
    world.give("ann", Event("x", 0))
    assert world.contact("ann").journeys[0].step == "second"
    [(_, _, message, send)] = world.sent
    world.give("ann", MaySend(message, 1, send.stream, send.topic, send.due))
    refused = world.told[-1].body
    assert isinstance(refused, Refuse)
    assert refused.reason == "paused"
    assert refused.retry_at is not None
    assert refused.retry_at > world.now


def test_a_goal_reaches_mail_of_a_journey_that_has_ended() -> None:
    world = under_way()
    world.until(3 * DAY)
    assert world.contact("ann").journeys == ()
    world.give("ann", Event("bought", 0, {"cart": "other"}))
    assert not [told for told in world.told if isinstance(told.body, Cancel)]
    world.give("ann", Event("bought", 0, {"cart": "a"}))
    cancelled = [told.to for told in world.told if isinstance(told.body, Cancel)]
    assert len(cancelled) == 2


def test_a_move_is_reverted_for_those_that_have_not_gone_on() -> None:
    world = under_way()
    world.give("bob", ContactPut({"email": "bob@example.com"}))
    world.until(2 * HOUR)
    world.give("bob", Event("e", 0, {"cart": "b"}))
    before = {name: world.contact(name).journeys[0] for name in ("ann", "bob")}
    text = S.replace("first, wait: 1d", "start, wait: 3h").replace(
        "second, wait: 1d", "second, wait: 9d"
    )
    version = world.catalog.publish(text).version
    for name in ("ann", "bob"):
        world.give(name, MoveJourneys("s", version, {"first": "start"}, 0, "run-1"))
    world.until(4 * HOUR)  # ann's is due at 3 h, bob's at 5 h
    for name in ("ann", "bob"):
        world.give(name, MoveBack("s", "other"))
        world.give(name, MoveBack("s", "run-1"))
    assert world.contact("bob").journeys[0] == before["bob"]
    [ann] = world.contact("ann").journeys
    assert (ann.step, ann.version) == ("second", version)  # it has gone on


def test_a_campaign_tells_what_becomes_of_each_contact() -> None:
    world = World()
    text = "scenario: s\nentry: {by: list}\nsteps:\n- {id: m, send: {template: m, topic: t}}\n"
    compiled = world.catalog.publish(text)
    world.catalog.put("campaign", "campaign.spring", _renamed(compiled))
    for name, attributes in (("ann", {"email": "a@example.com"}), ("bob", {})):
        world.give(name, ContactPut(attributes))
        world.give(name, EnterJourney("campaign.spring", "campaign", run="1"))
    world.give("cat", Erase())
    world.give("cat", EnterJourney("campaign.spring", "campaign", run="1"))
    world.give("ann", EnterJourney("campaign.spring", "campaign", run="2"))
    data = {"scenario": "campaign.spring", "step": "m"}
    world.give("ann", Event("mail.complained", 0, data))
    told = [(one.body["contact"], one.body["what"], one.body["reason"]) for one in world.emitted]
    assert told == [
        ("ann", "sent", ""),
        ("ann", "ended", ""),
        ("ann", "entered", ""),
        ("bob", "unsent", "no_address"),
        ("bob", "ended", ""),
        ("bob", "entered", ""),
        ("cat", "refused", "erased"),
        ("ann", "refused", "never_again"),
        ("ann", "mail.complained", ""),
    ]


def test_who_is_given_a_campaign_in_its_pause_is_held_and_not_lost() -> None:
    """A fan-out may be some contacts further than the pause; refused, they would never get it."""
    world = World()
    text = "scenario: s\nentry: {by: list}\nsteps:\n- {id: m, send: {template: m, topic: t}}\n"
    world.catalog.put("campaign", "campaign.spring", _renamed(world.catalog.publish(text)))
    world.catalog.put("pause", "campaign.spring", Pause(1))
    world.give("ann", ContactPut({"email": "a@example.com"}))
    world.give("ann", EnterJourney("campaign.spring", "campaign", run="1"))
    assert [one.body["what"] for one in world.emitted] == ["sent", "ended", "entered"]
    [(_, _, message, send)] = world.sent
    world.give("ann", MaySend(message, 1, send.stream, send.topic, send.due))
    refused = world.told[-1].body
    assert isinstance(refused, Refuse)
    assert (refused.reason, (refused.retry_at or 0) > world.now) == ("paused", True)


def _renamed(compiled: object) -> object:
    import msgspec

    return msgspec.structs.replace(compiled, name="campaign.spring")  # type: ignore[type-var]


def test_stopping_a_scenario_ends_its_journeys_and_cancels_its_mail() -> None:
    world = under_way()
    world.until(DAY)
    world.give("ann", StopJourneys("s", "cancelled"))
    assert world.contact("ann").journeys == ()
    assert Cancel("cancelled") in [told.body for told in world.told]
    [(_, _, message, send)] = world.sent
    world.give("ann", MaySend(message, 1, send.stream, send.topic, send.due))
    assert isinstance(world.told[-1].body, Permit)  # the message is told apart: it takes the cancel


def test_shares_are_even_and_always_the_same() -> None:
    keys = [contact_key("t", str(number)) for number in range(4000)]
    shares = [share_of(key, "salt") for key in keys]
    assert shares == [share_of(key, "salt") for key in keys]
    assert 900 < sum(share < 2500 for share in shares) < 1100
    assert shares != [share_of(key, "other") for key in keys]
