"""Two versions side by side, as in a rolling upgrade: one node has this Veredus, the other one of some commits ago.

The older one is taken out of git; where there is no history the test says so and is skipped. Both orders are tried: the
controller older than a worker, and a worker older than the controller.
"""

from __future__ import annotations

import subprocess
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from actors.cluster.running import RAY_ENVIRONMENT
from bench.redis_server import RedisServer
from tests.engine.store.redis_servers import needs_redis
from tests.integration.instance import ROOT, Running, prepare, run
from tests.integration.test_nodes import CONTACTS, configure_nodes, delivered, room, sign_up

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    needs_redis,
]

COMMITS_AGO = 12
PACKAGES = ("actors", "scenarios", "deliverability", "engine")
MARK = "the-old-one-was-here"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of some commits ago; whoever imports its worker leaves a mark there."""
    folder = tmp_path_factory.mktemp("old")
    commit = _git("rev-list", "--first-parent", f"--skip={COMMITS_AGO}", "--max-count=1", "HEAD")
    packed = _git("archive", "--format=tar", commit.decode().strip(), *PACKAGES) if commit else b""
    if not packed:
        warnings.warn("NO HISTORY: two versions side by side are not tested", stacklevel=1)
        pytest.skip("NO HISTORY IN GIT: two versions side by side are not tested")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    shell = folder / "actors" / "cluster" / "worker_shell.py"
    mark = f"__import__('pathlib').Path({str(folder / MARK)!r}).touch()\n"
    shell.write_text(shell.read_text() + mark)
    return folder


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return b""
    return done.stdout if done.returncode == 0 else b""


@pytest.mark.parametrize("controller_is", ["old", "new"])
def test_two_versions_share_the_work_and_hand_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: Path, controller_is: str
) -> None:
    """Partitions move from one version to the other and back under load; nothing is lost, nothing comes twice."""
    from ray.cluster_utils import Cluster

    controlling = old if controller_is == "old" else ROOT
    for name, value in {**RAY_ENVIRONMENT, "PYTHONPATH": str(controlling)}.items():
        monkeypatch.setenv(name, value)
    (old / MARK).unlink(missing_ok=True)
    server = RedisServer(tmp_path / "redis")
    server.start()
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    nodes: Any = Cluster(initialize_head=True, head_node_args=room(0))
    try:
        for version in (old, ROOT):
            nodes.add_node(**room(1), env_vars={"PYTHONPATH": str(version)})
        configure_nodes(folder, server.address, nodes.address)
        _story(folder, controlling)
    finally:
        nodes.shutdown()
        server.stop()
    assert (old / MARK).exists(), "no worker of the older version took part"


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
        law = instance.get("/v1/conservation")
        assert law["holds"], law
    finally:
        giving.join()
        assert instance.end() == 0


def _sign_up_all(instance: Running) -> None:
    for part in range(4):
        sign_up(instance, part)
