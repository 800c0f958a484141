"""Journeys: what each kind of step and each rule of a scenario does to a contact."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engine.machine import At, Emit, Wake
from engine.vocabulary import (
    Cancel,
    ContactPut,
    Event,
)
from scenarios.sending import eagerness
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR


def world_with(*texts: str, **settings: Any) -> World:
    world = World(*texts, **settings)
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    return world


def steps_sent(world: World) -> list[str]:
    return [send.step for _, _, _, send in world.sent]


def mail(step: str) -> str:
    return "{id: " + step + ", send: {template: x, topic: news}}"


CART = f"""
scenario: cart
entry: cart
key: event.cart
reentry: restart
goal: {{event: order, when: event.cart == journey.event.cart}}
steps:
  - {{id: hour, wait: 1h}}
  - {mail("first")}
  - {{id: day, wait: 1d}}
  - {mail("second")}
"""


def test_each_key_has_its_own_journey_and_a_goal_ends_its_own_alone() -> None:
    world = world_with(CART)
    world.give("ann", Event("cart", 0, {"cart": 1}))
    world.give("ann", Event("cart", 0, {"cart": "two"}))
    world.until(HOUR)
    assert steps_sent(world) == ["first", "first"]
    world.give("ann", Event("order", 0, {"cart": 1}))
    assert [one.key for one in world.contact("ann").journeys] == ["two"]
    world.drain()
    assert steps_sent(world) == ["first", "first", "second"]


def test_a_goal_cancels_the_mail_of_its_journey_that_is_not_begun() -> None:
    world = world_with(CART)
    world.give("ann", Event("cart", 0, {"cart": 1}))
    world.until(HOUR)
    world.told.clear()
    world.give("ann", Event("order", 0, {"cart": 1}))
    assert [tell.body for tell in world.told] == [Cancel("goal:order")]


def test_a_restart_begins_the_wait_anew_under_the_same_key() -> None:
    world = world_with(CART)
    world.give("ann", Event("cart", 0, {"cart": 1}))
    world.now = HOUR - 1
    world.give("ann", Event("cart", 0, {"cart": 1}))
    assert [one.due for one in world.contact("ann").journeys] == [2 * HOUR - 1]


def test_a_key_that_is_no_text_or_integer_opens_nothing() -> None:
    world = world_with(CART)
    world.give("ann", Event("cart", 0, {"cart": [1]}))
    assert [fact["reason"] for fact in world.facts("entry_refused")] == ["no_key"]


def test_an_exit_that_watches_an_attribute_ends_the_journey_at_once() -> None:
    world = world_with(
        f"""
scenario: trial
entry: started
exit: {{name: paid, when: contact.plan == 'paid'}}
steps:
  - {{id: week, wait: 7d}}
  - {mail("reminder")}
"""
    )
    world.give("ann", Event("started", 0))
    world.give("ann", ContactPut({"plan": "paid"}))
    assert world.contact("ann").journeys == ()
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["exit:paid"]


def test_reentry_after_a_time_counts_from_the_last_opening() -> None:
    world = world_with(f"scenario: s\nentry: e\nreentry: {{after: 30d}}\nsteps: [{mail('m')}]")
    for day in (0, 29, 30, 31):
        world.until(day * DAY)
        world.give("ann", Event("e", 0))
    assert steps_sent(world) == ["m", "m"]


def test_always_means_not_while_a_journey_is_under_way() -> None:
    world = world_with(
        f"scenario: s\nentry: e\nreentry: always\nsteps: [{mail('m')}, {{id: w, wait: 1d}}]"
    )
    for day in (0, 0, 1, 1):
        world.until(day * DAY)
        world.give("ann", Event("e", 0))
    assert steps_sent(world) == ["m", "m"]


GROUPED = """
scenario: {name}
entry: {name}
group: shop
priority: {priority}
steps:
  - {{id: w, wait: 1d}}
"""


def test_in_a_group_the_higher_priority_displaces_and_the_lower_is_refused() -> None:
    world = world_with(
        GROUPED.format(name="low", priority=1), GROUPED.format(name="high", priority=2)
    )
    world.give("ann", Event("low", 0))
    world.give("ann", Event("high", 0))
    world.give("ann", Event("low", 0))
    assert [one.scenario for one in world.contact("ann").journeys] == ["high"]
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["displaced"]


def test_scenarios_start_and_stop_each_other_within_a_bound() -> None:
    ping = "scenario: ping\nentry: e\nreentry: always\nsteps: [{id: s, start: pong}]"
    pong = "scenario: pong\nentry: x\nreentry: always\nsteps: [{id: s, start: ping}]"
    world = world_with(ping, pong)
    world.give("ann", Event("e", 0))
    assert world.contact("ann").journeys == ()
    assert world.facts("entry_refused")[-1]["reason"] == "too_many_starts"

    waits = "scenario: waits\nentry: w\nsteps: [{id: s, wait: 1d}]"
    stops = "scenario: stops\nentry: s\nsteps: [{id: s, stop: waits}]"
    world = world_with(waits, stops)
    world.give("ann", Event("w", 0))
    world.give("ann", Event("s", 0))
    assert world.contact("ann").journeys == ()


LISTEN = f"""
scenario: listen
entry: joined
steps:
  - id: w
    wait_for:
      - event: bought
        when: event.value > 10
        as: order
        then:
          - {{id: u, update: {{last: "= journey.order.value"}}}}
      - event: left
        then: [{{end: left}}]
    timeout: 2d
    else: [{mail("nudge")}]
  - {mail("after")}
