"""How the gateway tells what is too large, too much, or failed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from actors.backend import Arrival, ItemResult
from engine.errors import RefusedError, StoreError
from engine.vocabulary import ConsentGiven, Event
from tests.actors.gateway.asking import EVENT, Stalling, problem, talk
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for, network_client


def test_what_is_too_large_is_413() -> None:
    """Body and batch have limits, whether or not the length was announced."""

    async def pieces() -> Any:
        for _ in range(5):
            yield b" " * 500

    async def asked(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"}
        for content in (b" " * 2000, pieces()):
            response = await client.post("/v1/events", content=content, headers=headers)
            problem(response, 413, "too-large")
        problem(await client.put("/v1/contacts", json=[{"contact": "c"}] * 3), 413, "too-large")

    talk(asked, text="http.body_bytes_max = 1024\nhttp.batch_max = 2")


def test_overload_is_503_with_a_time() -> None:
    """An overloaded engine, or a full gateway, is told with Retry-After; readiness says why it isn't ready."""
    backend = MemoryBackend()
    backend.overloaded = True
    backend.not_ready = "disk is full"

    async def asked(client: httpx.AsyncClient) -> None:
        for response in (
            await client.post("/v1/events", json=EVENT),
            await client.put("/v1/contacts", json={"contact": "c"}),
            await client.post(
                "/v1/messages", json={"contact": "c", "template": "t", "idempotency_key": "k"}
            ),
        ):
            problem(response, 503, "overloaded")
            assert response.headers["retry-after"] == "3"
        unready = await client.get("/readyz")
        assert (unready.status_code, unready.json()["reason"]) == (503, "disk is full")
        assert (await client.get("/healthz")).text == "ok\n"

    talk(asked, backend)


@pytest.mark.parametrize("limit", ["requests_in_flight_max = 1", "in_flight_bytes_max = 1024"])
def test_requests_under_way_are_bounded(limit: str) -> None:
    """While the limit is held by one request, the next is told to come back; afterwards it is taken."""

    async def run() -> None:
        backend = Stalling()
        text = f"[http]\nbody_bytes_max = 1024\n{limit}"
        async with network_client(gateway_for(text, backend)) as client:
            event = EVENT | {"data": {"x": "x" * 700}}
            first = asyncio.create_task(client.post("/v1/events", json=event))
            await backend.entered.wait()
            second = await client.post("/v1/events", json=event)
            problem(second, 503, "overloaded")
            assert second.headers["retry-after"] == "1"
            backend.go.set()
            assert (await first).status_code == 200
            assert (await client.post("/v1/events", json=event)).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (StoreError("disk"), 503, "undecided"),
        (TimeoutError(), 503, "undecided"),
        (RefusedError("suspended"), 409, "refused"),
        (ZeroDivisionError("secret detail"), 500, "internal"),
    ],
)
def test_failures_of_the_engine_are_told_without_a_traceback(
    error: Exception, status: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure has its status on both ways; a mistake of ours goes to the log, not to the client."""

    class Failing(MemoryBackend):
        async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
            raise error

    async def asked(client: httpx.AsyncClient) -> None:
        for response in (
            await client.post("/v1/events", json=EVENT),
            await client.put("/v1/contacts", json={"contact": "c"}),
        ):
            problem(response, status, kind)
            assert "secret detail" not in response.text

    talk(asked, Failing())
    assert ("secret detail" in capsys.readouterr().out) == (kind == "internal")


def test_an_engine_that_hangs_is_not_waited_for() -> None:
    """After `answer_timeout_s` a request is told that its fate isn't known."""

    async def run() -> None:
        backend = Stalling()
        async with network_client(gateway_for("http.answer_timeout_s = 1", backend)) as client:
            problem(await client.post("/v1/events", json=EVENT), 503, "undecided")

    asyncio.run(run())


def test_unknown_paths_and_methods() -> None:
    """What isn't there is 404, what isn't done there 405."""

    async def asked(client: httpx.AsyncClient) -> None:
        problem(await client.get("/v1/nothing"), 404, "not-found")
        problem(await client.delete("/v1/events"), 405, "method")
        problem(await client.get("/v1/events"), 405, "method")

    talk(asked)


def test_a_time_in_the_future_is_now() -> None:
    """A client's clock that is ahead opens no window, and makes no consent outlive its withdrawal."""
    backend = MemoryBackend()
    ahead = "2999-01-01T00:00:00Z"

    async def asked(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/events", json=EVENT | {"at": ahead})).status_code == 200
        consent = {"topic": "news", "granted": True, "source": "form", "at": ahead}
        answer = await client.put("/v1/contacts", json={"contact": "c", "consents": [consent]})
        assert answer.status_code == 200, answer.text

    talk(asked, backend)
    event, granted = [one.body for one in backend.arrivals]
    limit = 4_000_000_000_000
    assert isinstance(event, Event)
    assert isinstance(granted, ConsentGiven)
    assert 0 < event.at < limit
    assert 0 < granted.at < limit
    assert all(one.at < limit for one in backend.arrivals)
