"""Merging contacts: one person, one series of mail, the strictest consent; over partitions, crashes and repetitions."""

from __future__ import annotations

import random
from typing import Any

import pytest

from deliverability.message.machine import MessageMachine
from deliverability.message.records import AttemptOutcome
from engine import inputs
from engine.entities import Machines
from engine.host import Host
from engine.keyspace import contact_key, message_key
from engine.machine import Credit
from engine.tick import Answer, CreditOffer, TickInputs
from engine.vocabulary import (
    CallAnswered,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    MarkSuppressed,
    Message,
    SendDirect,
)
from scenarios.contact import ContactMachine
from scenarios.coupons import CouponMachine
from scenarios.merging import Merge, merged_journey
from scenarios.permission import Suppressed
from scenarios.runs import EnterJourney, LookAnew
from scenarios.settings import Cap, ContactSettings
from tests.scenarios.test_coupons import T0, Instance
from tests.scenarios.world import Catalog

DAY = 86_400_000
SCENARIO = """
scenario: welcome
entry: signup
reentry: always
key: event.k
goal: bought
steps:
  - id: hello
    send: {template: hello, topic: news}
  - id: day
    wait: 1d
  - id: tip
    send: {template: tip, topic: news, expires: 30d}
"""


class Town(Instance):
    """An instance with mail: whatever is released is noted, and delivered when a test says so."""

    def __init__(
        self, seed: int | None = None, suppressed: Suppressed | None = None, **settings: Any
    ) -> None:
        self.released: list[Message] = []
        self.suppressed = suppressed
        super().__init__(seed)
        self.catalog = Catalog(SCENARIO, **settings)
        self.begin()

    def begin(self) -> None:
        contacts = ContactMachine(self.suppressed)
        machines = Machines([contacts, CouponMachine(), MessageMachine()])
        numbers = range(self.keyspace.partitions)
        self.host = Host(self.store, machines, self.keyspace, self.catalog, numbers)
        self.tells, self.confirms = self.host.outboxes(), []

    def hand_over(self, outcome: Any = "delivered") -> list[tuple[str, str]]:
        """Grant credit until nothing is ready, and answer each attempt; tell whose steps went."""
        before = len(self.released)
        while lanes := self.host.ready_lanes():
            self.now += 1
            credit = Credit(b"e", 1, 10**9)
            offers = [CreditOffer(lane, 10, credit) for lane in lanes]
            released = self.host.tick(self.now, TickInputs(credits=offers))
            mails = [one.body for _, one in released.releases if isinstance(one.body, Message)]
            self.released += mails
            answers = [
                Answer(message_key("t", one.message_id), AttemptOutcome(one.attempt, outcome))
                for one in mails
            ]
            released = self.host.tick(self.now, TickInputs(answers=answers))
            self.tells += released.tells
            self.rest()
        return [(one.address, one.step) for one in self.released[before:]]

    def person(self, name: str, **consents: bool) -> None:
        self.give(contact_key("t", name), ContactPut({"email": f"{name}@example.com"}))
        for topic, granted in (consents or {"news": True}).items():
            self.give(contact_key("t", name), ConsentGiven(topic, granted, T0))

    def event(self, name: str, event: str = "signup", key: str = "1") -> None:
        self.give(contact_key("t", name), Event(event, self.now, {"k": key}))

    def merge(self, former: str, into: str) -> None:
        self.give(contact_key("t", former), Merge(into, "the same person"))

    def later(self, by: int) -> None:
        self.now += by
        self.rest()
        while not self.tick([]):
            pass
        self.rest()


