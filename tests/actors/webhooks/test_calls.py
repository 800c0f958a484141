"""Calls of scenarios: posted at least once over any crash, under one id; the answer goes back; none is made in vain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.backend import Arrival, CallPage, ContactView, ItemResult
from actors.webhooks.calls import Calls, call_event
from actors.webhooks.desk import WebhookDesk
from actors.webhooks.sender import Posted, Sender, SenderSettings
from actors.webhooks.signing import Event as Told
from actors.webhooks.signing import make_secret
from actors.worker.views import contact_view
from engine import inputs
from engine.config import Config, Endpoint, Tenant, parse
from engine.entities import Machines
from engine.errors import CapacityError, ConfigError
from engine.host import Host
from engine.keyspace import Keyspace, contact_key
from engine.store.memory import MemoryStore
from engine.tick import TickInputs
from engine.vocabulary import Call, CallAnswered, Event
from scenarios.contact import ContactMachine
from scenarios.state import Contact
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.webhooks.test_webhooks import SECRET, Server, until
from tests.scenarios.world import Catalog

NOW = 1_700_000_000_000
QUICK = SenderSettings(first_s=0.002, max_s=0.02, page=7, waiting_max=20, again_s=0.001)


def call(number: int, *, endpoint: str = "sales", not_after: int = NOW + 10**9) -> Call:
    contact, journey = f"c{number}", f"{number:032x}"
    data = {"points": number}
    return Call(
        f"{number:032x}", endpoint, contact, "s", "v", "w", journey, 1, NOW, not_after, data, ("a",)
    )


def test_what_is_posted() -> None:
    """Whose step it is, and its values; the same each time it is made."""
    event = call_event(call(7))
    assert event == call_event(call(7))
    assert event.id == f"call_{7:032x}"
    told = json.loads(event.body)
    assert told["type"] == "scenario.webhook"
    assert told["data"]["values"] == {"points": 7}
    assert (told["data"]["contact"], told["data"]["step"]) == ("c7", "w")


class Line:
    """An endpoint of a memory backend, whose answers a test gives."""

    def __init__(self, folder: Path, answer: Callable[[Told], Posted]) -> None:
        self.backend = MemoryBackend()
        self.tried: list[str] = []
        self.answer = answer
        self.now = NOW
        calls = Calls("t", "sales", self.backend, self._post, lambda: self.now)
        self.sender = Sender(
            "t",
            calls.read,
            calls.post,
            folder / "sales.json",
            lambda: self.now,
            random.Random(1),
            QUICK,
            begin="",
            ended=calls.ended,
        )

    async def _post(self, event: Told) -> Posted:
        self.tried.append(event.id)
        return self.answer(event)

    def add(self, *numbers: int, **more: Any) -> None:
        for number in numbers:
            made = call(number, **more)
            self.backend.add_call("t", made)
            self.backend.stand("t", made.contact, made.journey, "w")

    def answers(self) -> list[tuple[str, CallAnswered]]:
        return [
            (one.contact, one.body)
            for one in self.backend.arrivals
            if isinstance(one.body, CallAnswered)
        ]


def running(line: Line, done: Callable[[], bool]) -> None:
    async def run() -> None:
        task = asyncio.get_running_loop().create_task(line.sender.run())
        await until(done)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_the_answer_goes_back_to_the_contact(tmp_path: Path) -> None:
    """Of its fields only those that the step keeps; calls of other endpoints are left alone."""
    line = Line(tmp_path, lambda _: Posted(200, fields={"a": 1, "b": 2}))
    line.add(1)
    line.add(2, endpoint="other")
    running(line, lambda: line.sender.kept.delivered == 1)
    assert line.answers() == [("c1", CallAnswered((1).to_bytes(16), "w", 1, True, 200, {"a": 1}))]


def test_a_refusal_ends_it(tmp_path: Path) -> None:
    """It isn't tried again, and it doesn't make the endpoint count as down."""
    line = Line(tmp_path, lambda _: Posted(422, "Unprocessable", end="refused"))
    line.add(*range(8))
    running(line, lambda: line.sender.kept.refused == 8)
    assert len(line.tried) == 8
    assert {(body.taken, body.status) for _, body in line.answers()} == {(False, 422)}


def test_nobody_is_called_in_vain(tmp_path: Path) -> None:
    """Not for a contact that was erased, or a journey that has gone on, whose time is out, or which never was."""
    line = Line(tmp_path, lambda _: Posted(200))
    line.add(1, 2, 3)
    line.backend.stand("t", "c2", "", "")
    line.backend._contacts["t", "c3"] = ContactView("c3", erased=True)
    line.backend.add_call("t", call(4))
    line.add(5, not_after=NOW)
    line.add(6)
    running(line, lambda: line.sender.kept.dropped + line.sender.kept.delivered == 5)
    assert line.tried == [f"call_{1:032x}", f"call_{6:032x}"]
    assert line.sender.kept.dropped == 3


def test_what_is_out_of_time_is_given_up(tmp_path: Path) -> None:
    """Also where the endpoint is down and nothing is tried: the journey has gone the other way."""
    line = Line(tmp_path, lambda _: Posted(503))
    line.add(*range(6), not_after=NOW + 60_000)

    def down() -> bool:
        if len(line.tried) >= 6:
            line.now = NOW + 60_000
        else:
            line.now += 1
        return line.sender.kept.given_up == 6

    running(line, down)
    assert line.sender.kept.waiting == ()
    assert line.answers() == []


def test_an_answer_is_told_until_it_is_heard(tmp_path: Path) -> None:
    """While workers are overloaded the call isn't forgotten, and isn't posted again."""
    line = Line(tmp_path, lambda _: Posted(200))
    line.add(1)
    refusals = 0

    def heard() -> bool:
        nonlocal refusals
        refusals += 1
        line.backend.overloaded = refusals < 20
        return line.sender.kept.delivered == 1

    line.backend.overloaded = True
    running(line, heard)
    assert len(line.tried) == 1
    assert len(line.answers()) == 1


# ---- over crashes, with the machine itself

SCENARIO = """
scenario: lead
entry: asked
steps:
  - id: w
    webhook: {endpoint: sales, as: desk}
    timeout: 30d
    else: [{id: refused, tag: refused}]
  - id: went
    tag: went-on