"""


def test_the_first_event_that_fits_decides_and_its_data_is_kept() -> None:
    world = world_with(LISTEN)
    world.give("ann", Event("joined", 0))
    world.give("ann", Event("bought", 0, {"value": 10}))
    world.give("ann", Event("bought", 0, {"value": 11}))
    assert world.contact("ann").attributes["last"] == 11
    assert steps_sent(world) == ["after"]
    assert world.places[next(iter(world.places))] is None


def test_when_the_time_is_out_the_else_steps_are_taken() -> None:
    world = world_with(LISTEN)
    world.give("ann", Event("joined", 0))
    world.drain()
    assert [(at, send.step) for at, _, _, send in world.sent] == [
        (2 * DAY, "nudge"),
        (2 * DAY, "after"),
    ]


def test_a_timer_goes_before_an_event_of_the_same_time() -> None:
    world = world_with(LISTEN)
    world.give("ann", Event("joined", 0))
    world.until(2 * DAY)
    world.give("ann", Event("left", 2 * DAY))
    assert steps_sent(world) == ["nudge", "after"]


def test_a_wait_that_looks_back_finds_an_event_that_came_before_it() -> None:
    text = """
scenario: s
entry: joined
steps:
  - {id: w, wait: 1d}
  - {id: f, wait_for: {event: bought, then: [{end: yes}]}, since: SINCE, timeout: 1d}
  - {id: m, send: {template: x, topic: news}}
"""
    for since, mails in (("entry", 0), ("step", 1), ("2h", 1), ("30h", 0)):
        world = world_with(text.replace("SINCE", since))
        world.give("ann", Event("bought", 0))  # before the journey: counts for `30h` alone
        world.until(HOUR)
        world.give("ann", Event("joined", 0))
        if since != "30h":
            world.give("ann", Event("bought", 0))
        world.drain()
        assert len(world.sent) == mails, since


def test_a_contact_goes_the_same_way_of_a_split_each_time_and_shares_fit_the_weights() -> None:
    text = f"""
scenario: s
entry: e
reentry: always
steps:
  - id: x
    split:
      - {{name: a, weight: 3, then: [{mail("a")}]}}
      - {{name: b, weight: 1, then: [{mail("b")}]}}
      - {{name: none, weight: 0, then: [{mail("c")}]}}
"""
    world = World(text)
    ways: Counter[str] = Counter()
    for number in range(400):
        contact = f"c{number}"
        world.give(contact, ContactPut({"email": "c@example.com"}))
        world.sent.clear()
        world.give(contact, Event("e", 0))
        world.give(contact, Event("e", 0))
        first, second = steps_sent(world)
        assert first == second
        ways[first] += 1
    assert ways["c"] == 0
    assert 250 < ways["a"] < 350


def test_for_each_takes_the_steps_for_every_item_with_an_id_of_its_own() -> None:
    text = """
scenario: s
entry: e
steps:
  - id: each
    for_each: event.items
    as: product
    limit: 2
    steps:
      - {id: m, send: {template: x, topic: news}}
      - {id: w, wait: 1h}
"""
    world = world_with(text)
    world.give("ann", Event("e", 0, {"items": ["a", "b", "c"]}))
    world.drain()
    assert [at for at, _, _, _ in world.sent] == [0, HOUR]
    assert len({identity for _, _, identity, _ in world.sent}) == 2
    sends = world.contact("ann").sends.values()
    assert [send.caught["product"] for send in sends] == ["a", "b"]
    assert [fact["items"] for fact in world.facts("items_dropped")] == [3]


def test_repeat_ends_when_its_condition_no_longer_holds() -> None:
    text = """
scenario: s
entry: e
steps:
  - id: r
    repeat: 5
    while: contact.count('order') < 1
    steps:
      - {id: m, send: {template: x, topic: news}}
      - {id: w, wait: 1d}
