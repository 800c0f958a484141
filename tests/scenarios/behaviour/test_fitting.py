"""Fitting: what actors did gives the figures back by which they acted."""

from __future__ import annotations

from math import sqrt

from engine.vocabulary import Event
from scenarios.behaviour.acting import Actor, Cast
from scenarios.behaviour.fitting import Fitting
from scenarios.behaviour.model import Span
from scenarios.behaviour.reading import read_behaviour

TEXT = """\
days: 30
happens:
  - event: visit
    share: 0.4
    times: 2
    data: {value: {whole: [100, 300]}}
  - {event: rare, share: 0.001}
follows:
  - {after: event visit, event: order, chance: 0.25, delay: 2h}
  - {after: notify shop, event: answer}
mail: {opened: 0.3}
"""
CONTACTS = 3000


def fitted() -> tuple[Fitting, Cast]:
    """Let actors act and measure it, beginning from figures that are wrong."""
    cast = Cast(read_behaviour(TEXT))
    wrong = TEXT.replace("share: 0.4", "share: 0.9").replace("chance: 0.25", "chance: 0.9")
    fitting = Fitting(read_behaviour(wrong))
    for number in range(CONTACTS):
        actor = Actor(cast, f"c{number}", 5)
        events = [(one.at, one.event) for one in actor.opening()]
        for at, event in tuple(events):
            if event.name == "visit":
                events += [(one.at, one.event) for one in actor.after_event(event, at)]
        fitting.take(f"c{number}", Event("seen", cast.begins))
        for _, event in sorted(events, key=lambda one: one[0]):
            fitting.take(f"c{number}", event)
        fitting.take(f"c{number}", Event("seen", cast.ends))
    return fitting, cast


def test_figures_come_back() -> None:
    """Shares, times, hours, values, chances and delays within four standard errors; the rest stays as stated."""
    fitting, _ = fitted()
    behaviour, words = fitting.result()
    visit, rare = behaviour.happens
    assert abs(visit.share - 0.4) < 4 * sqrt(0.24 / CONTACTS)
    assert abs(visit.times - 2) < 4 * 1.5 / sqrt(0.4 * CONTACTS)
    assert len(visit.hours) == 24
    points = dict(visit.data["value"]["quantiles"])
    assert abs(points[0.5] - 200) < 15
    assert rare.share == 0.001
    order, answer = behaviour.follows
    # A second visit before the order takes the place of the first: fewer are counted than came about.
    assert 0.2 < order.chance < 0.27
    assert isinstance(order.delay, Span)
    assert answer.chance == 1.0
    assert behaviour.mail.opened == 0.3
    assert any("too few" in one for one in words)
    assert any("not in the log" in one for one in words)
    Cast(behaviour)  # what was measured can be acted


def test_mail_is_measured_where_the_log_has_it() -> None:
    """Opens of deliveries, clicks of opens."""
    fitting = Fitting(read_behaviour(TEXT))
    for number in range(100):
        names = (
            ["mail.delivered"] + ["mail.opened"] * (number < 40) + ["mail.clicked"] * (number < 10)
        )
        for name in names:
            fitting.take(f"c{number}", Event(name, number))
    mail = fitting.result()[0].mail
    assert (mail.opened, mail.clicked) == (0.4, 0.25)
