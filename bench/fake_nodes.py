"""Ray's own autoscaler over fake nodes of this machine: what its wheel lacks, and an end that ends nobody else's Ray.

`ray.cluster_utils.AutoscalingCluster` reads an example configuration that isn't in the wheel, and begins and ends with
`ray stop --force`, which kills every Ray of the machine. Here the configuration is written out, the head runs under
this process, and what is ended in the end is what was begun here: processes that have its folder in their command line.
"""

from __future__ import annotations

__all__ = ("FakeNodes",)

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import msgspec
from ray.cluster_utils import AutoscalingCluster
from ray.util import get_node_ip_address

from actors.cluster.running import RAY_ENVIRONMENT
from bench.redis_server import free_port
from engine.errors import VeredusError

START_S = 60.0
END_S = 10.0
HEAD = "ray.head.default"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_COMMANDS = (
    "cluster_synced_files",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "rsync_exclude",
    "rsync_filter",
)
"""What every cluster configuration has; a fake node needs none of it."""

STORE_OCTETS = 80 << 20


class FakeNodes(AutoscalingCluster):
    """A Ray whose autoscaler makes and removes nodes of one CPU, all on this machine. Use it as a context.

    Args:
        nodes_max: how many there may be, beside a head without a CPU.
        idle_s: a node that nothing runs on or asks for goes after so long.
    """

    def __init__(self, nodes_max: int, idle_s: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vr-"))  # short: sockets lie below it
        self._port = free_port()
        self._head: subprocess.Popen[bytes] | None = None
        self._nodes_max = nodes_max
        self._idle_s = idle_s
        node = {"CPU": 1, "object_store_memory": STORE_OCTETS}
        kinds = {
            "worker": {
                "resources": node,
                "node_config": {},
                "min_workers": 0,
                "max_workers": nodes_max,
            }
        }
        super().__init__({"CPU": 0}, kinds, autoscaler_v2=True)

    def _generate_config(
        self,
        head_resources: dict[str, Any],
        worker_node_types: dict[str, Any],
        autoscaler_v2: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

        head = {"resources": head_resources, "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": "veredus-bench",
            "max_workers": self._nodes_max,
            "upscaling_speed": float(self._nodes_max),
            "idle_timeout_minutes": self._idle_s / 60,
            "provider": {
                "type": "external",  # `fake_multinode` would read the example again
                "module": PROVIDER,
                "use_node_id_as_ip": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
                "launch_multiple": True,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "gcs_address": self.address,
            },
            "head_node_type": HEAD,
            "available_node_types": worker_node_types | {HEAD: head},
            "auth": {},
            "file_mounts": {},
            **{key: [] for key in _COMMANDS},
        } | more

    @property
    def config(self) -> dict[str, Any]:
        """What the autoscaler is told."""
        told: dict[str, Any] = self._config
        return told

    @property
    def address(self) -> str:
        """Where Ray is reached."""
        address: Any = get_node_ip_address
        return f"{address()}:{self._port}"

    def start(self, _system_config: Any = None, override_env: Any = None) -> None:
        """Begin the head. Returns when it answers. Raises: VeredusError: it doesn't in time."""
        file = self.folder / "autoscaling.json"
        file.write_bytes(msgspec.json.encode(self._config))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--port={self._port}", "--num-cpus=0", "--include-dashboard=false"]
        command += [f"--object-store-memory={STORE_OCTETS}", "--disable-usage-stats"]
        command += [f"--temp-dir={self.folder}", f"--autoscaling-config={file}"]
        with (self.folder / "head.log").open("wb") as log:
            self._head = subprocess.Popen(
                command, stdout=log, stderr=log, env=_environment() | (override_env or {})
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._head.poll() is not None or time.monotonic() > deadline:
                told = self.told()
                self.shutdown()
                raise VeredusError(f"Ray's head didn't start: {told}")
            time.sleep(0.05)

    def told(self) -> str:
        """Give the end of what head and autoscaler said."""
        files = [self.folder / "head.log", *self.folder.glob("session_2*/logs/monitor.*")]
        return "\n".join(f"{f.name}: {f.read_text('utf-8', 'replace')[-600:]}" for f in files)

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    def shutdown(self) -> None:
        """End all that was begun here. Idempotent."""
        head, self._head = self._head, None
        if head is not None:
            head.send_signal(signal.SIGTERM)
            try:
                head.wait(END_S)
            except subprocess.TimeoutExpired:
                head.kill()
                head.wait()
        for pid in self.pids():
            _kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self) -> list[int]:
        """Name the processes of this Ray: those that have its folder in their command line."""
        mine = str(self.folder).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if mine in line:
                    found.append(int(entry.name))
        return found

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.shutdown()


def _environment() -> dict[str, str]:
    """Give the environment of head and nodes: what `AutoscalingCluster.start` sets, and ours."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    root = str(Path(__file__).resolve().parent.parent)
    return (
        os.environ
        | RAY_ENVIRONMENT
        | {
            "PYTHONPATH": root,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        }
    )


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
