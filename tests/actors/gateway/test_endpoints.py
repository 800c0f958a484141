"""What each endpoint answers, and how mistakes are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest

from actors.backend import Arrival, OutcomeEntry, SendRequest, SendResult
from actors.gateway.keys import hash_key
from engine import control_log
from engine.ids import derive
from engine.keyspace import contact_key
from engine.vocabulary import ConsentGiven, ContactPut, Erase, Event
from tests.actors.gateway.asking import EVENT, problem, talk
from tests.actors.gateway.memory_backend import MemoryBackend

# ---- events


def test_an_event_becomes_an_input() -> None:
    """An event arrives at the engine typed, with its own time and its bytes, and is recognised when it comes again."""
    backend = MemoryBackend()

    async def asked(client: httpx.AsyncClient) -> None:
        event = EVENT | {"data": {"total": 5}}
        first = await client.post("/v1/events", json=event)
        assert first.json() == {"results": [{"id": "e1", "status": "accepted"}]}
        again = await client.post("/v1/events", json=[event])
        assert again.json() == {"results": [{"id": "e1", "status": "duplicate"}]}

    talk(asked, backend)
    (arrival,) = backend.arrivals
    body = Event("order.placed", 1_714_564_800_123, b'{"total":5}')
    assert msgspec.structs.replace(arrival, raw=b"") == Arrival(
        "default", "c1", "e1", 1_714_564_800_123, body
    )
    assert json.loads(arrival.raw)["data"] == {"total": 5}


def test_many_events_are_one_call() -> None:
    """A batch goes to the engine in one call and is answered item by item, in order."""
    backend = MemoryBackend(horizon_ms=1_700_000_000_000)

    async def asked(client: httpx.AsyncClient) -> None:
        new = {"id": "e2", "name": "x", "contact": "c1"}
        lines = "\n".join(json.dumps(one) for one in (EVENT, new, new))
        response = await client.post(
            "/v1/events", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert response.json()["results"] == [
            {"id": "e1", "status": "accepted"},
            {"id": "e2", "status": "accepted"},
            {"id": "e2", "status": "duplicate"},
        ]
        old = EVENT | {"id": "e3", "at": "2023-01-01T00:00:00Z"}
        refused = await client.post("/v1/events", json=old)
        assert refused.json()["results"] == [
            {"id": "e3", "status": "refused", "reason": "older than the horizon"}
        ]

    talk(asked, backend)
    assert backend.calls == 2


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/"])
def test_both_ways_to_the_events_endpoint_agree(path: str) -> None:
    """The short way at the door and the way through the router answer alike, mistakes included."""

    async def asked(client: httpx.AsyncClient) -> None:
        taken = await client.post(path, json=[EVENT])
        assert taken.status_code == 200
        assert taken.json() == {"results": [{"id": "e1", "status": "accepted"}]}
        told = problem(await client.post(path, json=[EVENT, {}]), 400, "invalid")
        assert told["errors"] == [{"path": "items[1].id", "detail": "missing"}]
        problem(await client.post(path, content=b"{}"), 415, "media-type")

    talk(asked)


def test_one_mistake_refuses_the_whole_request() -> None:
    """Nothing of a request with a mistake is taken; every mistake is named with item and field."""
    backend = MemoryBackend()

    async def asked(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/events", json=[EVENT, EVENT | {"at": 5}, {"id": "x"}])
        told = problem(response, 400, "invalid")
        assert [fault["path"] for fault in told["errors"]] == ["items[1].at", "items[2].name"]

    talk(asked, backend)
    assert backend.calls == 0


# ---- contacts


def test_contacts_are_put_shown_and_erased() -> None:
    """Attributes and consents arrive as inputs in order; everything held is shown; erasure leaves a tombstone."""
    backend = MemoryBackend()

    async def asked(client: httpx.AsyncClient) -> None:
        item = {
            "contact": "c1",
            "id": "r1",
            "attributes": {"email": "a@b.example"},
            "version": 3,
            "consents": [
                {"topic": "news", "granted": True, "at": 1_700_000_000_000, "source": "form"}
            ],
        }
        put = await client.put("/v1/contacts", json=item)
        assert put.json() == {"results": [{"id": "r1", "status": "accepted"}]}
        consent = await client.post(
            "/v1/contacts/c1/consents", json={"topic": "offers", "granted": False}
        )
        assert consent.json()["results"][0]["status"] == "accepted"
        shown = (await client.get("/v1/contacts/c1")).json()
        assert shown["attributes"] == {"email": "a@b.example"}
        assert shown["consents"]["news"]["at_ms"] == 1_700_000_000_000
        assert shown["consents"]["offers"]["granted"] is False
        erased = await client.request("DELETE", "/v1/contacts/c1", json={"reason": "asked"})
        assert erased.status_code == 200
        after = (await client.get("/v1/contacts/c1")).json()
        assert (after["erased"], after["attributes"]) == (True, {})
        late = await client.post("/v1/events", json=EVENT)
        assert late.json()["results"][0]["status"] == "dropped"
        assert (await client.delete("/v1/contacts/c2")).status_code == 200

    talk(asked, backend)
    bodies = [arrival.body for arrival in backend.arrivals]
    assert [type(body) for body in bodies] == [
        ContactPut,
        ConsentGiven,
        ConsentGiven,
        Erase,
        Event,
        Erase,
    ]
    assert len({arrival.input_id for arrival in backend.arrivals}) == len(bodies)


@pytest.mark.parametrize("contact", ["a/b", "a%2Fb", "ä ö/%", "consents", "a?b#c", ".."])
def test_any_contact_can_be_named_in_a_path(contact: str) -> None:
    """An id with slashes, percent signs or non-ASCII, encoded once, finds its contact."""
    backend = MemoryBackend()

    async def asked(client: httpx.AsyncClient) -> None:
        await client.put("/v1/contacts", json={"contact": contact, "attributes": {"x": 1}})
        encoded = "".join(f"%{byte:02X}" for byte in contact.encode())
        shown = await client.get(f"/v1/contacts/{encoded}")
        assert shown.json()["contact"] == contact
        path = f"/v1/contacts/{encoded}/consents"
        assert (await client.post(path, json={"topic": "t", "granted": True})).status_code == 200

    talk(asked, backend)
    assert backend.arrivals[-1].contact == contact


def test_a_contact_that_is_not_there() -> None:
    """An unknown contact is 404; an id that can't be one is 400."""

    async def asked(client: httpx.AsyncClient) -> None:
        problem(await client.get("/v1/contacts/nobody"), 404, "not-found")
        told = problem(await client.delete("/v1/contacts/a%00b"), 400, "invalid")
        assert told["errors"][0]["path"] == "{contact}"

    talk(asked)


