"""Workers on several nodes of a Ray that runs: one each, a third when there is a node for it, and a node that dies.

The suppression list comes to them over Ray: each node has a folder of its own for its copy.

Nodes are processes of this machine (`ray.cluster_utils`); the folder of the instance is the one that all share.
"""

from __future__ import annotations

import os
import signal
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
DISK = "DISK_OF_THE_NODE"  # names a folder that only one node has
HELD_S = 4.0  # twice the stated bound
TRIES = 600


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster

    for name, value in {**RAY_ENVIRONMENT, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    made: Any = Cluster(initialize_head=True, head_node_args=room(0))
    for number in range(2):
        disk = tmp_path / f"disk{number}"
        disk.mkdir()
        made.add_node(**room(1), env_vars={DISK: str(disk)})
    yield made
    made.shutdown()


def test_workers_live_on_several_nodes(tmp_path: Path, nodes: Any) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    configure_nodes(folder, server.address, nodes.address)
    try:
        _story(folder, nodes)
    finally:
        server.stop()


def test_the_suppression_list_comes_to_nodes_of_other_folders(tmp_path: Path, nodes: Any) -> None:
    """Each node has its copy; a suppression holds there; a node that hears nothing sends nothing, and loses nothing."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    configure_nodes(folder, server.address, nodes.address)
    instance = Running(folder)
    try:
        copies = [list((tmp_path / f"disk{n}").glob("list/*/suppression/*.packed")) for n in (0, 1)]
        assert all(len(found) == 1 for found in copies), "each node has a copy of its own"
        suppressed = [f"c{n}@inbox.example" for n in range(0, CONTACTS, 2)]
        told = run(folder, "suppression", "add", *suppressed)
        assert told.returncode == 0, told.stderr
        time.sleep(2.0)  # the stated bound
        sign_up(instance, 0)
        assert delivered(instance, CONTACTS // 2) == CONTACTS // 2
        controller = _controller_of(nodes)
        os.kill(controller, signal.SIGSTOP)
        try:
            time.sleep(2.0)
            sign_up(instance, 1)
            time.sleep(HELD_S)
            assert min(_ages(instance)) > 1.5, "the views are too old"
            assert delivered(instance, CONTACTS, patience=2) == CONTACTS // 2, "nothing begins"
        finally:
            os.kill(controller, signal.SIGCONT)
        wanted = CONTACTS // 2 + CONTACTS
        assert delivered(instance, wanted) == wanted, "what was held goes"
        assert instance.get("/v1/conservation")["holds"]
    finally:
        code = instance.end()
        server.stop()
    assert code == 0


def _story(folder: Path, nodes: Any) -> None:
    instance = Running(folder)
    try:
        assert _controllers(folder) == [nodes.head_node.node_id], "on the node of `up`, which stays"
        homes = _homes(folder)
        assert sorted(homes) == ["w0", "w1"]
        assert len(set(homes.values())) == 2, "one on each node"
        sign_up(instance, 0)
        told: list[Any] = []
        asking = threading.Thread(target=lambda: told.append(_told(folder, "scale", "3")))
        asking.start()
        disk = folder.parent / "disk2"
        disk.mkdir()
        nodes.add_node(**room(1), env_vars={DISK: str(disk)})  # it is waited for
        asking.join()
        assert "3 workers" in told[0]["done"], told
        homes = _homes(folder)
        assert len(set(homes.values())) == 3
        sign_up(instance, 1)
        victim = next(node for node in nodes.worker_nodes if node.node_id == homes["w1"])
        nodes.remove_node(victim, allow_graceful=False)
        begin = time.monotonic()
        sign_up(instance, 2)
        assert time.monotonic() - begin < 60, "others serve the partitions of a node that died"
        assert delivered(instance, 3 * CONTACTS) == 3 * CONTACTS
        assert instance.get("/v1/conservation")["holds"]
    finally:
        assert instance.end() == 0


def room(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "object_store_memory": 80 << 20, "include_dashboard": False}


def configure_nodes(folder: Path, redis: str, ray: str) -> None:
    file = folder / "veredus.toml"
    store = f'[store]\nkind = "redis"\nredis.addresses = ["{redis}"]\n'
    workers = f'ray_address = "{ray}"\ncount = 2'
    text = file.read_text().replace("[store]\n", store).replace("count = 1", workers)
    more = f'\n[scaling]\nnode_s = 120\n[suppression]\nnode_dir = "${DISK}/list"\n'
    file.write_text(text + more)


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


def _controller_of(nodes: Any) -> int:
    """Find the process of the controller: the one of its class on the head."""
    raylet = nodes.head_node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    found = [
        int(pid) for pid in children if b"Controller" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(found) == 1
    return found[0]


def _ages(instance: Running) -> list[float]:
    """Tell how old the workers' views of the suppression list are, s."""
    page = instance.client.get("/metrics").text
    name = "veredus_suppression_view_age_seconds{"
    return [float(line.split()[-1]) for line in page.splitlines() if line.startswith(name)]


def sign_up(instance: Running, part: int) -> None:
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


def delivered(instance: Running, wanted: int, patience: int = 10) -> int:
    told: set[str] = set()
    empty = 0
    for item, _ in instance.outcomes():
        if item.get("kind") == "delivered":
            told.add(item["message_id"])
        empty = 0 if item else empty + 1
        if len(told) == wanted or empty > patience:
            break
    return len(told)