"""


class Instance:
    """One worker's host over a store that outlives it; a crash loses what no commit has written."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.catalog = Catalog(SCENARIO)
        self.now = NOW
        self.chance = random.Random(3)
        self.begin()

    def begin(self) -> None:
        machines = Machines([ContactMachine()])
        self.host = Host(self.store, machines, Keyspace(4), self.catalog, range(4))

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Decide; now and then the worker dies before the commit, or after it and before its answer."""
        await asyncio.sleep(0)
        self.now += 1
        died = self.chance.random()
        if died < 0.15:
            self.begin()
            raise CapacityError("the worker died before the commit", retry_after_s=1)
        taken = [
            inputs.Arrival(
                contact_key(one.tenant, one.contact), one.body, one.input_id.encode(), self.now
            )
            for one in arrivals
        ]
        verdicts = self.host.tick(self.now, TickInputs(arrivals=taken)).verdicts
        if died > 0.85:
            self.begin()
            raise CapacityError("the worker died before its answer", retry_after_s=1)
        return [
            ItemResult("accepted" if verdict == "accepted" else "duplicate") for verdict in verdicts
        ]

    async def scenario_calls(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> CallPage:
        position, n = (int(part) for part in (cursor or "0.0").split("."))
        found = self.host.feed_after(position, n, limit)
        if found:
            position, n = found[-1].position, found[-1].n
        else:
            await asyncio.sleep(0.001)
        items = [msgspec.msgpack.decode(one.body, type=Call) for one in found]
        return CallPage(items, f"{position}.{n}")

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        key = contact_key(tenant, contact)
        state = self.host.entry(key)[0]
        return contact_view(key, state) if isinstance(state, Contact) else None


def test_at_least_once_over_crashes_and_each_journey_goes_on_once(
    tmp_path: Path,
) -> None:
    """Worker and sender die at any moment; every call arrives, twice only under its own id; every journey goes on."""
    contacts = [f"c{number}" for number in range(40)]
    asking = list(contacts)
    instance, chance = Instance(), random.Random(11)
    tried: list[str] = []
    taken: list[str] = []

    async def post(event: Told) -> Posted:
        tried.append(event.id)
        await asyncio.sleep(0)
        if chance.random() < 0.3:
            return Posted(503)
        taken.append(event.id)
        return Posted(0) if chance.random() < 0.2 else Posted(200)  # taken, and the answer lost

    async def ask() -> None:
        """Let contacts enter, each as often as it takes."""
        for contact in asking[:3]:
            event = Event("asked", instance.now)
            with contextlib.suppress(CapacityError):
                await instance.admit([Arrival("t", contact, "asked", instance.now, event)])
                asking.remove(contact)

    def states() -> list[Contact | None]:
        return [instance.host.entry(contact_key("t", contact))[0] for contact in contacts]

    def left() -> int:
        return sum(state is None or "went-on" not in state.tags for state in states())

    def standing() -> bool:
        return any(state is not None and state.journeys for state in states())

    async def live() -> None:
        """One life of the sender, which ends anywhere."""
        await ask()
        calls = Calls("t", "sales", instance, post, lambda: instance.now)
        loop = asyncio.get_running_loop()
        one = Sender(
            "t",
            calls.read,
            calls.post,
            tmp_path / "sales.json",
            lambda: instance.now + int(loop.time() * 1000),
            random.Random(1),
            QUICK,
            begin="",
            ended=calls.ended,
        )
        stop = len(tried) + chance.randrange(1, 9)
        task = loop.create_task(one.run())
        await until(lambda: len(tried) >= stop or not standing())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    lives = 0
    while left():
        lives += 1
        assert lives < 2_000
        asyncio.run(live())
    assert len(set(taken)) == len(contacts)
    for contact in contacts:
        state = instance.host.entry(contact_key("t", contact))[0]
        assert set(state.tags) == {"went-on"}
        assert state.journeys == ()
    assert lives > 3
    assert len(taken) > len(contacts)  # some twice, since an answer was lost


# ---- with sockets


def test_over_http(tmp_path: Path) -> None:
    """Signed by the endpoint's secret; a redirect is a refusal, and is never followed."""
    (tmp_path / "secret").write_text(make_secret(SECRET))

    async def run() -> None:
        backend, server = MemoryBackend(), Server(200)
        url = await server.start()
        endpoint = Endpoint(url=url, secret_file=str(tmp_path / "secret"))
        config = Config(data_dir=str(tmp_path), tenant=(Tenant(endpoint={"sales": endpoint}),))
        desk = WebhookDesk(config, backend, CollectorRegistry(), lambda: NOW, QUICK)
        task = asyncio.get_running_loop().create_task(desk.run())
        backend.add_call("default", call(1))
        backend.stand("default", "c1", call(1).journey, "w")
        await until(lambda: len(backend.arrivals) == 1)
        headers, _ = server.requests[0]
        assert headers["webhook-id"] == f"call_{1:032x}"
        server.status = 302
        backend.add_call("default", call(2))
        backend.stand("default", "c2", call(2).journey, "w")
        await until(lambda: len(backend.arrivals) == 2)
        assert [one.body.status for one in backend.arrivals] == [200, 302]  # type: ignore[union-attr]
        assert len(server.requests) == 2
        await until(lambda: desk.view("default").endpoints[0].refused == 1)  # type: ignore[union-attr]
        view = desk.view("default")
        assert view is not None
        assert (view.url, view.endpoints[0].name, view.endpoints[0].delivered) == ("", "sales", 1)
        tried = await desk.test("default", "sales")
        assert tried is not None
        assert tried.status == 302
        assert await desk.test("default") is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.close()
        await server.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('url = "http://crm.example/"\nsecret_file = "f"', "https"),
        ('secret_file = "f"', "url"),
        ('url = "https://crm.example/"', "secret_file"),
        ('url = "https://me:pw@crm.example/"\nsecret_file = "f"', "url"),
    ],
)
def test_what_the_configuration_refuses(text: str, told: str) -> None:
    """http to another machine, no address, no secret, a password in the address."""
    with pytest.raises(ConfigError, match=told):
        parse(f"[[tenant]]\n[tenant.endpoint.sales]\n{text}")
