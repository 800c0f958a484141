"""A small TCP proxy in a process of its own: what is cut, silent or slow between two parties of a bench.

    python -m bench.proxy TARGET_PORT

writes its own port as its first line, then does what lines on its standard input say: `free` (pass on at once),
`hold` (keep connections, pass nothing on), `delay MS` (pass on, each way so much later), `reset` (end all connections;
new ones are taken). It ends with its standard input.
"""

from __future__ import annotations

__all__ = ("Proxy",)

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Self

CHUNK = 1 << 16


class Proxy:
    """A proxy before a port of loopback. Use it as a context."""

    def __init__(self, target: int) -> None:
        root = Path(__file__).resolve().parent.parent
        command = [sys.executable, "-m", "bench.proxy", str(target)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert self._process.stdout is not None, "it is a pipe"
        self.port = int(self._process.stdout.readline())

    def do(self, order: str) -> None:
        """Give an order; see the module."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._process.communicate(timeout=10)


class _Passing:
    """All connections of one proxy."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._delay_s = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def obey(self, order: str) -> None:
        """Do what a line says."""
        what, _, much = order.strip().partition(" ")
        if what == "hold":
            self._open.clear()
        elif what == "free":
            self._delay_s = 0.0
            self._open.set()
        elif what == "delay":
            self._delay_s = int(much) / 1000
        elif what == "reset":
            for writer in self._writers:
                writer.transport.abort()

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on both ways until one of them ends."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on in order; what is delayed is so from when it came, so that a delay costs no throughput."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._give(waiting, writer))
                while octets := await self._read(reader):
                    await waiting.put((loop.time() + self._delay_s, octets))
                await waiting.put((0.0, b""))
        writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(CHUNK)
        except OSError:
            return b""

    async def _give(
        self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, octets = await waiting.get()
            if not octets:
                return
            await asyncio.sleep(max(at - loop.time(), 0))
            await self._open.wait()
            with contextlib.suppress(OSError):
                writer.write(octets)
                await writer.drain()


async def _serve(target: int) -> None:
    passing = _Passing(target)
    server = await asyncio.start_server(passing.taken, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        passing.obey(line.decode("ascii"))
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
