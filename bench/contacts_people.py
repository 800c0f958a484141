"""The contacts of case `contacts`: millions of them, each waiting in a journey, and the events that come for them.

A contact has twelve attributes, a consent, one journey and with it one timer. It is what `ContactMachine` would hold
after its attributes, its consent and one order, which a test shows. Everything follows from its number; timers are
spread evenly over `WAIT_MS` from `BASE_MS` on, so that some come due whenever log time passes.
"""

from __future__ import annotations

__all__ = (
    "BASE_MS",
    "HOUR_MS",
    "SCENARIO",
    "SCENARIO_NAME",
    "TENANT",
    "WAIT_MS",
    "Events",
    "attributes_of",
    "contact_name",
    "fill",
    "opened_at",
    "order_id",
    "order_of",
    "waiting_contact",
)

import random
from collections.abc import Sequence

import msgspec

from engine.entities import Machines
from engine.ids import journey_id
from engine.inputs import Meta
from engine.keyspace import CONTACT, Keyspace, contact_key
from engine.machine import At
from engine.rows import AGENDA, ENTITY, META, TALLY
from engine.store.protocol import Batch, Stand, Store, partition_prefix
from engine.tally import Tally
from engine.vocabulary import Consent
from scenarios.state import Contact, Journey

TENANT = "shop"
SCENARIO_NAME = "quiet"
SCENARIO = """\
scenario: quiet
entry: order.placed
reentry: restart
steps:
  - id: month
    wait: 30d
  - id: mark
    tag: quiet
  - id: another
    wait: 30d
  - id: miss-you
    send: {template: miss-you, topic: offers}
"""
HOUR_MS = 3_600_000
WAIT_MS = 30 * 24 * HOUR_MS
BASE_MS = 1_790_000_000_000
"""Log time at which the filled store stands."""

BATCH_CONTACTS = 20_000
"""Contacts in one commit of the fill: about 15 MB."""

_CITIES = ("Kraków", "Lyon", "Gent", "Porto", "Århus", "Győr", "Bergamo", "Leeds")
_GOODS = ("vinyl", "sleeve", "needle", "poster", "amplifier", "headphones", "cable")
_MIX = 2_654_435_761


def contact_name(number: int) -> str:
    """Name a contact."""
    return f"customer-{number:010}"


def opened_at(number: int) -> int:
    """Tell when a contact ordered (ms): its timer is due `WAIT_MS` later, an hour after `BASE_MS` or more."""
    return BASE_MS + HOUR_MS - WAIT_MS + (number * _MIX % 2**32) * (WAIT_MS - HOUR_MS) // 2**32