def test_the_survivor_has_what_both_had() -> None:
    town = Town()
    town.person("old", news=True, offers=False, deals=True)
    town.person("new", news=True, offers=True, deals=True)
    town.give(contact_key("t", "old"), ContactPut({"city": "Oslo", "email": "x@example.com"}))
    town.give(contact_key("t", "old"), MarkSuppressed("complaint", "marketing"))
    for _ in range(3):
        town.event("old", "viewed")
    town.event("new", "viewed")
    town.merge("old", "new")
    survivor = town.contact("new")
    assert survivor.attributes == {"email": "new@example.com", "city": "Oslo"}
    assert survivor.counts["viewed"] == 4
    granted = {topic: one.granted for topic, one in survivor.consents.items()}
    assert granted == {"news": True, "offers": False, "deals": True}
    assert survivor.suppressions["marketing"].reason == "complaint"
    assert survivor.formers == ("old",)
    assert town.contact("old") == type(survivor)(merged_into="new")


@pytest.mark.parametrize(
    ("said", "stream", "topic"),
    [
        ("stream/t/marketing: complaint", {"marketing": "complaint, former address"}, True),
        ("tenant/t: manual", {"": "manual, former address"}, True),
        ("topic/t/news: unsubscribe", {}, False),
        ("stream/t/marketing: hard-bounce", {}, True),  # the mailbox is dead, the person isn't
        ("*: spam-trap", {}, True),
        ("", {}, True),
    ],
)
def test_what_the_person_objected_to_at_the_former_address_goes_along(
    said: str, stream: dict[str, str], topic: bool
) -> None:
    asked: set[tuple[str, str]] = set()

    def suppressed(tenant: str, stream: str, topic: str, address: str, now: int) -> str:
        asked.add((stream, topic))
        assert (tenant, now > T0) == ("t", True)
        mine = not said.startswith("topic/") or topic == "news"
        return said if address == "old@example.com" and mine else ""

    town = Town(suppressed=suppressed)
    town.person("old", news=True, deals=True)
    town.person("new", news=True)
    town.merge("old", "new")
    survivor = town.contact("new")
    assert {name: one.reason for name, one in survivor.suppressions.items()} == stream
    assert survivor.consents["news"].granted is topic
    assert survivor.consents["deals"].granted
    assert asked == {("marketing", "news"), ("marketing", "deals")}
    town.event("new")
    goes = topic and not stream
    assert bool(town.hand_over()) is goes


def test_the_withdrawal_wins_though_the_grant_is_newer() -> None:
    """And only a grant after both lifts it."""
    town = Town()
    town.person("old", news=False)
    town.person("new")
    town.give(contact_key("t", "new"), ConsentGiven("news", True, T0 + 5))
    town.merge("old", "new")
    assert not town.contact("new").consents["news"].granted
    town.give(contact_key("t", "new"), ConsentGiven("news", True, T0 + 4))
    assert not town.contact("new").consents["news"].granted
    town.give(contact_key("t", "old"), ConsentGiven("news", True, T0 + 6))  # by the former id
    assert town.contact("new").consents["news"].granted


def test_journeys_go_on_and_mail_that_was_not_begun_goes_once() -> None:
    """The first mail waits while they are merged; the second comes of the moved timer."""
    town = Town()
    town.person("old")
    town.person("new")
    town.event("old")
    town.merge("old", "new")
    assert town.hand_over() == [("new@example.com", "hello")]
    town.later(DAY)
    assert town.hand_over() == [("new@example.com", "tip")]
    town.later(40 * DAY)
    assert town.hand_over() == []
    assert town.contact("new").sends == {}


@pytest.mark.parametrize(("outcome", "again"), [("delivered", 0), ("cancelled", 1)])
def test_what_is_in_the_air_while_they_are_merged(outcome: Any, again: int) -> None:
    """Called back, it goes anew only when the egress says that it wasn't begun."""
    town = Town()
    town.person("old")
    town.person("new")
    town.event("old")
    offers = [CreditOffer(lane, 1, Credit(b"e", 1, 10**9)) for lane in town.host.ready_lanes()]
    released = town.host.tick(town.now, TickInputs(credits=offers))
    [mail] = [one.body for _, one in released.releases if isinstance(one.body, Message)]
    town.merge("old", "new")
    assert town.hand_over() == []
    answer = Answer(message_key("t", mail.message_id), AttemptOutcome(1, outcome, "cancelled"))
    town.tells += town.host.tick(town.now, TickInputs(answers=[answer])).tells
    town.rest()
    assert town.hand_over() == [("new@example.com", "hello")] * again
    assert town.contact("new").sends == {}


