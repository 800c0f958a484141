"""Case `peers`: messages a second from SMTP in to SMTP out, beside mail servers that are installed.

The same messages (10 KB, one recipient each) over the same injecting connections into each server, signed with the same
RSA-2048 key, and out to the same sink; from the injector's first octet until the last message has arrived. All are
started before, and measured in turns. Everybody says 250 when the message is durable, as they define it: Postfix and
Veredus have synced it to the disk; Haraka has written a file.

Nothing is installed: what isn't there is named in `settings.skipped`. The ceiling is Postfix with OpenDKIM, so that the
ratio says how many times faster somebody is (more than 1 here, unlike in other cases).
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import shutil
import signal
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.frame import Measured, Result, plain, rates, say
from bench.peers_servers import Peer, Site, peers
from bench.sink import SinkProcess
from deliverability.dkim.keys import generate_pem
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Accepted, Closed, Ending
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.smtp_client import Connection, Endpoint, connect

DOMAIN = "sender.example"
SELECTOR = "s1"
CONNECTIONS = 20
DOMAINS = 20
OCTETS = 10_000
KEEP = 100
ARRIVE_S = 120.0
HELD_AGAINST = "postfix_opendkim"
FIRST_S = 2.0
"""A first, uncounted run tells how many messages a run of the wanted length takes."""
WARM = 200


class RefusalError(Exception):
    """A server took connections, but not our mail."""


class Injector:
    """Gives messages to one server over some connections."""

    def __init__(self, first: int, number: int) -> None:
        self._next = first
        self._end = first + number
        self._open = number
        self._connections = CONNECTIONS
        self.refused = ""
        self.done = asyncio.Event()
        self.gone = asyncio.Event()

    def next_transaction(self, connection: Connection) -> Transaction | None:
        """Give the next message."""
        del connection
        if self._next == self._end:
            return None
        number = self._next
        self._next += 1
        recipient = b"c%d@d%d.example" % (number, number % DOMAINS)
        return Transaction(number, b"bounces@" + DOMAIN.encode(), recipient, OCTETS)

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort | None:
        """Give its content."""
        del connection
        assert isinstance(transaction.token, int), "tokens are numbers"
        return Content(_message(transaction.token), dot_free=True, checked=True)

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        """Hear an ending, which is good."""
        del connection, transaction
        if not isinstance(ending, Accepted):
            self.refused = self.refused or str(ending)[:300]
        self._open -= 1
        if not self._open or self.refused:
            self.done.set()

    def closed(self, connection: Connection, closed: Closed) -> None:
        """Hear that a connection has ended."""
        del connection, closed
        self._connections -= 1
        if not self._connections:
            self.gone.set()


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    del seed
    turns, seconds = (2, 4.0) if quick else (3, 15.0)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    key = folder / "key.pem"
    key.write_bytes(generate_pem("rsa-sha256"))
    key.chmod(0o644)  # made for this run; the daemons of peers aren't root
    signal.signal(signal.SIGTERM, _ended)  # servers in sessions of their own must not outlive us
    started: list[Peer] = []
    skipped: dict[str, str] = {}
    try:
        with SinkProcess(folder / "sink", keep=KEEP) as sink:
            site = Site(sink.port, DOMAIN, SELECTOR, str(key))
            for peer in peers():
                if peer.missing:
                    skipped[peer.name] = f"not installed: {peer.missing}"
                    say(f"  {peer.name} is skipped, {skipped[peer.name]}")
                    continue
                (folder / peer.name).mkdir()
                try:
                    started.append(peer.start(folder / peer.name, site))
                except (RuntimeError, OSError, LookupError) as error:
                    skipped[peer.name] = f"didn't start: {str(error)[:600]}"
                    say(f"  {peer.name} is skipped, {skipped[peer.name]}")
            found, doors = _turns(started, sink, turns, seconds, skipped)
    finally:
        for peer in started:
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
    settings: dict[str, Any] = {
        "rounds": turns,
        "seconds": seconds,
        "octets": OCTETS,
        "injecting_connections": CONNECTIONS,
        "door": "SMTP submission without TLS and AUTH, for all",
        "messages_a_round": doors,
        "skipped": skipped,
    }
    return Measured(_results(found), settings)


def _ended(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _turns(
    peers: list[Peer], sink: SinkProcess, turns: int, seconds: float, skipped: dict[str, str]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Measure all in turns. Returns rates, and how many messages a round has, by name."""
    numbers: dict[str, int] = {}
    at = 0
    for peer in list(peers):
        try:
            _through(peer, sink, at, WARM)
            first = int(_through(peer, sink, at + WARM, WARM) * FIRST_S) + 1
            rate = _through(peer, sink, at + 2 * WARM, first)
        except RefusalError as error:
            skipped[peer.name] = str(error)
            say(f"  {peer.name} is skipped: {error}")
            peer.stop()  # or what it did take would arrive among the others'
            peers = [one for one in peers if one is not peer]
            at += 3 * WARM
            sink.kept()
            continue
        numbers[peer.name] = max(int(rate * seconds), WARM)
        at += 2 * WARM + first
        _signed(peer, sink)
    found: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(turns):
        for peer in peers:
            number = numbers[peer.name]
            rate = _through(peer, sink, at, number)
            at += number
            found[peer.name].append(rate)
            _signed(peer, sink)
            say(f"  round {turn + 1} of {turns}: {peer.name} {rate:.0f}/s of {number:,}")
    return found, numbers


