"""The node of `up` is lost, with Ray's head, the controller and all workers: `up` goes on elsewhere.

"Elsewhere" is another Ray and another process with the same data directory and the same Redis, as `docs/cluster.md`
says: what a volume and a Redis hold is all that there is of an instance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.cluster.running import RAY_ENVIRONMENT
from bench.redis_server import RedisServer
from tests.engine.store.redis_servers import needs_redis
from tests.integration.instance import ROOT, Running, prepare
from tests.integration.test_nodes import (
    CONTACTS,
    DISK,
    configure_nodes,
    delivered,
    room,
    sign_up,
)

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    needs_redis,
]


def _ray(disk: Path) -> Any:
    from ray.cluster_utils import Cluster

    disk.mkdir()
    made: Any = Cluster(initialize_head=True, head_node_args=room(0))
    for _ in range(2):
        made.add_node(**room(1), env_vars={DISK: str(disk)})
    return made


def test_up_goes_on_elsewhere_when_its_node_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing acknowledged is lost, and nothing but what was in the air can come twice."""
    for name, value in {**RAY_ENVIRONMENT, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    first = _ray(tmp_path / "disk")
    second: Any = None
    address = first.address
    try:
        configure_nodes(folder, server.address, address)
        instance = Running(folder)
        sign_up(instance, 0)
        sign_up(instance, 1)  # some of it is on its way
        instance.kill()
        first.shutdown()
        second = _ray(tmp_path / "other disk")
        file = folder / "veredus.toml"
        file.write_text(file.read_text().replace(address, second.address))
        instance = Running(folder)
        try:
            sign_up(instance, 2)
            assert delivered(instance, 3 * CONTACTS) == 3 * CONTACTS
            assert instance.get("/v1/conservation")["holds"]
        finally:
            assert instance.end() == 0
    finally:
        (second or first).shutdown()
        server.stop()
