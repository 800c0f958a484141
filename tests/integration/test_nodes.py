"""Workers on several nodes of a Ray that runs: one each, a third when there is a node for it, and a node that dies.

Nodes are processes of this machine (`ray.cluster_utils`); the folder of the instance is the one that all share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.cluster.running import RAY_ENVIRONMENT
from bench.redis_server import RedisServer
from tests.engine.store.redis_servers import needs_redis
from tests.integration.instance import ROOT, Running, prepare, run

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    needs_redis,
]

CONTACTS = 20
TRIES = 600


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster

    for name, value in {**RAY_ENVIRONMENT, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    made: Any = Cluster(initialize_head=True, head_node_args=_room(0))
    made.add_node(**_room(1))
    made.add_node(**_room(1))
    yield made
    made.shutdown()


def test_workers_live_on_several_nodes(tmp_path: Path, nodes: Any) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    _configure(folder, server.address, nodes.address)
    try:
        _story(folder, nodes)
    finally:
        server.stop()


def _story(folder: Path, nodes: Any) -> None:
    instance = Running(folder)
    try:
        assert _controllers(folder) == [nodes.head_node.node_id], "on the node of `up`, which stays"
        homes = _homes(folder)
        assert sorted(homes) == ["w0", "w1"]
        assert len(set(homes.values())) == 2, "one on each node"
        _sign_up(instance, 0)
        told: list[Any] = []
        asking = threading.Thread(target=lambda: told.append(_told(folder, "scale", "3")))
        asking.start()
        nodes.add_node(**_room(1))  # it is waited for
        asking.join()
        assert "3 workers" in told[0]["done"], told
        homes = _homes(folder)
        assert len(set(homes.values())) == 3
        _sign_up(instance, 1)
        victim = next(node for node in nodes.worker_nodes if node.node_id == homes["w1"])
        nodes.remove_node(victim, allow_graceful=False)
        begin = time.monotonic()
        _sign_up(instance, 2)
        assert time.monotonic() - begin < 60, "others serve the partitions of a node that died"
        assert _delivered(instance) == 3 * CONTACTS
        assert instance.get("/v1/conservation")["holds"]
    finally:
        assert instance.end() == 0


def _room(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "object_store_memory": 80 << 20, "include_dashboard": False}


def _configure(folder: Path, redis: str, ray: str) -> None:
    file = folder / "veredus.toml"
    store = f'[store]\nkind = "redis"\nredis.addresses = ["{redis}"]\n'
    workers = f'ray_address = "{ray}"\ncount = 2'
    text = file.read_text().replace("[store]\n", store).replace("count = 1", workers)
    file.write_text(text + "\n[scaling]\nnode_s = 120\n")


def _told(folder: Path, *arguments: str) -> Any:
    told = run(folder, "cluster", *arguments, "--json")
    assert told.returncode == 0, told.stderr
    return msgspec.json.decode(told.stdout)


def _homes(folder: Path) -> dict[str, str]:
    """Tell on which node each worker is."""
    return {worker: node["id"] for node in _told(folder, "nodes") for worker in node["workers"]}


def _controllers(folder: Path) -> list[str]:
    """Tell on which node the controller is."""
    return [node["id"] for node in _told(folder, "nodes") if node["controller"]]


def _sign_up(instance: Running, part: int) -> None:
    """Give contacts and their sign-ups, again while it is refused."""
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
                time.sleep(0.1)


def _delivered(instance: Running) -> int:
    told: set[str] = set()
    empty = 0
    for item, _ in instance.outcomes():
        if item.get("kind") == "delivered":
            told.add(item["message_id"])
        empty = 0 if item else empty + 1
        if len(told) == 3 * CONTACTS or empty > 10:
            break
    return len(told)