def _through(peer: Peer, sink: SinkProcess, first: int, number: int) -> float:
    """Bring messages through one server. Returns messages a second."""
    return uvloop.run(_injected(peer, sink, first, number))


async def _injected(peer: Peer, sink: SinkProcess, first: int, number: int) -> float:
    wanted = sink.count() + number
    config = ClientConfig(ehlo_name="client.example", tls="never", pipelining=peer.pipelining)
    begin = time.perf_counter()
    injector = Injector(first, number)
    endpoint = Endpoint(host="127.0.0.1", port=peer.port)
    connections = [await connect(injector, endpoint, config) for _ in range(CONNECTIONS)]
    await injector.done.wait()
    if injector.refused:
        raise RefusalError(f"{peer.name} refused a message: {injector.refused}")
    deadline = time.perf_counter() + ARRIVE_S
    while sink.count() < wanted:
        assert time.perf_counter() < deadline, (
            f"{peer.name}: {wanted - sink.count()} messages never arrived"
        )
        await asyncio.sleep(0.002)
    last = time.perf_counter()
    for connection in connections:
        connection.quit()
    await injector.gone.wait()
    assert sink.count() == wanted, f"{peer.name}: no message arrives twice"
    return number / (last - begin)


def _signed(peer: Peer, sink: SinkProcess) -> None:
    for mail in sink.kept():
        head = mail.partition(b"\r\n\r\n")[0]
        assert b"d=" + DOMAIN.encode() in head, f"{peer.name} didn't sign"


def _message(number: int) -> bytes:
    head = (
        f"From: Shop <hello@{DOMAIN}>\r\nTo: <c{number}@d{number % DOMAINS}.example>\r\n"
        f"Subject: Your order {number}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{number}.bench@{DOMAIN}>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    line = "A line of a message that is as long as lines of messages usually are, more or less.\r\n"
    return (head + line * ((OCTETS - len(head)) // len(line))).encode()


def _results(found: dict[str, list[float]]) -> list[Result]:
    held = found.get(HELD_AGAINST)
    results = []
    for name, values in found.items():
        if held is None:
            results.append(plain(name, "1/s", values))
        else:
            results.append(rates(name, "1/s", values, held))
    if held is not None and "veredus" in found:
        times = median(a / b for a, b in zip(found["veredus"], held, strict=True))
        say(f"  veredus does {times:.1f} times what Postfix with OpenDKIM does")
    return results
