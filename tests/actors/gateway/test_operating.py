"""The endpoints for operators: conservation, recount, quarantine, and readiness with its checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from actors.gateway.keys import hash_key
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for, network_client

TENANT_KEY, OPERATOR_KEY = "k" * 32, "o" * 32
KEYED = (
    f'http.require_key = "always"\nhttp.operator_key_hashes = ["{hash_key(OPERATOR_KEY)}"]\n'
    f'[[tenant]]\napi_key_hashes = ["{hash_key(TENANT_KEY)}"]\n'
)


def ask(
    backend: MemoryBackend, story: Callable[[httpx.AsyncClient], Awaitable[None]], key: str = ""
) -> None:
    async def run() -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        gateway = gateway_for(KEYED if key else "", backend)
        async with network_client(gateway, **headers) as client:
            await story(client)

    asyncio.run(run())


def test_quarantine_from_list_to_drop() -> None:
    backend = MemoryBackend()
    backend.put_aside("1-1")
    backend.put_aside("2-1")

    async def story(client: httpx.AsyncClient) -> None:
        listed = (await client.get("/v1/quarantine", params={"limit": 1})).json()
        assert [item["id"] for item in listed["items"]] == ["1-1"]
        assert listed["more"] is True
        shown = (await client.get("/v1/quarantine/1-1")).json()
        assert shown["input"]["name"] == "signup"
        replayed = await client.post("/v1/quarantine/1-1/replay")
        assert (replayed.status_code, replayed.json()["done"]) == (200, True)
        dropped = await client.delete("/v1/quarantine/2-1", params={"reason": "old"})
        assert (dropped.status_code, dropped.json()["done"]) == (200, True)
        assert (await client.get("/v1/quarantine/2-1")).status_code == 404
        assert (await client.get("/v1/quarantine/nonsense")).status_code == 400

    ask(backend, story)
    assert [record.change.reason for record in backend.log] == ["", "old"]


def test_an_operators_key_is_on_record_by_its_hash() -> None:
    backend = MemoryBackend()
    backend.put_aside("1-1")

    async def story(client: httpx.AsyncClient) -> None:
        assert (await client.delete("/v1/quarantine/1-1")).status_code == 200

    ask(backend, story, OPERATOR_KEY)
    actor = backend.log[-1].change.actor
    assert actor == f"operator key {hash_key(OPERATOR_KEY)[:19]}"
    assert OPERATOR_KEY not in actor


def test_a_tenants_key_may_not() -> None:
    backend = MemoryBackend()
    backend.put_aside("1-1")

    async def story(client: httpx.AsyncClient) -> None:
        for method, path in (
            ("GET", "/v1/quarantine"),
            ("GET", "/v1/quarantine/1-1"),
            ("POST", "/v1/quarantine/1-1/replay"),
            ("DELETE", "/v1/quarantine/1-1"),
            ("GET", "/v1/conservation"),
        ):
            assert (await client.request(method, path)).status_code == 403

    ask(backend, story, TENANT_KEY)
    assert "1-1" in backend.poison


def test_a_recount_is_started_once_and_asked_after() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        plain = (await client.get("/v1/conservation")).json()
        assert plain["holds"] is True
        assert plain["recount"]["state"] == "none"
        begun = (await client.get("/v1/conservation", params={"recount": "start"})).json()
        assert begun["recount"]["state"] == "running"
        done = (await client.get("/v1/conservation", params={"recount": "last"})).json()
        assert (done["recount"]["state"], done["recount"]["agrees"]) == ("done", True)
        assert (await client.get("/v1/conservation", params={"recount": "x"})).status_code == 400

    ask(MemoryBackend(), story)


def test_readiness_tells_of_its_parts() -> None:
    backend = MemoryBackend()
    backend.not_ready = "worker 0: the disk is full"

    async def story(client: httpx.AsyncClient) -> None:
        told = await client.get("/readyz")
        assert told.status_code == 503
        assert told.json() == {
            "ready": False,
            "reason": "worker 0: the disk is full",
            "checks": {"conservation": "ok"},
        }

    ask(backend, story)