def test_of_one_scenario_and_key_the_older_journey_stays() -> None:
    """One series, not two; a journey under another key goes on beside."""
    town = Town()
    town.person("old")
    town.person("new")
    town.event("new")
    town.event("old")
    town.event("old", key="2")
    town.merge("old", "new")
    keys = sorted((one.key, one.opened_at) for one in town.contact("new").journeys)
    assert [key for key, _ in keys] == ["1", "2"]
    assert keys[0][1] < keys[1][1]
    town.hand_over()
    town.later(DAY)
    assert [step for _, step in town.hand_over()] == ["tip", "tip"]


def test_a_goal_by_the_former_id_ends_the_journey_and_its_mail() -> None:
    """Mail that was called back from the former isn't sent anew then."""
    town = Town()
    town.person("old")
    town.person("new")
    town.event("old")
    town.merge("old", "new")
    town.event("old", "bought")
    assert town.contact("new").journeys == ()
    assert town.contact("new").counts["bought"] == 1
    assert town.hand_over() == []


def test_exposure_to_caps_is_the_union() -> None:
    settings = ContactSettings(caps=(Cap("week", 1, window_ms=7 * DAY),))
    town = Town(contact=settings)
    town.person("old")
    town.person("new")
    town.event("old")
    assert len(town.hand_over()) == 1
    town.merge("old", "new")
    town.event("new", key="2")
    assert town.hand_over() == []


def test_a_message_of_the_api_on_its_way_goes_where_it_was_going() -> None:
    """The alias knows of its contact until then, and nothing afterwards."""
    town = Town()
    town.person("old")
    town.person("new")
    identity = contact_key("t", "old")[:4] + b"d" * 12
    town.give(contact_key("t", "old"), SendDirect(identity, "code", {"code": 1}))
    town.merge("old", "new")
    assert town.contact("old").directs
    assert [(one, step) for one, step in town.hand_over()] == [("old@example.com", "")]
    assert town.contact("old") == type(town.contact("old"))(merged_into="new")


def test_loops_are_refused() -> None:
    """Directly, around a corner, with itself, and where two ask for each other at once."""
    town = Town()
    for name in ("a", "b", "c"):
        town.person(name)
    town.merge("a", "a")
    town.merge("a", "b")
    town.merge("b", "a")
    assert town.contact("b").merged_into == ""
    town.merge("b", "c")
    town.merge("c", "a")
    assert town.contact("c").merged_into == ""
    assert set(town.contact("c").formers) == {"a", "b"}
    assert town.contact("a").merged_into == "b"
    town.event("a", "viewed")
    assert town.contact("c").counts["viewed"] == 1


def test_two_that_ask_for_each_other_at_once() -> None:
    """At most one becomes an alias; nothing goes in circles."""
    for places in range(8):
        town = Town()
        one, two = f"x{places}", f"y{places}"
        town.person(one)
        town.person(two)
        asks = [
            inputs.Arrival(contact_key("t", former), Merge(into), b"m", town.now)
            for former, into in ((one, two), (two, one))
        ]
        town.tick(asks)
        town.rest()
        aliases = [name for name in (one, two) if town.contact(name).merged_into]
        assert len(aliases) <= 1
        assert not any(town.contact(name).merging for name in (one, two))


def test_merging_again_changes_nothing_and_into_another_is_refused() -> None:
    town = Town()
    for name in ("old", "new", "other"):
        town.person(name)
    town.event("old", "viewed")
    town.merge("old", "new")
    before = town.contact("new")
    town.merge("old", "new")
    town.merge("old", "other")
    assert town.contact("new") == before
    assert town.contact("old").merged_into == "new"


