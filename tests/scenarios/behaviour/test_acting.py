"""Actors."""

from __future__ import annotations

from collections import Counter
from math import sqrt

from engine.vocabulary import Event, data_of
from scenarios.behaviour.acting import Actor, Cast
from scenarios.behaviour.reading import read_behaviour
from scenarios.duration import DAY_MS
from scenarios.zones import local_time, zone_of

TEXT = """\
days: 10
contacts:
  consents: {offers: 0.5}
  domains: {a.test: 3, b.test: 1}
  attributes: {timezone: Europe/Warsaw, plan: {one_of: {free: 1, pro: 1}}}
happens:
  - {event: visit, share: 0.5, times: 2, hours: [0,0,0,0,0,0,0,0,0,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0], data: {id: {new: v}}}
  - {event: sale, at: 2026-03-05 9:00}
follows:
  - {after: event visit, event: order, chance: 0.25, delay: 1h, once: = cause.id, data: {visit: = cause.id}}
  - {after: mail hello, event: reply, delay: 1m}
mail: {opened: 0.5, clicked: 0.5, complained: 0.1, unsubscribed: 0.1}
"""
CAST = Cast(read_behaviour(TEXT))
ACTORS = [Actor(CAST, f"c{number}", 1) for number in range(4000)]


def close(count: int, of: int, share: float) -> bool:
    """Tell whether a count lies within four standard errors."""
    return abs(count - of * share) <= 4 * sqrt(of * share * (1 - share))


def test_contacts_are_as_stated() -> None:
    """Domains, consents and attributes by their shares; the same number is always the same contact."""
    assert close(sum(actor.attributes["email"].endswith("@a.test") for actor in ACTORS), 4000, 0.75)
    assert close(sum("offers" in actor.consents for actor in ACTORS), 4000, 0.5)
    again = Actor(CAST, "c7", 1)
    assert (ACTORS[7].attributes, ACTORS[7].consents) == (again.attributes, again.consents)


def test_they_do_what_they_do_of_themselves_within_the_days_at_their_hours() -> None:
    """Half of them visit, twice on average, at nine or ten in the morning of their own zone; the sale is for all."""
    zone = zone_of("Europe/Warsaw")
    assert zone is not None
    openings = [Actor(CAST, f"c{number}", 1).opening() for number in range(4000)]
    visits = [[one for one in opening if one.event.name == "visit"] for opening in openings]
    visitors = sum(bool(one) for one in visits)
    assert close(visitors, 4000, 0.5)
    assert abs(sum(map(len, visits)) / visitors - 2) < 4 * 1.42 / visitors**0.5
    for one in (doing for some in visits for doing in some):
        assert CAST.begins <= one.at < CAST.begins + 10 * DAY_MS
        assert local_time(one.at, zone).hour in {9, 10}
    sales = {one.at for opening in openings for one in opening if one.event.name == "sale"}
    assert {1772697600000} == sales  # 9:00 in Warsaw is 8:00 UTC
    assert all([one.at for one in some] == sorted(one.at for one in some) for some in openings)


def test_they_answer_events_and_mail_by_their_shares() -> None:
    """Opens of deliveries, clicks of opens, and what follows of an event, named for what it comes about once."""
    orders = [ACTORS[n].after_event(Event("visit", 5, {"id": f"v{n}"}), 5) for n in range(4000)]
    assert close(sum(map(len, orders)), 4000, 0.25)
    first = next(found[0] for found in orders if found)
    assert first.once == f"order {data_of(first.event.data)['visit']}"
    about = {"message_id": "m", "scenario": "s", "step": "hello", "topic": "news"}
    found: Counter[str] = Counter()
    for actor in ACTORS:
        answers = actor.after_mail(about, {}, 1000)
        found.update(one.event.name for one in answers)
        assert all(one.at > 1000 for one in answers)
    assert close(found["mail.opened"], 4000, 0.5)
    assert close(found["mail.clicked"], found["mail.opened"], 0.5)
    assert close(found["mail.complained"], 4000, 0.1)
    assert found["reply"] == 4000
