"""Case `smtp`: mails a second of one process over warm connections to a sink in another, by way of talking.

*window*: CHUNKING, many mails in flight; *pipelined*: DATA, envelope of the next with the content of the last;
*lockstep*: each command awaits its reply. The ceiling writes the same octets over the same connections without a
session: it counts replies, and keeps as many mails in flight as the window does.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Literal, cast

import uvloop

from bench.cpu import cpu_s
from bench.frame import Measured, Sample, costs, plain, rates, rounds
from bench.sink import SinkProcess
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Accepted, Closed, Ending
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.smtp_client import Connection, Endpoint, connect

Way = Literal["window", "pipelined", "lockstep"]

WAYS: tuple[Way, ...] = ("window", "pipelined", "lockstep")
CONNECTIONS = 10
WINDOW = 16
KILOBYTES = (10, 27)


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    turns, mails = (3, 4_000) if quick else (7, 30_000)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        with (
            SinkProcess(folder / "chunking", keep=1 << 40) as chunking,
            SinkProcess(folder / "plain", keep=1 << 40, chunking=False) as without,
        ):
            found = rounds(turns, *_measures(chunking, without, mails))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = []
    for size in KILOBYTES:
        ceiling, ceiling_cpu = found[f"ceiling_{size}k"], found[f"ceiling_{size}k_cpu"]
        for way in WAYS:
            name = f"smtp_{size}k_{way}"
            results += [
                rates(name, "1/s", found[name], ceiling),
                costs(f"{name}_cpu", "µs", found[f"{name}_cpu"], ceiling_cpu),
                plain(f"{name}_sink", "µs", found[f"{name}_sink"]),
            ]
    settings = {"rounds": turns, "mails_a_round": mails, "connections": CONNECTIONS}
    return Measured(results, settings | {"window": WINDOW})


def _measures(
    chunking: SinkProcess, without: SinkProcess, mails: int
) -> list[Callable[[], Sample]]:
    measures: list[Callable[[], Sample]] = []
    for size in KILOBYTES:
        content = _content(size)
        measures.append(_ceiling(f"ceiling_{size}k", chunking, content, mails))
        for way in WAYS:
            sink = chunking if way == "window" else without
            number = mails if way == "window" else mails // 2
            measures.append(_ours(f"smtp_{size}k_{way}", way, sink, content, number))
    return measures


def _content(kilobytes: int) -> bytes:
    line = b"x" * 74 + b"\r\n"
    return b"Subject: a mail of the bench\r\n\r\n" + line * (kilobytes * 1000 // len(line))


class Owner:
    """Gives the same content under an envelope of its own, so many times, and hears what became of it."""

    def __init__(self, content: bytes, number: int) -> None:
        self._left = number
        self._open = number
        self._content = Content(content, dot_free=True, checked=True)
        self._connections = 0
        self.done = asyncio.Event()
        self.gone = asyncio.Event()

    def next_transaction(self, connection: Connection) -> Transaction | None:
        """Give the next mail."""
        del connection
        if not self._left:
            return None
        self._left -= 1
        number = self._left
        sender, recipient = b"b+%d@shop.example" % number, b"c%d@d.example" % number
        return Transaction(number, sender, recipient, len(self._content.data))

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort:
        """Give its content."""
        del connection, transaction
        return self._content

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        """Hear an ending, which is good."""
        del connection, transaction
        assert isinstance(ending, Accepted), "the sink takes everything"
        self._open -= 1
        if not self._open:
            self.done.set()

    def opened(self) -> None:
        """Count a connection."""
        self._connections += 1

    def closed(self, connection: Connection, closed: Closed) -> None:
        """Hear that a connection has ended."""
        del connection, closed
        self._connections -= 1
        if not self._connections:
            self.gone.set()


def _ours(
    name: str, way: Way, sink: SinkProcess, content: bytes, mails: int
) -> Callable[[], Sample]:
    config = ClientConfig(
        ehlo_name="bench.example", tls="never", window=WINDOW, pipelining=way != "lockstep"
    )

    async def send() -> None:
        owner = Owner(content, mails)
        endpoint = Endpoint(host="127.0.0.1", port=sink.port)
        connections = [await connect(owner, endpoint, config) for _ in range(CONNECTIONS)]
        for _ in connections:
            owner.opened()
        await owner.done.wait()
        for connection in connections:
            connection.quit()
        await owner.gone.wait()

    return _measure(name, send, sink, mails)


class Blast(asyncio.Protocol):
    """Writes mails without looking, and counts the replies."""

    def __init__(self, number: int, content: bytes) -> None:
        self._left = number
        self._sent = 0
        self._lines = 0
        self._wanted = number * 3
        self._mail = (
            b"MAIL FROM:<b@shop.example>\r\nRCPT TO:<c@d.example>\r\n"
            b"BDAT %d LAST\r\n" % len(content) + content
        )
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"EHLO bench.example\r\n")
        self._more(WINDOW)

    def data_received(self, data: bytes) -> None:
        """Count replies of three commands a mail; the greeting and EHLO have five lines."""
        self._lines += data.count(b"\n")
        answered = (self._lines - 5) // 3
        if answered * 3 >= self._wanted:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._more(answered + WINDOW - self._sent)

    def _more(self, number: int) -> None:
        for _ in range(min(number, self._left)):
            self._transport.write(self._mail)
            self._left -= 1
            self._sent += 1


def _ceiling(name: str, sink: SinkProcess, content: bytes, mails: int) -> Callable[[], Sample]:
    async def send() -> None:
        loop = asyncio.get_running_loop()
        each = mails // CONNECTIONS
        blasts = [
            (await loop.create_connection(lambda: Blast(each, content), "127.0.0.1", sink.port))[1]
            for _ in range(CONNECTIONS)
        ]
        await asyncio.gather(*(blast.done for blast in blasts))

    return _measure(name, send, sink, mails // CONNECTIONS * CONNECTIONS)


def _measure(
    name: str, send: Callable[[], Coroutine[None, None, None]], sink: SinkProcess, mails: int
) -> Callable[[], Sample]:
    def measure() -> Sample:
        sink_cpu, before = cpu_s([sink.pid]), sink.count()
        wall, cpu = time.perf_counter(), time.process_time()
        uvloop.run(send())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert sink.count() - before == mails, "every mail arrives once"
        return {
            name: mails / wall,
            f"{name}_cpu": cpu / mails * 1e6,
            f"{name}_sink": (cpu_s([sink.pid]) - sink_cpu) / mails * 1e6,
        }

    return measure
