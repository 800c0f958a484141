"""What chaos strikes: two Redis behind proxies with a Sentinel, a Ray of several nodes, small disks.

The GCS of that Ray is in a Redis of its own. All lies in one folder and on loopback, and what is ended in the end is
what was begun here.
"""

from __future__ import annotations

__all__ = ("MASTER", "RayNodes", "RedisPair", "SmallDisk")

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError

from actors.cluster.running import RAY_ENVIRONMENT
from bench.proxy import Proxy
from bench.redis_server import DURABLE, SMALL_HASHES, RedisServer

MASTER = "mail"
DOWN_MS = 4000
"""A master that doesn't answer for so long is failed over. A pause or a restart in place is shorter."""
ANNOUNCED = (
    *("--repl-diskless-sync-delay", "0", "--repl-timeout", "5"),
    *("--replica-announce-ip", "127.0.0.1", "--replica-announce-port"),
)
FAILOVER_S = 60.0
STORE_OCTETS = 80 << 20


class RedisPair:
    """A master and its replica, each behind a proxy, and a Sentinel that fails over. Use it as a context.

    Both know each other, and are known, by the ports of their proxies: whatever a proxy cuts is cut for all.
    """

    def __init__(self, folders: tuple[Path, Path], sentinel: Path) -> None:
        self._ending = contextlib.ExitStack()
        self.servers: list[RedisServer] = []
        self.proxies: list[Proxy] = []
        for folder in folders:
            server = RedisServer(folder)
            proxy = self._ending.enter_context(Proxy(server.port))
            server.options = (*DURABLE, *SMALL_HASHES, *ANNOUNCED, str(proxy.port))
            self.servers.append(server)
            self.proxies.append(proxy)
            self._ending.callback(server.stop)
        self._at = 0
        self.servers[0].start()
        self._follow(1)
        self._sentinel = self._guard(sentinel)

    def _guard(self, folder: Path) -> RedisServer:
        folder.mkdir()
        file = folder / "sentinel.conf"
        file.write_text(
            f"sentinel monitor {MASTER} 127.0.0.1 {self.proxies[0].port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_MS}\n"
            f"sentinel failover-timeout {MASTER} 10000\n"
        )
        guard = RedisServer(folder, options=(), before=(str(file), "--sentinel"))
        self._ending.callback(guard.stop)
        guard.start()
        return guard

    @property
    def address(self) -> str:
        """Where the Sentinel is asked."""
        return self._sentinel.address

    @property
    def master(self) -> RedisServer:
        """The server that is the master now, by what the Sentinel says."""
        port = self._named()
        ports = [proxy.port for proxy in self.proxies]
        self._at = ports.index(port) if port in ports else self._at
        return self.servers[self._at]

    def _named(self) -> int:
        told = self._sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(told[1]) if told else 0

    def _follow(self, index: int) -> None:
        """Start a server as the replica of the other one."""
        other = self.proxies[1 - index].port
        self.servers[index].start("--replicaof", "127.0.0.1", str(other))

    def fail_over(self, strike: Callable[[RedisServer], None]) -> None:
        """Strike the master so that it ends; returns when the replica is master, and the former one follows it."""
        struck = self.master
        index = self.servers.index(struck)
        strike(struck)
        self.wait(lambda: self.master is not struck, "the Sentinel failed over")
        struck.stop()
        self._follow(index)

    def whole(self) -> None:
        """Wait until the master has its replica in step."""
        self.wait(self._is_whole, "master and replica were in step")

    def _is_whole(self) -> bool:
        try:
            told = self.master.ask("INFO", "replication")
        except (RedisError, OSError):
            return False
        return bool(told["role"] == "master" and told.get("slave0", {}).get("state") == "online")

    @staticmethod
    def wait(done: Callable[[], bool], what: str) -> None:
        """Wait for something. Raises: TimeoutError."""
        deadline = time.monotonic() + FAILOVER_S
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"a minute passed before {what}")
            time.sleep(0.05)

    def order(self, order: str) -> None:
        """Tell both proxies."""
        for proxy in self.proxies:
            proxy.do(order)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all, whatever was done to them."""
        self.order("free")
        self._ending.close()


class RayNodes:
    """A head without room for workers, nodes with room for one each, and the GCS in a Redis of its own."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self._redis = RedisServer(folder, options=("--appendonly", "yes"))
        self._redis.start()
        os.environ.update(RAY_ENVIRONMENT)
        os.environ["RAY_REDIS_ADDRESS"] = self._redis.address
        root = str(Path(__file__).resolve().parent.parent)
        os.environ["PYTHONPATH"] = root
        from ray.cluster_utils import Cluster

        self._ray: Any = Cluster(
            initialize_head=True,
            head_node_args=_room(0),
            shutdown_at_exit=False,  # handlers of signals can be set in the main thread alone
        )
        for _ in range(nodes):
            self.add()

    @property
    def address(self) -> str:
        """Where Ray is reached."""
        address: str = self._ray.address
        return address

    def add(self) -> None:
        """Begin a node with room for one worker."""
        self._ray.add_node(**_room(1))

    def node(self, node_id: str) -> Any:
        """Find a node by Ray's id; any when that one isn't ours (any more)."""
        nodes = list(self._ray.worker_nodes)
        return next((one for one in nodes if one.node_id == node_id), nodes[0])

    def lose(self, node: Any) -> None:
        """SIGKILL its raylet, with which its workers die; what is left of the node goes too."""
        node.kill_raylet()
        self._ray.remove_node(node, allow_graceful=False)

    @staticmethod
    def raylet(node: Any) -> int:
        """Give the process of a node's raylet."""
        pid: int = node.all_processes["raylet"][0].process.pid
        return pid

    @property
    def gcs(self) -> int:
        """The process of the GCS."""
        pid: int = self._ray.head_node.all_processes["gcs_server"][0].process.pid
        return pid

    def kill_gcs(self) -> None:
        """SIGKILL."""
        self._ray.head_node.kill_gcs_server()

    def start_gcs(self) -> None:
        """Start it again; it reads from Redis what it knew."""
        self._ray.head_node.start_gcs_server()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ray.shutdown()
        self._redis.stop()
        os.environ.pop("RAY_REDIS_ADDRESS", None)


def _room(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "object_store_memory": STORE_OCTETS, "include_dashboard": False}


class SmallDisk:
    """A disk of its own at a folder, which can be filled. Use it as a context; `there`: whether it could be mounted.

    An ext4 in a file where the system lets us, so that a sync is a sync; else nothing is mounted.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._image = folder.with_name(folder.name + ".img")
        folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        made = _done("mkfs.ext4", "-q", "-m", "0", str(self._image))
        self.there = made and _done("mount", "-o", "loop", str(self._image), str(folder))

    def fill(self) -> None:
        """Leave no room."""
        ballast = self.folder / "ballast"
        free = os.statvfs(self.folder)
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        for size in (1 << 16, 1 << 12, 64):
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(size))

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        if self.there:
            _done("umount", "-l", str(self.folder))
        self._image.unlink(missing_ok=True)


def _done(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