def test_who_was_merged_into_an_alias_comes_to_the_survivor() -> None:
    town = Town()
    for name in ("a", "b", "c"):
        town.person(name)
        town.event(name, "viewed")
    town.merge("a", "b")
    town.merge("c", "a")
    assert town.contact("b").counts["viewed"] == 3
    assert town.contact("c").merged_into == "b"


def test_erasing_either_id_erases_the_person() -> None:
    for erased in ("old", "new"):
        town = Town()
        town.person("old")
        town.person("new")
        town.event("old")
        town.merge("old", "new")
        town.give(contact_key("t", erased), Erase())
        assert town.contact("new").erased_at
        assert town.contact("old") == type(town.contact("old"))(merged_into="new")
        town.event("old")
        assert town.contact("new").dropped == 1
        assert town.hand_over() == []


def test_nobody_merges_into_one_that_is_erased() -> None:
    town = Town()
    town.person("old")
    town.give(contact_key("t", "gone"), Erase())
    town.merge("old", "gone")
    assert (town.contact("old").merged_into, town.contact("old").merging) == ("", "")
    town.give(contact_key("t", "gone"), Merge("old"))
    assert town.contact("gone").erased_at


def test_codes_go_along() -> None:
    town = Town()
    town.catalog = Catalog(
        "scenario: gift\nentry: asked\nsteps:\n  - {id: c, coupon: spring}\n  - {id: d, wait: 1d}\n"
    )
    town.begin()
    town.person("old")
    town.person("new")
    town.add("A")
    town.ask("old")
    town.merge("old", "new")
    assert [one.code for one in town.contact("new").coupons] == ["A"]
    code = town.code("A")
    assert code is not None
    assert code.holder == "new"


def test_an_answer_to_a_former_journey_finds_it() -> None:
    town = Town()
    town.catalog = Catalog(
        "scenario: lead\nentry: asked\nsteps:\n  - {id: w, webhook: crm}\n  - {id: m, tag: done}\n"
    )
    town.begin()
    town.person("old")
    town.person("new")
    town.ask("old")
    [journey] = town.contact("old").journeys
    town.merge("old", "new")
    [moved] = town.contact("new").journeys
    assert moved.id == merged_journey(contact_key("t", "new"), journey.id)
    answer = CallAnswered(journey.id, "w", 1, True, 200)
    town.give(contact_key("t", "old"), answer)
    assert set(town.contact("new").tags) == {"done"}


def test_runs_over_all_contacts_pass_an_alias_by() -> None:
    town = Town()
    town.person("old")
    town.person("new")
    town.merge("old", "new")
    before = town.contact("new")
    for body in (LookAnew(), EnterJourney("welcome", "schedule", segment="s")):
        town.give(contact_key("t", "old"), body)
    assert town.contact("new") == before


@pytest.mark.parametrize("seed", range(8))
def test_over_crashes_everything_arrives_once(seed: int) -> None:
    """Events by either id, merges that are repeated, workers that die anywhere: counts add up, each mail goes once."""
    town, chance = Town(seed), random.Random(seed)
    names = [f"p{number}" for number in range(6)]
    for name in names:
        town.person(name)
    events = 0
    for _ in range(40):
        kind = chance.random()
        if kind < 0.2:
            town.merge(*chance.sample(names, 2))
        else:
            town.event(chance.choice(names), "viewed" if kind < 0.6 else "signup")
            events += kind < 0.6
    town.rest()
    survivors = [name for name in names if not town.contact(name).merged_into]
    assert sum(town.contact(name).counts.get("viewed", 0) for name in survivors) == events
    for name in names:
        root = name
        for _ in names:
            root = town.contact(root).merged_into or root
        assert root in survivors
    town.hand_over()
    town.later(2 * DAY)
    town.hand_over()
    sent = [(one.address, one.step, one.variables["journey"]["id"]) for one in town.released]
    assert len(sent) == len(set(sent))
    assert {address for address, _, _ in sent} <= {f"{name}@example.com" for name in survivors}
    for name in survivors:
        assert town.contact(name).sends == {}
        assert town.contact(name).journeys == ()
