"""The events of case `scenarios`: what the library's scenarios listen to, in a mix such as a shop has.

Everything follows from the seed. Each contact has one cart, and what is asked about a cart or an order is answered for
the same cart or order, so that journeys go all their ways: goals, exits, time-outs, loops, experiments.
"""

from __future__ import annotations

__all__ = ("ATTRIBUTES", "EventMaker", "endpoints_of", "library")

import random
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from engine.vocabulary import Event
from scenarios.checking import load
from scenarios.model import Webhook, walk

Data = dict[str, Any]

ATTRIBUTES: Data = {
    "name": "Anna Nowak",
    "language": "pl-PL",
    "timezone": "Europe/Warsaw",
    "plan": "basic",
    "auto_renew": True,
    "interests": ["vinyl", "cable"],
    "renewal": "2027-03-01",
}
"""What each contact has. No address: mail isn't measured here, and a send is decided up to that it can't go."""

_MIX: tuple[tuple[int, str, Callable[[int, random.Random], Data]], ...] = (
    (
        24,
        "product.viewed",
        lambda n, draw: {"product": f"LP-{draw.randrange(50)}", "cart": f"k{n}"},
    ),
    (20, "cart.updated", lambda n, draw: {"cart": f"k{n}", "value": draw.randrange(500, 9_000)}),
    (12, "cart.checked", lambda n, _: {"cart": f"k{n}", "in_stock": True, "value": 4_200}),
    (2, "cart.emptied", lambda n, _: {"cart": f"k{n}"}),
    (9, "order.placed", lambda n, draw: _order(n, draw)),
    (8, "order.delivered", lambda n, draw: _order(n, draw)),
    (1, "order.returned", lambda n, _: {"order": f"o{n}-0"}),
    (4, "review.submitted", lambda n, draw: {"order": f"o{n}-{draw.randrange(3)}", "stars": 5}),
    (3, "account.created", lambda *_: {}),
    (3, "profile.completed", lambda *_: {}),
    (1, "project.created", lambda *_: {}),
    (3, "subscription.requested", lambda *_: {}),
    (3, "subscription.confirmed", lambda *_: {}),
    (2, "guide.requested", lambda *_: {"guide": "turntables"}),
    (2, "pricing.viewed", lambda *_: {}),
    (1, "webinar.attended", lambda *_: {}),
    (2, "course.joined", lambda *_: {}),
)


def _order(number: int, draw: random.Random) -> Data:
    return {
        "order": f"o{number}-{draw.randrange(3)}",
        "cart": f"k{number}",
        "products": [f"LP-{draw.randrange(50)}"],
        "category": "vinyl",
        "value": draw.randrange(500, 50_000),
        "currency": "EUR",
    }


class EventMaker:
    """Makes events of random contacts: (number of the contact, event). No two lists are alike."""

    def __init__(self, contacts: int, seed: int) -> None:
        self._contacts = contacts
        self._draw = random.Random(seed)
        self._weights = [weight for weight, _, _ in _MIX]

    def make(self, number: int) -> list[tuple[int, Event]]:
        """Make so many events; their time is for whoever gives them."""
        draw, made = self._draw, []
        for _, name, data in draw.choices(_MIX, self._weights, k=number):
            contact = draw.randrange(self._contacts)
            made.append((contact, Event(name, 0, data(contact, draw))))
        return made


def library() -> dict[str, str]:
    """Give the scenarios of the library, by file name."""
    found = {}
    for folder in sorted(resources.files("scenarios").joinpath("library").iterdir(), key=str):
        file = folder.joinpath("scenario.yaml")
        if file.is_file():
            found[f"{folder.name}.yaml"] = file.read_text("utf-8")
    return found


def endpoints_of(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Give the endpoints that scenarios call, from their texts by file name."""
    found = {
        step.endpoint
        for file, text in texts.items()
        for step in walk(load(text, file).steps)
        if isinstance(step, Webhook)
    }
    return tuple(sorted(found))
