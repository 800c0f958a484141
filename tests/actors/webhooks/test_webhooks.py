"""Webhooks: signed as the standard has it, at least once over crashes, in order for each message, patient."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from actors.backend import OutcomeEntry
from actors.webhooks.desk import WebhookDesk
from actors.webhooks.sender import EventPage, Posted, Sender, SenderSettings
from actors.webhooks.signing import Event, event_of, make_secret, read_secret, signed_headers
from engine.config import Config, Tenant, Webhook, parse
from engine.errors import ConfigError
from tests.actors.gateway.memory_backend import MemoryBackend

NOW = 1_700_000_000_000
SECRET = b"s" * 32
QUICK = SenderSettings(first_s=0.002, max_s=0.02, page=7, waiting_max=20)


def outcome(message: int, attempt: int, *, final: bool = False) -> OutcomeEntry:
    kind: Any = "delivered" if final else "deferred"
    return OutcomeEntry(f"{message:032x}", "c", kind, attempt, NOW + attempt, final)


def test_the_signature_is_that_of_the_specification() -> None:
    """Its own example: secret, id, time and body give that signature."""
    secret = b64decode("plJ3nmyCDGBKInavdOK15jsl")
    body = b'{"event_type":"ping","data":{"success":true}}'
    headers = signed_headers(Event("msg_loFOjxBNrRLzqYUf", "", body), secret, 1_731_705_121_000)
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert headers["webhook-timestamp"] == "1731705121"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_YQ==", "whsec_!!!", "hello"])
def test_a_secret_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="octets in base64"):
        read_secret(text, "f")
    assert read_secret(make_secret(SECRET) + "\n", "f") == SECRET


def test_an_event_is_the_same_each_time() -> None:
    """Its id is made of the outcome; other outcomes have other ids."""
    made = event_of(outcome(1, 1))
    assert made == event_of(outcome(1, 1))
    assert len({event_of(outcome(m, a)).id for m in (1, 2) for a in (1, 2)}) == 4
    told = json.loads(made.body)
    assert told["type"] == "message.deferred"
    assert told["timestamp"] == "2023-11-14T22:13:20.001+00:00"


class Endpoint:
    """Takes events as it is told to."""

    def __init__(self, answer: Callable[[Event, int], int]) -> None:
        self.answer = answer
        self.tried: list[Event] = []
        self.taken: list[Event] = []

    async def post(self, event: Event) -> Posted:
        self.tried.append(event)
        await asyncio.sleep(0)
        status = self.answer(event, len(self.tried))
        if status == 200:
            self.taken.append(event)
        return Posted(status)

    def told(self) -> list[tuple[str, int]]:
        return [
            (data["message_id"][-2:], data["attempt"])
            for data in (json.loads(event.body)["data"] for event in self.taken)
        ]


def sender(
    backend: MemoryBackend,
    endpoint: Endpoint,
    folder: Path,
    settings: SenderSettings = QUICK,
    now: Callable[[], int] | None = None,
) -> Sender:
    loop = asyncio.get_running_loop()
    clock = now or (lambda: NOW + int(loop.time() * 1000))
    path = folder / "default.json"

    async def read(cursor: str, limit: int, wait_ms: int) -> EventPage:
        page = await backend.outcomes("default", cursor, limit, wait_ms)
        return EventPage(tuple(event_of(entry) for entry in page.items), page.next)

    return Sender("default", read, endpoint.post, path, clock, random.Random(1), settings)


@contextlib.asynccontextmanager
async def running(one: Sender) -> AsyncIterator[Sender]:
    task = asyncio.get_running_loop().create_task(one.run())
    try:
        while not one.kept.cursor:
            await asyncio.sleep(0.001)
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


def test_in_order_for_each_message_whatever_fails(tmp_path: Path) -> None:
    """A third of all posts fails; each message's events come in order, each once, and none is missing."""

    async def run() -> None:
        backend = MemoryBackend()
        backend.add_outcome("default", outcome(99, 1))  # before there was a webhook
        chance = random.Random(7)
        endpoint = Endpoint(lambda _event, _n: 500 if chance.random() < 0.34 else 200)
        async with running(sender(backend, endpoint, tmp_path)) as one:
            for attempt in (1, 2, 3):
                for message in range(12):
                    backend.add_outcome("default", outcome(message, attempt))
            await until(lambda: len(endpoint.taken) == 36)
            await until(lambda: not one.kept.waiting)
            told = endpoint.told()
            for message in range(12):
                assert [a for m, a in told if m == f"{message:02x}"] == [1, 2, 3]
            assert one.kept.delivered == 36
            assert len(endpoint.tried) > 36

    asyncio.run(run())


def enough(one: Sender, endpoint: Endpoint, wanted: int) -> bool:
    return len(endpoint.taken) >= wanted or not one.kept.waiting


