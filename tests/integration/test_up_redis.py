"""An instance over Redis: killed workers, a server that restarts in place, a drain; nothing lost, the law holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.redis_server import RedisServer
from tests.engine.store.redis_servers import needs_redis
from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), needs_redis]

CONTACTS = 40
TRIES = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server that keeps the state."""
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Path:
    """A deployment over it, with two workers and one connection between them."""
    made = tmp_path_factory.mktemp("up-redis")
    prepare(made)
    file = made / "veredus.toml"
    redis = f'kind = "redis"\nredis.addresses = ["{server.address}"]\nredis.timeout_ms = 2000\n'
    text = (
        file.read_text().replace("[store]\n", f"[store]\n{redis}").replace("count = 1", "count = 2")
    )
    file.write_text(text + "\n[limits.default]\nconnections_max = 1\n")
    return made


def test_nothing_is_lost_whoever_dies(folder: Path, server: RedisServer) -> None:
    """Events before and after a SIGKILL of the worker, of the server, and a restart: each contact has its one mail."""
    instance = Running(folder)
    try:
        _sign_up(instance, 0)
        os.kill(instance.worker_pid(), signal.SIGKILL)
        _sign_up(instance, 1)
        server.kill()
        server.start()
        _sign_up(instance, 2)
        assert _delivered(instance, 3 * CONTACTS)
    finally:
        assert instance.end() == 0
    again = Running(folder)
    try:
        assert _delivered(again, 3 * CONTACTS)
        _sign_up(again, 3)
        assert _delivered(again, 4 * CONTACTS)
        law = again.get("/v1/conservation")
        assert law["holds"]
    finally:
        assert again.end() == 0


def _sign_up(instance: Running, part: int) -> None:
    """Give contacts and their sign-ups, again while it is refused: the ids make that harmless."""
    for n in range(part * CONTACTS, (part + 1) * CONTACTS):
        contact = {
            "contact": f"c{n}",
            "attributes": {"email": f"c{n}@inbox.example", "first_name": "Ann"},
            "consents": [{"topic": "marketing", "granted": True, "source": "test"}],
        }
        event = {"name": "signup", "contact": f"c{n}", "id": f"s{n}"}
        for method, path, body in (
            ("PUT", "/v1/contacts", contact),
            ("POST", "/v1/events", event),
        ):
            for _ in range(TRIES):
                status = instance.give(method, path, body).status_code
                if status == 200:
                    break
                assert status == 503, f"{status}: {instance.log()[-2000:]}"
                signal.sigtimedwait([], 0.1)


def _delivered(instance: Running, wanted: int) -> bool:
    told: set[str] = set()
    empty = 0
    for item, _ in instance.outcomes():
        if item.get("kind") == "delivered":
            told.add(item["message_id"])
        empty = 0 if item else empty + 1
        if len(told) == wanted or empty > 10:
            break
    return len(told) == wanted


def test_partitions_move_under_load(folder: Path) -> None:
    """Drain, a kill while drained, and back while contacts sign up: all mail goes out, the law holds."""
    instance = Running(folder)
    try:
        assert _cluster(folder, "status")["moves"]
        assert {one["owner"] for one in _cluster(folder, "partitions")} == {"w0", "w1"}
        _cluster(folder, "drain", "w1")
        _sign_up(instance, 4)
        _settled(folder, {"w0"})
        _cluster(folder, "drain", "w1", "--undo")
        _sign_up(instance, 5)
        _settled(folder, {"w0", "w1"})
        assert run(folder, "cluster", "drain", "w9").returncode == 2
        os.kill(instance.worker_pid(), signal.SIGKILL)
        _cluster(folder, "drain", "w0")
        _sign_up(instance, 6)
        _settled(folder, {"w1"})
        assert _delivered(instance, 7 * CONTACTS)
        assert instance.get("/v1/conservation")["holds"]
    finally:
        assert instance.end() == 0


def test_workers_come_and_go_while_it_runs(folder: Path) -> None:
    """One more, two fewer, one more under its old number, while contacts sign up; and a restart with fewer than before.

    What becomes of mail is told from the feeds of workers that have gone, too.
    """
    instance = Running(folder)
    try:
        assert "3 workers" in _cluster(folder, "scale", "3")["done"]
        _settled(folder, {"w0", "w1", "w2"})
        _sign_up(instance, 7)
        assert "1 workers" in _cluster(folder, "scale", "1")["done"]
        _settled(folder, {"w0"})
        assert {one["name"] for one in _cluster(folder, "status")["workers"]} == {"w0"}
        _sign_up(instance, 8)
        assert "2 workers" in _cluster(folder, "scale", "2")["done"]
        _sign_up(instance, 9)
        assert _delivered(instance, 10 * CONTACTS)
        assert instance.get("/v1/conservation")["holds"]
        told = run(folder, "audit", "--json").stdout
        assert "cluster from 2 to 3 workers" in told
        assert "cluster from 3 to 1 workers" in told
    finally:
        assert instance.end() == 0
    again = Running(folder)  # two workers, as configured; three have written feeds
    try:
        assert _delivered(again, 10 * CONTACTS)
        assert again.get("/v1/conservation")["holds"]
    finally:
        assert again.end() == 0


def _cluster(folder: Path, *arguments: str) -> Any:
    told = run(folder, "cluster", *arguments, "--json")
    assert told.returncode == 0, told.stderr
    return msgspec.json.decode(told.stdout)


def _settled(folder: Path, owners: set[str]) -> None:
    """Wait until every partition is with its owner, and these are the owners."""
    for _ in range(100):
        found = _cluster(folder, "partitions")
        if {one["owner"] for one in found} == owners and not any(one["in_motion"] for one in found):
            return
        signal.sigtimedwait([], 0.2)
    raise AssertionError(f"not settled: {_cluster(folder, 'status')}")