"""
    world = world_with(text)
    world.give("ann", Event("e", 0))
    world.until(2 * DAY)
    world.give("ann", Event("order", 0))
    world.drain()
    assert len(world.sent) == 3
    assert len({identity for _, _, identity, _ in world.sent}) == 3


def test_a_score_halves_with_time_and_tags_come_and_go() -> None:
    text = f"""
scenario: s
entry: e
reentry: always
steps:
  - {{id: s, score: {{name: heat, add: 8, half_life: 10d}}}}
  - {{id: t, tag: {{add: [hot, new], remove: cold}}}}
  - {{id: w, wait: 20d}}
  - {{id: i, if: contact.score('heat') == 2.0 && contact.tagged('hot'), then: [{mail("m")}]}}
"""
    world = world_with(text)
    world.give("ann", Event("e", 0))
    assert set(world.contact("ann").tags) == {"hot", "new"}
    world.drain()
    assert steps_sent(world) == ["m"]


def test_notify_puts_an_entry_on_a_feed() -> None:
    world = world_with("scenario: s\nentry: e\nsteps: [{id: n, notify: {channel: crm, text: hi}}]")
    transition = world.give("ann", Event("e", 0, {"x": 1}))
    [emit] = [effect for effect in transition.effects if isinstance(effect, Emit)]
    assert emit.channel == "notify.crm"
    assert (emit.body["contact"], emit.body["text"], emit.body["event"]) == ("ann", "hi", {"x": 1})


RENEWAL = f"""
scenario: renewal
entry: bought
steps:
  - {{id: w, wait: {{date: contact.renewal, offset: -1, at: "09:00", past: end}}}}
  - {mail("m")}
"""


def test_a_calendar_wait_follows_the_contact_s_zone_and_date_when_they_change() -> None:
    world = world_with(RENEWAL)
    world.give("ann", ContactPut({"renewal": "1970-01-11"}))
    world.give("ann", Event("bought", 0))
    assert world.contact("ann").journeys[0].due == 9 * DAY + 9 * HOUR
    world.give("ann", ContactPut({"timezone": "Asia/Tokyo"}))
    assert world.contact("ann").journeys[0].due == 9 * DAY
    world.give("ann", ContactPut({"timezone": "Nowhere/At_All", "renewal": "1970-01-21"}))
    assert world.contact("ann").journeys[0].due == 19 * DAY + 9 * HOUR
    world.give("ann", ContactPut({"renewal": None}))
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["no_date"]


def test_a_date_that_is_moved_into_the_past_ends_the_journey_where_the_step_says_so() -> None:
    world = world_with(RENEWAL)
    world.now = 5 * DAY
    world.give("ann", ContactPut({"renewal": "1970-01-11"}))
    world.give("ann", Event("bought", 0))
    world.give("ann", ContactPut({"renewal": "1970-01-03"}))
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["date_past"]


def test_event_names_beyond_the_limit_are_not_counted() -> None:
    world = world_with(CART)
    for number in range(1_001):
        world.give("ann", Event(f"page.{number}", 0))
    world.give("ann", Event("page.0", 0))
    assert len(world.contact("ann").counts) == 1_000
    assert world.contact("ann").counts["page.0"] == 2
    assert [fact["event"] for fact in world.facts("event_not_counted")] == ["page.1000"]


def test_a_date_that_is_past_goes_on_or_ends_as_the_step_says() -> None:
    world = world_with(RENEWAL)
    world.now = 20 * DAY
    world.give("ann", ContactPut({"renewal": "1970-01-11"}))
    world.give("ann", Event("bought", 0))
    assert [fact["reason"] for fact in world.facts("journey_ended")] == ["date_past"]
    world = world_with(RENEWAL.replace("past: end", "past: go-on"))
    world.now = 20 * DAY
    world.give("ann", ContactPut({"renewal": "1970-01-11"}))
    world.give("ann", Event("bought", 0))
    assert steps_sent(world) == ["m"]


def test_a_journey_stays_on_its_version_when_another_is_published() -> None:
    old = f"scenario: s\nentry: e\nreentry: always\nsteps: [{{id: w, wait: 1d}}, {mail('old')}]"
    world = world_with(old)
    world.give("ann", Event("e", 0))
    world.catalog.publish(old.replace("old", "new"))
    world.until(DAY)
    world.give("ann", Event("e", 0))
    world.drain()
    assert steps_sent(world) == ["old", "new"]


def test_a_journey_whose_version_the_catalog_has_lost_asks_again_in_an_hour() -> None:
    world = world_with("scenario: s\nentry: e\nsteps: [{id: w, wait: 1d}]")
    world.give("ann", Event("e", 0))
    world.catalog.forget()
    world.until(DAY)
    assert world.places[next(iter(world.places))] == At(DAY + HOUR)
    assert len(world.facts("version_missing")) == 1


def test_after_an_outage_a_send_is_due_when_it_was_meant_and_the_next_wait_counts_from_now() -> (
    None
):
    text = f"scenario: s\nentry: e\nsteps: [{{id: w, wait: 1d}}, {mail('m')}, {{id: v, wait: 1d}}]"
    world = world_with(text)
    world.give("ann", Event("e", 0))
    world.now = 5 * DAY
    world.give("ann", Wake())
    assert world.sent[0][3].due == DAY
    assert world.contact("ann").journeys[0].due == 6 * DAY


def test_an_expression_without_a_value_counts_as_not_fulfilled_and_is_recorded() -> None:
    world = world_with(
        f"scenario: s\nentry: e\nsteps: [{{id: i, if: contact.age > 3, else: [{mail('m')}]}}]"
    )
    world.give("ann", Event("e", 0))
    assert steps_sent(world) == ["m"]
    assert [fact["why"] for fact in world.facts("expression_failed")] == [
        "contact has no attribute `age`"
    ]


def test_an_event_that_interests_nobody_is_counted_and_nothing_else() -> None:
    world = world_with(CART)
    transition = world.give("ann", Event("page.seen", 0))
    assert (transition.effects, transition.place) == ([], None)
    assert world.contact("ann").counts == {"page.seen": 1}


def test_events_are_counted_within_a_window_that_moves_on() -> None:
    text = f"""