def test_at_least_once_over_a_crash(tmp_path: Path) -> None:
    """Ended at any moment, the next life goes on behind the cursor; what comes twice has the same id."""

    async def run() -> None:
        backend = MemoryBackend()
        endpoint = Endpoint(lambda _event, _n: 200)
        async with running(sender(backend, endpoint, tmp_path)):
            pass
        for message in range(30):
            backend.add_outcome("default", outcome(message, 1))
        for stop_after in (1, 5, 9, 40):
            wanted = len(endpoint.taken) + stop_after
            async with running(sender(backend, endpoint, tmp_path)) as one:
                await until(partial(enough, one, endpoint, min(wanted, 30)))
        async with running(sender(backend, endpoint, tmp_path)) as last:
            await until(lambda: len({event.id for event in endpoint.taken}) == 30)
            await until(lambda: not last.kept.waiting)

    asyncio.run(run())


def test_one_bad_event_holds_up_nobody(tmp_path: Path) -> None:
    """It is tried again until its time is over, then given up; all others go their way meanwhile."""

    async def run() -> None:
        backend = MemoryBackend()
        bad = event_of(outcome(3, 1)).id
        endpoint = Endpoint(lambda event, _n: 400 if event.id == bad else 200)
        settings = SenderSettings(first_s=0.002, max_s=0.01, page=7, give_up_s=0.3)
        async with running(sender(backend, endpoint, tmp_path, settings)) as one:
            for message in range(40):
                backend.add_outcome("default", outcome(message, 1))
            await until(lambda: len(endpoint.taken) == 39)
            await until(lambda: one.kept.given_up == 1)
            assert one.kept.last_failure.startswith("400")
            backend.add_outcome("default", outcome(3, 2))
            await until(lambda: endpoint.told()[-1] == ("03", 2))

    asyncio.run(run())


def test_an_endpoint_that_is_down_is_asked_seldom(tmp_path: Path) -> None:
    """Nothing more is read than is kept; when it is up again, all comes."""

    async def run() -> None:
        backend = MemoryBackend()
        up = False
        endpoint = Endpoint(lambda _event, _n: 200 if up else 503)
        settings = SenderSettings(first_s=0.02, max_s=0.05, page=7, waiting_max=20)
        async with running(sender(backend, endpoint, tmp_path, settings)) as one:
            for message in range(100):
                backend.add_outcome("default", outcome(message, 1))
            await until(lambda: len(endpoint.tried) > 12)
            assert len(one.kept.waiting) <= 27
            assert len(endpoint.tried) < 40
            up = True
            await until(lambda: len(endpoint.taken) == 100)

    asyncio.run(run())


# ---- with sockets


class Server:
    """A web server of one answer."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((headers, body))
        writer.write(
            b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status
        )
        writer.close()


def config_with(folder: Path, **urls: str) -> Config:
    (folder / "secret").write_text(make_secret(SECRET))
    tenants = tuple(
        Tenant(
            name=name,
            webhook=Webhook(url=url, secret_file=str(folder / "secret"), timeout_s=2),
        )
        for name, url in urls.items()
    )
    return Config(data_dir=str(folder), tenant=tenants)


def test_a_dead_endpoint_stops_nobody_else(tmp_path: Path) -> None:
    """Over HTTP: verified as a receiver does; the other tenant's endpoint refuses connections."""

    async def run() -> None:
        backend, server = MemoryBackend(), Server(200)
        url = await server.start()
        config = config_with(tmp_path, default=url, dead="http://127.0.0.1:9/hook")
        desk = WebhookDesk(
            config, backend, CollectorRegistry(), lambda: NOW, SenderSettings(first_s=0.01)
        )
        task = asyncio.get_running_loop().create_task(desk.run())
        for name in ("default", "dead"):
            path = tmp_path / "webhooks" / f"{name}.json"
            await until(path.exists)
        for tenant in ("dead", "default"):
            backend.add_outcome(tenant, outcome(1, 1, final=True))
        await until(lambda: len(server.requests) == 1)
        headers, body = server.requests[0]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = b64encode(hmac.digest(SECRET, signed, sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert json.loads(body)["data"]["final"] is True
        view = desk.view("dead")
        assert view is not None
        await until(lambda: bool(desk.view("dead").last_failure))  # type: ignore[union-attr]
        tried = await desk.test("default")
        assert tried is not None
        assert tried.taken
        assert json.loads(server.requests[-1][1])["type"] == "webhook.test"
        server.status = 302
        refused = await desk.test("default")
        assert refused is not None
        assert (refused.taken, refused.status) == (False, 302)
        nobody = await desk.test("dead")
        assert nobody is not None
        assert (nobody.status, "ConnectError" in nobody.reason) == (0, True)
        assert await desk.test("unknown") is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.close()
        await server.stop()

    asyncio.run(run())


def test_what_the_configuration_refuses(tmp_path: Path) -> None:
    """No secret; http to another machine; a secret that can't be read."""
    for text, told in (
        ('url = "https://x.example/"', "secret"),
        ('url = "http://x.example/"\nsecret_file = "f"', "https"),
        ('url = "https://user@x.example/"\nsecret_file = "f"', "url"),
    ):
        with pytest.raises(ConfigError, match=told):
            parse(f"[[tenant]]\n[tenant.webhook]\n{text}")
    config = config_with(tmp_path, default="https://x.example/")
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        WebhookDesk(config, MemoryBackend(), CollectorRegistry(), lambda: NOW)
    assert b64decode(make_secret(SECRET).removeprefix("whsec_")) == SECRET
