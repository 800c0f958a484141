"""Queue commands on a running instance: by HTTP and by the command's own words, as operators give them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from actors.instance.queues import ClusterQueues
from engine.config import Stream
from engine.control_log import verify
from engine.keyspace import message_key
from engine.store.control_file import ControlFile
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded
from tests.actors.submission.test_killed import free_port


async def ask(here: Embedded, method: str, path: str, body: Any = None) -> httpx.Response:
    queues = ClusterQueues(here.config, here.cluster, here.backend)
    gateway = Gateway(
        here.config, here.backend, CollectorRegistry(), injector=here.injector, queues=queues
    )
    async with network_client(gateway) as client:
        return await client.request(method, path, json=body)


async def send(here: Embedded, names: list[str], **fields: Any) -> list[str]:
    items = [
        {
            "address": f"{name}@inbox.example",
            "template": "hello",
            "variables": {"contact": {"first_name": name}},
            "idempotency_key": name,
            **fields,
        }
        for name in names
    ]
    told = (await ask(here, "POST", "/v1/messages", items)).json()
    return [one["message_ids"][0] for one in told["results"]]


def states(here: Embedded, ids: list[str]) -> set[str]:
    """Tell where messages stand; one of another partition than its request's comes to be with a later tick."""
    found = set()
    for one in ids:
        state, _ = here.worker.host.entry(message_key("default", bytes.fromhex(one)))
        found.add("absent" if state is None else state.status)
    return found


def pools(here: Embedded, ids: list[str]) -> set[str]:
    keys = [message_key("default", bytes.fromhex(one)) for one in ids]
    found = [here.worker.host.entry(key)[0] for key in keys]
    return {"absent" if state is None else state.send.pool for state in found}


def test_the_life_of_a_suspension(tmp_path: Path) -> None:
    """What is suspended waits, those to come too; listed and shown; resumed, it goes out; all on record."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            done = await ask(here, "POST", "/v1/queues/suspend", {"domain": ["inbox.example"]})
            assert done.json()["number"] == 1, done.text
            ids = await send(here, [f"a{n}" for n in range(20)], campaign="spring")
            late = await send(here, ["later"], send_at="2099-01-01T00:00:00Z")
            await here.until(lambda: states(here, ids) == {"suspended"})
            listed = (await ask(here, "GET", "/v1/queues")).json()
            (line,) = listed["queues"]
            assert (line["domain"], line["state"], line["messages"]) == (
                "inbox.example",
                "suspended",
                20,
            )
            assert line["samples"] == []  # for the estimate alone, inside
            (inside,) = (await here.worker.reading.queues("default")).lines
            shares = [share for share, _expires in inside.samples]
            assert shares
            assert all(0 <= share < 1 for share in shares)
            assert all(expires > 0 for _share, expires in inside.samples)
            assert listed["queued"] == {"transactional": 21}
            assert [mark["action"] for mark in listed["marks"]] == ["suspend"]
            shown = (await ask(here, "GET", "/v1/queues/selection?campaign=spring")).json()
            assert shown["states"] == {"suspended": 20}
            assert len(shown["oldest"]) == 20
            wrong = await ask(here, "POST", "/v1/queues/resume", {"campaign": "autumn"})
            assert wrong.status_code == 400
            assert "1: suspend domain=inbox.example" in wrong.json()["detail"]
            lifted = await ask(here, "POST", "/v1/queues/resume", {"everything": True})
            assert lifted.json()["lifted"] == [1]
            await here.until(lambda: len(here.mails) == 20)
            gone = await ask(here, "POST", "/v1/queues/cancel", {"everything": True, "reason": "x"})
            assert gone.json()["number"] == 3
            await here.until(lambda: states(here, late) == {"cancelled"})
            assert await here.law() == {"accepted": 21, "delivered": 20, "cancelled": 1}
            records = ControlFile(tmp_path / "control.log").records()
            assert verify(records) is None
            assert [one.change.action for one in records][-3:] == [
                "queue_suspend",
                "queue_resume",
                "queue_cancel",
            ]

    asyncio.run(run())


def test_what_is_queued_is_bounced_expired_rerouted(tmp_path: Path) -> None:
    """Nobody answers at the other end, so that all stays queued; each command ends or moves its own."""

    async def run() -> None:
        async with embedded(config_of(tmp_path), free_port()) as here:
            groups = {
                name: await send(here, [f"{name}{n}" for n in range(5)], campaign=name, pool="blue")
                for name in ("b", "e", "r", "k")
            }
            for action, name, more in (
                ("bounce", "b", {}),
                ("expire", "e", {}),
                ("reroute", "r", {"to_pool": "green"}),
            ):
                done = await ask(here, "POST", f"/v1/queues/{action}", {"campaign": name} | more)
                assert done.status_code == 200, done.text
            await here.until(lambda: states(here, groups["b"]) == {"bounced"})
            await here.until(lambda: states(here, groups["e"]) == {"expired"})
            await here.until(lambda: pools(here, groups["r"]) == {"green"})
            assert not states(here, groups["k"]) & {"bounced", "expired", "cancelled"}
            await here.until(lambda: here.worker.status().swept == {"default": 3})
            again = await ask(here, "POST", "/v1/queues/suspend", {"everything": True})
            assert again.json()["number"] == 4
            marks = (await ask(here, "GET", "/v1/queues")).json()["marks"]
            assert [mark["number"] for mark in marks] == [4], "what was swept is taken out"
            law = await here.law()
            assert (law["bounced"], law["expired"], law["queued"]) == (5, 5, 10)

    asyncio.run(run())


def test_mistakes_and_roles(tmp_path: Path) -> None:
    """Nothing selected, an unknown action, a pool where none belongs; a tenant's key may look, not change."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            for path, body, told in (
                ("cancel", {}, "which messages"),
                ("reroute", {"everything": True}, "to_pool"),
                ("cancel", {"everything": True, "to_pool": "x"}, "to_pool"),
                ("explode", {"everything": True}, "expected one of"),
                ("cancel", {"campain": "x"}, "unknown field"),
            ):
                said = await ask(here, "POST", f"/v1/queues/{path}", body)
                assert said.status_code == 400
                assert told in said.text
            assert (await ask(here, "GET", "/v1/doubts")).json() == {"items": [], "more": False}
            said = await ask(here, "POST", f"/v1/doubts/{'0' * 32}", {"resend": True})
            assert said.status_code == 404

    asyncio.run(run())