scenario: s
entry: {{event: e, when: "contact.count('order', '10d') == 2"}}
reentry: always
steps: [{mail("m")}]
"""
    world = world_with(text)
    world.give("ann", Event("order", 0, historical=True))
    world.now = 10 * DAY - 1
    world.give("ann", Event("order", 0))
    world.give("ann", Event("e", 0))
    world.now = 10 * DAY
    world.give("ann", Event("e", 0))
    assert [at for at, _, _, _ in world.sent] == [10 * DAY - 1]
    assert world.contact("ann").times == {"order": (0, 10 * DAY - 1)}


def test_the_days_since_an_event_are_whole_days() -> None:
    text = f"""
scenario: s
entry: order
reentry: restart
steps:
  - {{id: w, wait: 47h}}
  - {{id: i, if: contact.days_since('order') == 1, then: [{mail("m")}]}}
  - {{id: j, if: contact.days_since('never') >= 0, else: [{mail("n")}]}}
"""
    world = world_with(text)
    world.give("ann", Event("order", 0))
    world.drain()
    assert steps_sent(world) == ["m", "n"]


def test_a_condition_that_comes_true_opens_a_journey_once_for_each_time() -> None:
    text = f"""
scenario: s
entry: [{{becomes: contact.plan == 'pro'}}, {{becomes: contact.count('order') >= 2}}]
reentry: always
steps: [{mail("m")}]
"""
    world = world_with(text)
    for plan, mails in (("free", 0), ("pro", 1), ("pro", 1), (None, 1), ("pro", 2)):
        world.give("ann", ContactPut({"plan": plan}))
        assert len(world.sent) == mails
    world.give("ann", Event("order", 0))
    world.give("ann", Event("order", 0))
    world.give("ann", Event("order", 0))
    assert len(world.sent) == 3
    world.give("new", ContactPut({"plan": "pro", "email": "n@example.com"}))
    assert len(world.sent) == 3


def test_a_branch_is_recorded_with_the_values_that_decided_it() -> None:
    world = World(
        """
scenario: s
entry: e
steps:
  - id: which
    switch:
      - {when: contact.plan == 'gold'}
      - {when: "contact.count('e') > 5 || event.value > 10"}
    else:
      - {id: m, send: {template: m, topic: t}}
"""
    )
    world.give("ann", ContactPut({"email": "a@example.com", "plan": "blue" * 100}))
    world.give("ann", Event("e", 0, {"value": 3}))
    [fact] = world.facts("branch_taken")
    assert fact["branch"] == "else"
    assert fact["values"] == {
        "contact.plan": "blue" * 25,
        "contact.count('e')": 1,
        "event.value": 3,
    }


def test_a_send_tells_how_eager_a_reader_the_contact_is() -> None:
    """Clicks say more than openings, which machines make too; both have their most."""
    world = world_with(CART)
    world.give("eve", ContactPut({"email": "eve@example.com"}))
    world.give("ann", Event("mail.opened", 0))
    for _ in range(9):
        world.give("eve", Event("mail.clicked", 0))
        world.give("eve", Event("mail.opened", 0))
    for who in ("ann", "eve"):
        world.give(who, Event("cart", 0, {"cart": 1}))
    world.until(HOUR)
    assert sorted(send.eager for _, _, _, send in world.sent) == [1, 10]
    assert [eagerness(counts) for counts in ({}, {"mail.opened": 50}, {"mail.clicked": 1})] == [
        0,
        3,
        3,
    ]
