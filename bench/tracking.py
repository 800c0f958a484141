"""Case `tracking`: opens and clicks over HTTP a second of CPU time of the gateway that answers them.

The gateway is a process of its own, with its real server and `actors.tracking`; the engine behind it takes each report
at once, so its share is not in the figure. 100 connections are kept busy by this process; each request has a token of
its own. `tracking_served` is what came through by the wall clock, with both processes on one machine. The ceiling is
the same pixel, asked for with nothing to tell.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.frame import Measured, Sample, plain, rates, rounds
from deliverability import tokens

CONNECTIONS = 100
RING = tokens.KeyRing(0, {0: b"k" * 32})
TARGET = b"\0\1https://shop.example/offers?id=123"
DAYS = 30
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

_SERVER = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from actors.backend import ItemResult
from actors.gateway.server import Gateway
from deliverability import tokens
from engine.config import parse

class Taking:
    async def returned(self, reports):
        return [ItemResult("accepted")] * len(reports)

async def main():
    config = parse(f'data_dir = "{sys.argv[1]}"\\n[http]\\nport = 0\\n')
    ring = tokens.KeyRing(0, {0: b"k" * 32})
    gateway = Gateway(config, Taking(), CollectorRegistry(), {"default": ring})
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(gateway.serve(ready, stop))
    await ready.wait()
    print(gateway.address[1], flush=True)
    await serving

asyncio.run(main())
"""


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    del seed
    import tempfile

    turns, seconds = (3, 3.0) if quick else (5, 8.0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory(prefix="veredus-bench-") as folder:
        command = [sys.executable, "-c", _SERVER, folder]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            found = rounds(
                turns,
                _asked("opens", server.pid, port, seconds, _open),
                _asked("clicks", server.pid, port, seconds, _click),
                _asked("ceiling", server.pid, port, seconds, lambda: "/o/none"),
            )
        finally:
            server.terminate()
            server.wait(20)
    return Measured(
        [
            rates("tracking_opens", "1/s of CPU", found["opens"], found["ceiling"]),
            rates("tracking_clicks", "1/s of CPU", found["clicks"], found["ceiling"]),
            plain("tracking_served", "1/s", found["opens_served"] + found["clicks_served"]),
        ],
        {"rounds": turns, "connections": CONNECTIONS},
    )


def _token(purpose: int, data: bytes = b"") -> str:
    last = tokens.last_day(time.time_ns() // 1_000_000, DAYS)
    named = (purpose, tokens.tenant_tag("default"), secrets.token_bytes(tokens.ID_BYTES), last)
    return tokens.make(tokens.Token(*named, data), RING)


def _open() -> str:
    return f"/o/{_token(tokens.OPEN)}"


def _click() -> str:
    return f"/c/{_token(tokens.CLICK, TARGET)}"


def _asked(
    name: str, pid: int, port: int, seconds: float, path: Callable[[], str]
) -> Callable[[], Sample]:
    def measure() -> Sample:
        begin, used = time.perf_counter(), _cpu_s(pid)
        done = asyncio.run(_load(port, begin + seconds, path))
        return {
            name: done / (_cpu_s(pid) - used),
            f"{name}_served": done / (time.perf_counter() - begin),
        }

    return measure


async def _load(port: int, stop: float, path: Callable[[], str]) -> int:
    counts = await asyncio.gather(*(_connection(port, stop, path) for _ in range(CONNECTIONS)))
    return sum(counts)


async def _connection(port: int, stop: float, path: Callable[[], str]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < stop:
        writer.write(f"GET {path()} HTTP/1.1\r\nHost: t\r\nUser-Agent: {_BROWSER}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 302")), head
        length = _LENGTH.search(head)
        await reader.readexactly(int(length.group(1)) if length else 0)
        done += 1
    writer.close()
    return done


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