def attributes_of(number: int) -> dict[str, object]:
    """Make the twelve attributes of a contact."""
    mixed = number * _MIX % 2**32
    return {
        "email": f"anna.example+{mixed:08x}@domain{mixed % 5000}.example",
        "name": f"Anna {mixed % 9973} Nowak",
        "city": _CITIES[mixed % 8],
        "country": "PL",
        "language": "pl-PL",
        "zone": "Europe/Warsaw",
        "born": f"19{50 + mixed % 50}-0{1 + mixed % 9}-1{mixed % 10}",
        "tier": "gold" if mixed % 10 == 0 else "basic",
        "orders": mixed % 40,
        "spent": mixed % 900_000,
        "likes": [_GOODS[mixed % 7], _GOODS[mixed // 7 % 7]],
        "source": f"https://shop.example/welcome?campaign=spring-{mixed % 100:02}",
    }


def order_of(number: int) -> dict[str, object]:
    """Make the data of the order that opened a contact's journey."""
    return {"order": f"2026-{number:010}", "value": number % 50_000, "currency": "EUR"}


def order_id(number: int) -> bytes:
    """Give the input id of that order."""
    return b"order-%010d" % number


def waiting_contact(
    number: int, version: str, due_at: int | None = None
) -> tuple[bytes, Contact, At]:
    """Make a contact as it stands in the store: (key, state, place). `version` is that of the scenario.

    With `due_at` (ms) every timer is within a second from then.
    """
    key = contact_key(TENANT, contact_name(number))
    began = opened_at(number)
    due = began + WAIT_MS if due_at is None else due_at + number % 1000
    journey = Journey(
        id=journey_id(key, SCENARIO_NAME, "", order_id(number)),
        scenario=SCENARIO_NAME,
        version=version,
        step="month",
        visit=1,
        due=due,
        opened_at=began,
        event=order_of(number),
        since=began,
        ordinal=1,
    )
    state = Contact(
        attributes=attributes_of(number),
        consents={"offers": Consent(granted=True, at=began, source="checkout form")},
        counts={"order.placed": 1},
        journeys=(journey,),
        ordinal=1,
    )
    return key, state, At(due)


def fill(
    store: Store,
    machines: Machines,
    keyspace: Keyspace,
    version: str,
    first: int,
    last: int,
    due_at: int | None = None,
) -> int:
    """Write the contacts `first` to `last` (exclusive) as they would stand there. Returns the octets of the states.

    Counters and marks are those of all contacts from 0 on, so fills must follow one another.
    """
    octets = 0
    for start in range(first, last, BATCH_CONTACTS):
        batches = _empty_batches(store, keyspace)
        for number in range(start, min(start + BATCH_CONTACTS, last)):
            key, state, place = waiting_contact(number, version, due_at)
            batch = batches[keyspace.partition(key)]
            prefix = partition_prefix(batch.partition)
            encoded = machines.encode(state)
            octets += len(encoded)
            batch.puts.append((prefix + ENTITY + key, machines.seal(key, encoded, place)))
            batch.puts.append((prefix + AGENDA + place.due.to_bytes(8) + key, b""))
        _put_control(store, batches)
        assert store.commit(batches) == [], "nobody else writes here"
    return octets


def _empty_batches(store: Store, keyspace: Keyspace) -> list[Batch]:
    return [
        Batch(number, Stand(1, store.stand(number).seq + 1))
        for number in range(keyspace.partitions)
    ]


def _put_control(store: Store, batches: Sequence[Batch]) -> None:
    """Write the control rows of each partition: where its time stands, and how many wait in it."""
    prefixes = [partition_prefix(batch.partition) for batch in batches]
    tallies = store.get([prefix + TALLY for prefix in prefixes])
    meta = msgspec.msgpack.encode(Meta(now=BASE_MS, agenda_mark=BASE_MS))
    for batch, prefix, raw in zip(batches, prefixes, tallies, strict=True):
        tally = Tally.decode(raw)
        born = len(batch.puts) // 2
        tally.count(f"entities:{CONTACT:c}", born)
        tally.count(f"timers:{CONTACT:c}", born)
        batch.puts += [(prefix + META, meta), (prefix + TALLY, tally.encode())]


class Events:
    """Makes orders of random contacts as JSON; no two have the same id."""

    def __init__(self, contacts: int, seed: int) -> None:
        self._contacts = contacts
        self._draw = random.Random(seed)
        self._seed = seed
        self._number = 0

    def make(self, number: int, now: int) -> bytes:
        """Make a request of so many events, one a line, that happened at `now` (ms)."""
        return b"\n".join(self._event(now) for _ in range(number))

    def _event(self, now: int) -> bytes:
        self._number += 1
        number, draw = self._number, self._draw
        return msgspec.json.encode(
            {
                "id": f"shop-{self._seed}-order-{number:012}",
                "name": "order.placed",
                "contact": contact_name(draw.randrange(self._contacts)),
                "at": now,
                "data": {
                    "value": draw.randrange(500, 50_000),
                    "currency": "EUR",
                    "order": f"2026-{number:09}",
                    "channel": "web",
                    "items": [
                        {"sku": f"LP-{draw.randrange(10**6):06}", "title": "Salt Flats", "n": 1},
                        {"sku": f"CD-{draw.randrange(10**6):06}", "title": "Świt", "n": 2},
                    ],
                    "shipping": {"country": "PL", "city": "Kraków", "method": "parcel locker"},
                    "url": f"https://shop.example/orders/2026-{number:09}",
                },
            }
        )
