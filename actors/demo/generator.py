"""An event log of a shop that doesn't exist: visits, carts and orders, sorted by time, from a seed.

The same settings give the same bytes. Contacts draw from streams of their own, so that what a
contact does doesn't depend on how many others there are. What happens on a day is made from the
orders of `behaviour`: each order ends a visit with a cart; carts that come to nothing follow within
days; other visits bring views alone.
"""

from __future__ import annotations

__all__ = ("BEGIN_MS", "DemoConsent", "DemoEvent", "DemoSettings", "generate", "write_log")

import heapq
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from actors.demo import behaviour
from actors.demo.people import person

BEGIN_MS = 1_767_571_200_000  # 2026-01-05, a Monday
CONSENT_TOPIC = "offers"
CONSENT_SOURCE = "checkout at nimbus.example"
CURRENCY = "EUR"

_MINUTE_MS = 60_000
_DAY_MINUTES = 1440
_VISIT_MINUTES = 45
_ENCODER = msgspec.json.Encoder()
_TITLES = (
    "Salt Flats at Noon",
    "The Quiet Radio",
    "Paper Boats",
    "Northbound, Slowly",
    "Eleven Rooms",
    "Świt nad Wisłą",
    "Low Tide Choir",
    "Hôtel des Vents",
    "A Map of Small Hours",
    "Glass Orchard",
    "Die Uhrmacherin",
    "Second Rain",
    "Long Way to Ostrava",
    "Feather & Flint",
    "Blue Hour Sessions",
    "The Ferryman's Waltz",
    "Café Meridian",
    "Unsent Letters",
    "Kestrel",
    "Winter Tramlines",
)


class DemoSettings(msgspec.Struct, frozen=True):
    """How large the log is: contacts, days, the seed; it begins at `begin_ms`, a midnight UTC."""

    contacts: int = 2_000
    days: int = 120
    seed: int = 7
    begin_ms: int = BEGIN_MS


class DemoConsent(msgspec.Struct, frozen=True):
    """A consent in the form of event logs."""

    topic: str
    source: str


class DemoEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line in the form of event logs (docs/event-log.md). `at` is ISO 8601, UTC."""

    id: str
    event: str
    contact: str
    at: str
    data: dict[str, Any]
    attributes: dict[str, str] = {}
    consents: list[DemoConsent] = []


class _Act(msgspec.Struct, frozen=True):
    """Something that a contact does, at a minute of the log."""

    minute: int
    event: str
    data: dict[str, Any]


def generate(settings: DemoSettings) -> Iterator[DemoEvent]:
    """Give the events by rising time; a contact's first one brings its attributes and consent.

    A contact's events are in memory from the day of its first one on, so memory grows with the
    contacts that are about.
    """
    arriving: dict[int, list[int]] = {}
    for number in range(settings.contacts):
        first = behaviour.first_order_day(_draw(settings, number, "first"), settings.days)
        arriving.setdefault(first, []).append(number)
    ahead: list[tuple[int, int, int, DemoEvent]] = []
    for day in range(settings.days):
        for number in arriving.get(day, ()):
            for place, (minute, event) in enumerate(_life(settings, number, day)):
                heapq.heappush(ahead, (minute, number, place, event))
        while ahead and ahead[0][0] < (day + 1) * _DAY_MINUTES:
            yield heapq.heappop(ahead)[-1]


def write_log(settings: DemoSettings, path: Path) -> int:
    """Write the log as NDJSON, by rising time; gives the number of events."""
    count = 0
    with path.open("wb") as file:
        for event in generate(settings):
            file.write(_ENCODER.encode(event) + b"\n")
            count += 1
    return count


def _life(settings: DemoSettings, number: int, first: int) -> list[tuple[int, DemoEvent]]:
    """Tell all that a contact does, by rising time, with the minute of the log."""
    contact = f"c{number + 1:06}"
    attributes, consents = _introduction(settings, number)
    life = []
    for place, act in enumerate(_acts(settings, number, first)):
        event = DemoEvent(
            id=f"{contact}-{place + 1}",
            event=act.event,
            contact=contact,
            at=_iso(settings.begin_ms + act.minute * _MINUTE_MS),
            data=act.data,
            attributes={} if place else attributes,
            consents=[] if place else consents,
        )
        life.append((act.minute, event))
    return life


def _acts(settings: DemoSettings, number: int, first: int) -> list[_Act]:
    draw = _draw(settings, number, "life")
    acts: list[_Act] = []
    for place, day in enumerate(behaviour.order_days(draw, first, settings.days)):
        acts += _visit(draw, day, "order", f"{number + 1}-{place + 1}")
        carts = behaviour.abandoned_carts(draw)
        looks = sum(behaviour.idle_visits(draw) for _ in range(carts + 1))
        for ends in ["cart"] * carts + ["view"] * looks:
            later = day + int(draw.expovariate(1 / behaviour.ABANDONED_AFTER_DAYS))
            acts += _visit(draw, later, ends, "")
    within = [act for act in acts if act.minute < settings.days * _DAY_MINUTES]
    return sorted(within, key=lambda act: act.minute)


def _visit(draw: random.Random, day: int, ends: str, order: str) -> list[_Act]:
    """Make one visit: views, then perhaps a cart, then perhaps the order. It ends on the day that it began."""
    minute = day * _DAY_MINUTES + min(
        behaviour.minute_of_day(draw), _DAY_MINUTES - 1 - _VISIT_MINUTES
    )
    title, price = draw.choice(_TITLES), behaviour.unit_price(draw)
    acts = [_Act(minute, "product.viewed", {"title": title, "price": price})]
    for _ in range(behaviour.views(draw) - 1):
        seen = {"title": draw.choice(_TITLES), "price": behaviour.unit_price(draw)}
        acts.append(_Act(minute + draw.randrange(1, 15), "product.viewed", seen))
    if ends == "view":
        return acts
    items = behaviour.items(draw)
    cart = {"items": items, "value": items * price, "currency": CURRENCY, "title": title}
    minute += draw.randrange(15, 25)
    acts.append(_Act(minute, "cart.updated", cart))
    if ends == "order":
        acts.append(_Act(minute + draw.randrange(2, 20), "order.placed", {"order": order, **cart}))
    return acts


def _introduction(settings: DemoSettings, number: int) -> tuple[dict[str, str], list[DemoConsent]]:
    draw = _draw(settings, number, "person")
    consents = []
    if draw.random() < behaviour.CONSENTING:
        consents.append(DemoConsent(CONSENT_TOPIC, CONSENT_SOURCE))
    return person(draw, number), consents


def _draw(settings: DemoSettings, number: int, use: str) -> random.Random:
    """Give a contact's own stream for a use, so that draws for one don't shift another's."""
    return random.Random(f"{settings.seed}/{number}/{use}")  # noqa: S311 -- reproducible by design


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