class _Silent:
    """A mail server that never answers the dot."""

    def __init__(self) -> None:
        self.open: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        writer.write(b"220 x\r\n")
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                writer.write(b"354 go\r\n" if verb == b"DATA" else b"250 ok\r\n")
                if verb == b"DATA":
                    while (await reader.readline()) != b".\r\n":
                        pass
                    writer.transport.abort()
                    return
        except ConnectionError:
            pass

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.open:
            writer.transport.abort()
        await self.server.wait_closed()


def test_doubts_are_listed_and_settled(tmp_path: Path) -> None:
    """A reply that was lost after the dot is held; an operator says what became of it."""
    config = config_of(tmp_path)
    config = msgspec.structs.replace(
        config, streams={"careful": Stream(in_doubt="hold", message_class=1)}
    )

    async def run() -> None:
        silent = _Silent()
        async with embedded(config, await silent.start()) as here:
            ids = await send(here, ["a", "b"], stream="careful")
            await here.until(lambda: states(here, ids) == {"in_doubt"})
            listed = (await ask(here, "GET", "/v1/doubts")).json()["items"]
            assert sorted(one["message_id"] for one in listed) == sorted(ids)
            assert (await ask(here, "GET", "/v1/queues")).json()["in_doubt"] == 2
            said = await ask(here, "POST", f"/v1/doubts/{ids[0]}", {"resend": False})
            assert said.json() == {"message_id": ids[0], "done": True, "state": "delivered"}
            again = await ask(here, "POST", f"/v1/doubts/{ids[0]}", {"resend": False})
            assert again.json()["done"] is False
            told = await ask(here, "POST", f"/v1/doubts/{ids[1]}", {"resend": True, "reason": "r"})
            assert told.json()["done"], told.text
            await here.until(lambda: states(here, [ids[1]]) == {"in_doubt"})
            law = await here.law()
            assert law == {"accepted": 2, "delivered": 1, "in_doubt": 1}
            story = (await ask(here, "GET", f"/v1/messages/{ids[1]}/explain")).json()["lines"]
            words = [line["what"] for line in story]
            for one in (
                "accepted: asked for by API",
                "credit was granted: granted (message)",
                "handed_over",
                "the egress or the sweep answered: attempt_outcome (message)",
                "in_doubt",
                "came in: settle (message)",
                "settled",
            ):
                assert one in words, words
            asked = next(n for n, one in enumerate(words) if "send_direct (contact)" in one)
            assert asked < words.index("handed_over")
            decided = [one for line in story for one in line["detail"].get("decided", ())]
            assert "send_decided" in {one["fact"] for one in decided}
            assert "@" not in json.dumps(story)
            actions = [r.change.action for r in ControlFile(tmp_path / "control.log").records()]
            assert actions[-2:] == ["doubt_delivered", "doubt_resend"]
        await silent.stop()

    asyncio.run(run())