# ---- messages


def test_a_message_is_sent_once_per_key() -> None:
    """The same key and body is the same message; another body, or recipient, is a conflict."""

    async def asked(client: httpx.AsyncClient) -> None:
        body = {"contact": "c1", "template": "hello", "variables": {"a": 1, "b": 2}}
        key = {"Idempotency-Key": "k1"}
        first = await client.post("/v1/messages", json=body, headers=key)
        assert first.status_code == 202
        expected = derive(contact_key("default", "c1"), b"direct", "default", "k1").hex()
        assert first.json() == {"message_id": expected, "status": "accepted"}
        turned = {"variables": {"b": 2, "a": 1}, "template": "hello", "contact": "c1"}
        again = await client.post("/v1/messages", json=turned | {"idempotency_key": "k1"})
        assert (again.status_code, again.json()["status"]) == (200, "repeated")
        others: list[dict[str, Any]] = [{"variables": {}}, {"contact": "c2"}, {"address": "x@y.z"}]
        for other in others:
            response = await client.post("/v1/messages", json=body | other, headers=key)
            problem(response, 409, "idempotency-conflict")
        shown = await client.get(f"/v1/messages/{expected}")
        assert shown.json()["state"] == "scheduled"
        story = await client.get(f"/v1/messages/{expected}/explain")
        assert story.json()["lines"][0]["what"] == "asked for by API"

    talk(asked)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, "idempotency_key"),
        ({"idempotency_key": "k", "stream": "transactionel"}, "stream"),
        ({"idempotency_key": "k", "address": "nobody"}, "address"),
        ({"idempotency_key": "k", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ],
)
def test_a_message_with_a_mistake(more: dict[str, Any], path: str) -> None:
    """Each mistake in a message names its field."""

    async def asked(client: httpx.AsyncClient) -> None:
        body = {"contact": "c", "template": "t"} | more
        told = problem(await client.post("/v1/messages", json=body), 400, "invalid")
        assert told["errors"][0]["path"] == path

    talk(asked)


