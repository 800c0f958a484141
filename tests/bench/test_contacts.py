"""The contacts of the bench are what the contact machine would hold, and a filled store is a worker's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.worker import wire
from actors.worker.assembly import catalog_compilers
from actors.worker.worker import Worker
from bench.contacts import size_name
from bench.contacts_people import (
    BASE_MS,
    SCENARIO,
    SCENARIO_NAME,
    TENANT,
    WAIT_MS,
    Events,
    attributes_of,
    contact_name,
    opened_at,
    order_id,
    order_of,
    waiting_contact,
)
from bench.contacts_worker import Filled, Job, do, peak_memory
from bench.deployment import Sender, configure, publish_all, worker_settings
from engine.catalog import Catalog, Head, Item, digest_of
from engine.keyspace import EntityKey, contact_key
from engine.machine import At, Context
from engine.vocabulary import ConsentGiven, ContactPut, Event
from scenarios.contact import ContactMachine
from scenarios.state import Contact

PEOPLE = 300


def _catalog() -> Catalog:
    content = SCENARIO.encode()
    head = Head(1, (Item("scenario", TENANT, SCENARIO_NAME, digest_of(content)),))
    return Catalog(head, {digest_of(content): content}, catalog_compilers({}))


def _settings(folder: Path) -> wire.WorkerSettings:
    config = configure(folder, [Sender(TENANT, "shop.example", "ed25519-sha256")], 1)
    publish_all(config, {TENANT: {"quiet.yaml": SCENARIO}}, {})
    return msgspec.structs.replace(worker_settings(config)[0], log_time=BASE_MS)


@pytest.mark.parametrize("number", [0, 1, 9_999_999])
def test_a_contact_is_what_the_machine_would_have_made_of_its_inputs(number: int) -> None:
    catalog, machine = _catalog(), ContactMachine()
    at = opened_at(number)
    context = Context(catalog, at)
    context.key = contact_key(TENANT, contact_name(number))
    state: Contact | None = None
    place = None
    for input_id, body in (
        (b"put", ContactPut(attributes_of(number))),
        (b"consent", ConsentGiven("offers", granted=True, at=at, source="checkout form")),
        (order_id(number), Event("order.placed", at, order_of(number))),
    ):
        context.input_id = input_id
        transition = machine.decide(state, body, context)
        state, place = transition.state, transition.place
    version = catalog.find("scenario", TENANT, SCENARIO_NAME).version
    assert (context.key, state, place) == waiting_contact(number, version)


def test_contacts_are_as_large_as_promised_and_their_timers_lie_ahead() -> None:
    for number in range(PEOPLE):
        _, state, place = waiting_contact(number, "v")
        assert len(state.attributes) == 12
        assert len(msgspec.msgpack.encode(state)) >= 400
        assert BASE_MS < place.due < BASE_MS + WAIT_MS + 1


def test_events_of_a_request_are_new_and_large() -> None:
    lines = Events(PEOPLE, 1).make(200, BASE_MS).split(b"\n")
    assert len({msgspec.json.decode(line)["id"] for line in lines}) == 200
    assert min(map(len, lines)) >= 400


def test_a_worker_finds_a_filled_store_as_its_own(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    raw = wire.encode(settings)
    done = do(Job("fill", raw, PEOPLE // 2, settle_s=0))
    assert isinstance(done, Filled)
    assert done.state_octets >= 400 * PEOPLE // 2
    assert done.store_octets > 0
    do(Job("fill", raw, PEOPLE, first=PEOPLE // 2, settle_s=0))

    async def lived() -> None:
        worker = Worker(settings)
        await worker.start()
        facts = worker.status().facts
        assert (facts["entities:c"], facts["timers:c"]) == (PEOPLE, PEOPLE)
        assert worker.host.next_due() is not None
        key, state, place = waiting_contact(7, _version(worker))
        assert worker.host.entry(EntityKey(key)) == (state, place)
        status = await worker.pass_time(BASE_MS + WAIT_MS, None)
        assert status.inputs == PEOPLE  # each timer came due, once
        woken = worker.host.entry(EntityKey(key))
        assert woken[1] == At(BASE_MS + 2 * WAIT_MS)
        assert "quiet" in woken[0].tags
        await worker.stop()

    asyncio.run(lived())


def _version(worker: Worker) -> str:
    raw, _ = worker.host.entry(contact_key(TENANT, contact_name(0)))
    version: str = raw.journeys[0].version
    return version


def test_the_peak_of_memory_is_told() -> None:
    assert peak_memory() > 1 << 20


@pytest.mark.parametrize(("contacts", "name"), [(300_000, "300k"), (10_000_000, "10m")])
def test_sizes_are_named_as_results_are(contacts: int, name: str) -> None:
    assert size_name(contacts) == name
