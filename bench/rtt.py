"""Case `rtt`: signed messages a second of one connection, by how far the server is.

The sink answers each command late by the round trip that is named, so that a reply is as late as over a far line; the
line itself has room for all. Each message is composed and signed anew (27 KB, RSA-2048), as the egress does it, when
its content is due.

*window*: CHUNKING, with `in_doubt_max` raised so that the window can follow rate times round trip, and with its
default. *pipelined*: PIPELINING alone; DATA must be answered before its content goes (RFC 2920 §3.1), so one message a
round trip is the limit: its ceiling is the round trip of a NOOP just before. The ceiling of a window is its own rate
without delay, in the same round.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import shutil
import tempfile
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median

import uvloop

from bench.content import holes, template
from bench.frame import Measured, Result, Sample, plain, rates, say
from bench.sink import SinkProcess
from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.template import Letter, Profile
from deliverability.dkim.keys import SigningKey, generate_pem, load_key
from deliverability.dkim.signer import sign
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Accepted, Closed, Ending
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.smtp_client import Connection, Endpoint, connect
from deliverability.transport.turns import Turns

TRIPS_MS = (0, 20, 100)
IN_DOUBT_MAX = 512
IN_DOUBT_DEFAULT = ClientConfig(ehlo_name="bench.example").window
KILOBYTES = 27
WARM_TRIPS = 12
"""Round trips before the measured stretch: the window doubles with each while it opens."""
TRIPS_MEASURED = 15
DATE_MS = 1_764_000_000_000


class Letters:
    """Gives signed messages, each another one, and counts what was accepted."""

    def __init__(self, skeleton: Skeleton, key: SigningKey) -> None:
        self._skeleton = skeleton
        self._key = key
        self._numbers = count()
        self._turns = Turns(asyncio.get_running_loop().call_soon, time.perf_counter)
        self._hungry: Connection | None = None
        self.accepted = 0
        self.open = True
        self.gone = asyncio.Event()

    def next_transaction(self, connection: Connection) -> Transaction | None:
        """Give the next message, as long as it goes on, in turns as a delivery does."""
        if not self.open:
            return None
        if not self._turns.may(self):
            self._hungry = connection
            self._turns.enlist(self, 2)
            return None
        number = next(self._numbers)
        return Transaction(number, b"b+%d@shop.example" % number, b"c%d@d.example" % number)

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort | None:
        """Compose and sign."""
        del connection
        number = transaction.token
        assert isinstance(number, int), "tokens are numbers"
        letter = Letter(
            message_id_hex=number.to_bytes(16).hex(),
            tenant="bench",
            recipient=f"c{number}@d.example",
            date_ms=DATE_MS,
            variables={"event": holes(number)},
        )
        composed = self._skeleton.compose(letter)
        fields = sign(composed, [self._key], DATE_MS)
        data = b"".join((fields, composed.headers, b"\r\n", composed.body))
        return Content(data, dot_free=composed.dot_free, checked=True)

    def urgency(self) -> int | None:
        """Say whether the connection waits for its turn."""
        return None if self._hungry is None else 2

    def serve(self) -> None:
        """Let it have its turn."""
        connection, self._hungry = self._hungry, None
        if connection is not None:
            connection.kick()

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        """Count an ending, which is good."""
        del connection, transaction
        assert isinstance(ending, Accepted), "the sink takes everything"
        self.accepted += 1

    def closed(self, connection: Connection, closed: Closed) -> None:
        """Hear the end."""
        del connection, closed
        self.gone.set()


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    del seed
    turns, seconds = (4, 1.0) if quick else (8, 2.5)
    skeleton = compile_template(template(KILOBYTES, "hello@shop.example"), Profile())
    key = load_key(generate_pem("rsa-sha256"), "shop.example", "bench", "made for this run")
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    samples = []
    try:
        with ExitStack() as stack:
            sinks = {
                (trip, chunking): stack.enter_context(
                    SinkProcess(
                        folder / f"{trip}-{int(chunking)}",
                        keep=1 << 40,
                        chunking=chunking,
                        delay_ms=trip,
                    )
                )
                for trip in TRIPS_MS
                for chunking in (True, False)
            }
            for turn in range(turns):
                samples.append(_round(sinks, skeleton, key, seconds))
                told = ", ".join(f"{name} {value:.4g}" for name, value in samples[-1].items())
                say(f"  round {turn + 1} of {turns}: {told}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    settings = {
        "rounds": turns,
        "seconds": seconds,
        "connections": 1,
        "kilobytes": KILOBYTES,
        "algorithm": "rsa-sha256",
        "in_doubt_max": IN_DOUBT_MAX,
        "in_doubt_max_default": IN_DOUBT_DEFAULT,
        "delay": "made by the sink: each reply comes so late",
        "windows": {
            f"{trip}ms": median(one[f"window_{trip}ms"] for one in samples) for trip in TRIPS_MS
        },
    }
    return Measured(_results(samples), settings)


def _round(
    sinks: dict[tuple[int, bool], SinkProcess], skeleton: Skeleton, key: SigningKey, seconds: float
) -> Sample:
    sample: Sample = {}
    for trip in TRIPS_MS:  # these three are compared, so nothing comes between
        port = sinks[trip, True].port
        rate, width = uvloop.run(_sent(skeleton, key, port, IN_DOUBT_MAX, trip / 1000, seconds))
        sample[f"rtt_{trip}ms"] = rate
        sample[f"window_{trip}ms"] = width
    for trip in TRIPS_MS:
        for way, window in (("default", IN_DOUBT_DEFAULT), ("pipelined", 1)):
            port = sinks[trip, way == "default"].port
            rate, _ = uvloop.run(_sent(skeleton, key, port, window, trip / 1000, seconds / 2))
            sample[f"rtt_{trip}ms_{way}"] = rate
        sample[f"trip_{trip}ms"] = uvloop.run(_trip(sinks[trip, False].port))
    return sample


async def _trip(port: int) -> float:
    """Measure the round trip of a command, in s: the median of some."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    trips = []
    for _ in range(TRIPS_MEASURED):
        begin = time.perf_counter()
        writer.write(b"NOOP\r\n")
        await reader.readline()
        trips.append(time.perf_counter() - begin)
    writer.close()
    return median(trips)


async def _sent(
    skeleton: Skeleton, key: SigningKey, port: int, window: int, trip_s: float, seconds: float
) -> tuple[float, int]:
    """Send over one connection for a time. Returns messages a second, and the window at the end."""
    letters = Letters(skeleton, key)
    config = ClientConfig(ehlo_name="bench.example", tls="never", window=window)
    connection = await connect(letters, Endpoint(host="127.0.0.1", port=port), config)
    await asyncio.sleep(0.5 + WARM_TRIPS * trip_s)
    before, begin = letters.accepted, time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (letters.accepted - before) / (time.perf_counter() - begin)
    width = connection.session.window
    letters.open = False
    connection.quit()
    await letters.gone.wait()
    return rate, width


def _results(samples: list[Sample]) -> list[Result]:
    results = []
    near = [one["rtt_0ms"] for one in samples]
    for trip in TRIPS_MS:
        results += [
            rates(name, "1/s", [one[name] for one in samples], near)
            for name in (f"rtt_{trip}ms", f"rtt_{trip}ms_default")
        ]
    for trip in TRIPS_MS:
        name = f"rtt_{trip}ms_pipelined"
        values = [one[name] for one in samples]
        if trip:
            limits = [1 / one[f"trip_{trip}ms"] for one in samples]
            results.append(rates(name, "1/s", values, limits))
        else:
            results.append(plain(name, "1/s", values))
    return results