def test_two_different_keys_are_a_mistake() -> None:
    """Header and field must agree."""

    async def asked(client: httpx.AsyncClient) -> None:
        body = {"contact": "c", "template": "t", "idempotency_key": "a"}
        response = await client.post("/v1/messages", json=body, headers={"Idempotency-Key": "b"})
        problem(response, 400, "invalid")

    talk(asked)


def test_what_the_engine_refuses_is_told() -> None:
    """A refusal of the engine carries its reason."""

    class Refusing(MemoryBackend):
        async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
            return [SendResult("refused", (), "there is no template 't'") for _ in requests]

    async def asked(client: httpx.AsyncClient) -> None:
        body = {"contact": "c", "template": "t", "idempotency_key": "a"}
        told = problem(await client.post("/v1/messages", json=body), 422, "refused")
        assert told["detail"] == "there is no template 't'"

    talk(asked, Refusing())


def test_message_ids_are_checked() -> None:
    """What isn't an id is 400, what is unknown 404."""

    async def asked(client: httpx.AsyncClient) -> None:
        problem(await client.get("/v1/messages/xyz"), 400, "invalid")
        problem(await client.get(f"/v1/messages/{'0' * 32}"), 404, "not-found")
        problem(await client.get(f"/v1/messages/{'0' * 32}/explain"), 404, "not-found")

    talk(asked)


# ---- outcomes


def outcome(number: int) -> OutcomeEntry:
    return OutcomeEntry(f"{number:032x}", "c", "delivered", 1, 1_700_000_000_000, final=True)


def test_outcomes_are_read_page_by_page() -> None:
    """Following `next` gives each outcome once; other tenants' are not shown."""
    backend = MemoryBackend()
    for number in range(5):
        backend.add_outcome("default", outcome(number))
    backend.add_outcome("other", outcome(99))

    async def asked(client: httpx.AsyncClient) -> None:
        found: list[str] = []
        after, more = "", True
        while more:
            page = (await client.get("/v1/outcomes", params={"after": after, "limit": 2})).json()
            found += [item["message_id"] for item in page["items"]]
            after, more = page["next"], page["more"]
        assert found == [f"{number:032x}" for number in range(5)]
        problem(await client.get("/v1/outcomes", params={"after": "zz"}), 400, "invalid")

    talk(asked, backend)


def test_outcomes_can_be_waited_for() -> None:
    """A reader that waits gets what comes while it waits."""
    backend = MemoryBackend()

    async def asked(client: httpx.AsyncClient) -> None:
        waiting = asyncio.create_task(client.get("/v1/outcomes", params={"wait_ms": 20_000}))
        while not backend.waiting:
            await asyncio.sleep(0)
        backend.add_outcome("default", outcome(1))
        assert len((await waiting).json()["items"]) == 1

    talk(asked, backend)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "wait_ms=-1", "wait_ms=1e9"])
