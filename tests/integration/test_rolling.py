"""Two versions side by side, as in a rolling upgrade: one node has this Veredus, the other one a newer one.

The newer one is a copy of this with a key in its configuration that this one doesn't know, which is what most versions
add. Both orders are tried: `up` newer than a worker, and a worker newer than `up`. The same with a commit of this
repository: `VEREDUS_OLDER=COMMIT` (which must have the same format of data).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.cluster.running import RAY_ENVIRONMENT
from bench.redis_server import RedisServer
from tests.engine.store.redis_servers import needs_redis
from tests.integration.instance import ROOT, Running, prepare, run
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

PACKAGES = ("actors", "scenarios", "deliverability", "engine")
MARK = "the-other-one-was-here"
OLDER = os.environ.get("VEREDUS_OLDER", "")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the other version; whoever imports its worker leaves a mark there."""
    folder = tmp_path_factory.mktemp("other")
    if OLDER:
        command = ["git", "archive", "--format=tar", OLDER, *PACKAGES]
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    else:
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        config = folder / "engine" / "config.py"
        head = "class Workers(_Section, frozen=True, kw_only=True):\n"
        doc = '    """The processes that own partitions and send mail."""\n'
        assert head + doc in config.read_text()
        config.write_text(
            config.read_text().replace(head + doc, f"{head}{doc}    novelty: int = 7\n")
        )
    shell = folder / "actors" / "cluster" / "worker_shell.py"
    mark = f"__import__('pathlib').Path({str(folder / MARK)!r}).touch()\n"
    shell.write_text(shell.read_text() + mark)
    return folder


@pytest.mark.parametrize("up_is", ["this", "other"])
def test_two_versions_share_the_work_and_hand_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Path, up_is: str
) -> None:
    """Partitions move from one version to the other and back under load; nothing is lost, nothing comes twice."""
    from ray.cluster_utils import Cluster

    controlling = other if up_is == "other" else ROOT
    for name, value in {**RAY_ENVIRONMENT, "PYTHONPATH": str(controlling)}.items():
        monkeypatch.setenv(name, value)
    (other / MARK).unlink(missing_ok=True)
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    nodes: Any = Cluster(initialize_head=True, head_node_args=room(0))
    try:
        for number, version in enumerate((other, ROOT)):
            disk = tmp_path / f"disk{number}"
            disk.mkdir()
            nodes.add_node(**room(1), env_vars={"PYTHONPATH": str(version), DISK: str(disk)})
        configure_nodes(folder, server.address, nodes.address)
        _story(folder, controlling)
    finally:
        nodes.shutdown()
        server.stop()
    assert (other / MARK).exists(), "no worker of the other version took part"


def _story(folder: Path, controlling: Path) -> None:
    instance = Running(folder, root=controlling)
    giving = threading.Thread(target=_sign_up_all, args=(instance,))
    try:
        giving.start()
        for worker in ("w0", "w1"):
            for more in ((), ("--undo",)):
                told = run(folder, "cluster", "drain", worker, *more)
                assert told.returncode == 0, told.stderr
                assert run(folder, "cluster", "rebalance").returncode == 0
        giving.join()
        assert delivered(instance, 4 * CONTACTS) == 4 * CONTACTS
        assert instance.get("/v1/conservation")["holds"]
    finally:
        giving.join()
        assert instance.end() == 0


def _sign_up_all(instance: Running) -> None:
    for part in range(4):
        sign_up(instance, part)
