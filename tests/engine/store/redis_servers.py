"""Real Redis servers for tests: each that is installed here, started once a module."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.redis_server import RedisServer, find_servers

SERVERS = find_servers()
if not SERVERS:
    warnings.warn(
        "NO REDIS SERVER IS INSTALLED: tests of the Redis store are skipped (apt-get install redis-server)",
        UserWarning,
        stacklevel=1,
    )

needs_redis = pytest.mark.skipif(
    not SERVERS, reason="NO REDIS SERVER: apt-get install redis-server"
)
every_server = pytest.mark.parametrize("program", SERVERS or [Path("none")], ids=lambda p: p.name)


def running(folder: Path, program: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server until the test is over."""
    server = RedisServer(folder, program)
    server.start()
    try:
        yield server
    finally:
        server.stop()