def test_a_wrong_parameter_is_named(query: str) -> None:
    """Parameters of the query are checked like fields."""

    async def asked(client: httpx.AsyncClient) -> None:
        told = problem(await client.get(f"/v1/outcomes?{query}"), 400, "invalid")
        assert told["errors"][0]["path"] == query.partition("=")[0]

    talk(asked)


# ---- who may


def test_tenants_see_their_own_and_operators_the_instance() -> None:
    """A tenant's key reads its data and no other's; status, audit and metrics need an operator's."""
    backend = MemoryBackend()
    text = (
        'http.host = "0.0.0.0"\n'
        f'http.operator_key_hashes = ["{hash_key("op")}"]\n'
        f'[[tenant]]\nname = "a"\napi_key_hashes = ["{hash_key("ka")}"]\n'
        f'[[tenant]]\nname = "b"\napi_key_hashes = ["{hash_key("kb")}"]\n'
    )

    async def asked(client: httpx.AsyncClient) -> None:
        as_a, as_b = {"Authorization": "Bearer ka"}, {"Authorization": "Bearer kb"}
        as_operator = {"Authorization": "Bearer op"}
        await client.post("/v1/events", json=EVENT, headers=as_a)
        assert (await client.get("/v1/contacts/c1", headers=as_a)).status_code == 200
        problem(await client.get("/v1/contacts/c1", headers=as_b), 404, "not-found")
        for path in ("/v1/status", "/v1/audit", "/metrics"):
            problem(await client.get(path, headers=as_a), 403, "operator-only")
            assert (await client.get(path, headers=as_operator)).status_code == 200
            told = await client.get(path)
            problem(told, 401, "unauthorized")
            assert told.headers["www-authenticate"].startswith("Bearer")
        problem(await client.post("/v1/events", json=EVENT), 401, "unauthorized")
        forged = as_b | {"Veredus-Tenant": "a"}
        problem(await client.get("/v1/contacts/c1", headers=forged), 404, "not-found")
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200

    talk(asked, backend, text)


# ---- operating


def test_status_audit_and_metrics() -> None:
    """What an operator asks for is there."""
    backend = MemoryBackend()
    change = control_log.Change(actor="alice", action="publish", subject="scenario x")
    for now in (5, 6):
        last = backend.log[-1] if backend.log else None
        backend.log.append(control_log.append(last, now, change))

    async def asked(client: httpx.AsyncClient) -> None:
        await client.post("/v1/events", json=[EVENT, EVENT])
        await client.post("/v1/events", json=[{}])
        assert (await client.get("/v1/status")).json()["workers"][0]["name"] == "worker-0"
        audit = (await client.get("/v1/audit", params={"after": 1})).json()
        assert [item["seq"] for item in audit["items"]] == [2]
        assert (audit["intact"], audit["head"]) == (True, backend.log[-1].hash.hex())
        text = (await client.get("/metrics")).text
        for line in (
            'veredus_http_requests_total{route="/v1/events",status="200"} 1.0',
            'veredus_http_requests_total{route="/v1/events",status="400"} 1.0',
            'veredus_http_requests_total{route="/v1/status",status="200"} 1.0',
            'veredus_intake_items_total{kind="event",status="accepted"} 1.0',
            'veredus_intake_items_total{kind="event",status="duplicate"} 1.0',
            "veredus_http_in_flight_bytes 0.0",
        ):
            assert line in text

    talk(asked, backend)


def test_no_stranger_makes_a_label() -> None:
    """Paths that don't exist share one label."""

    async def asked(client: httpx.AsyncClient) -> None:
        for number in range(3):
            await client.get(f"/v1/x{number}")
            await client.get(f"/v1/contacts/y{number}")
        text = (await client.get("/metrics")).text
        assert "x1" not in text
        assert "y1" not in text
        assert 'route="/v1/contacts/{contact}",status="404"} 3.0' in text

    talk(asked)
