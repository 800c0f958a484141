"""Peers that are silent, drip, or read nothing cost no more than their time-out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from deliverability.smtp.content import Content
from deliverability.smtp.endings import Lost
from deliverability.smtp.policy import Decision
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_client import Endpoint, Timeouts, connect
from tests.deliverability.smtp.wire import RecordingPolicy, transaction
from tests.deliverability.transport.sockets import (
    CONFIG,
    HOST,
    Owner,
    at,
    listen,
    run,
)


def test_new_messages_do_not_buy_an_old_one_time() -> None:
    async def main() -> None:
        policy = RecordingPolicy(message=Decision(silent=True))
        listener = await listen(policy)
        loop = asyncio.get_running_loop()
        owner = Owner(transaction(0))
        connection = await connect(owner, at(listener), CONFIG, timeouts=Timeouts(dot_ms=150))
        tokens = iter(range(1, 1_000))

        def another() -> None:
            if not owner.closings:
                owner.waiting.append(transaction(next(tokens)))
                connection.kick()
                loop.call_later(0.02, another)

        another()
        began = loop.time()
        await owner.gone.wait()
        await listener.stop()
        assert owner.closings[0].by == "timeout"
        assert loop.time() - began < 5

    run(main)


@pytest.mark.parametrize(
    ("phase", "timeouts", "decision"),
    [
        ("greeting", Timeouts(greeting_ms=50), {"connected": Decision(silent=True)}),
        ("mail", Timeouts(mail_ms=50), {"mail": Decision(delay_ms=10_000)}),
        ("rcpt", Timeouts(rcpt_ms=50), {"rcpt": Decision(silent=True)}),
        ("dot", Timeouts(dot_ms=50), {"message": Decision(silent=True)}),
    ],
)
def test_a_silent_server_costs_no_more_than_the_time_out(
    phase: str, timeouts: Timeouts, decision: dict[str, Decision]
) -> None:
    async def main() -> None:
        policy = RecordingPolicy(**decision)
        # In lock step no later reply moves into the place of the missing one.
        listener = await listen(policy, ServerConfig(pipelining=False))
        owner = Owner(transaction(1))
        await connect(owner, at(listener), CONFIG, timeouts=timeouts)
        await owner.gone.wait()
        await listener.stop()
        (closed,) = owner.closings
        assert (closed.by, closed.phase) == ("timeout", phase)
        if phase != "greeting":
            ending = owner.endings[1]
            assert isinstance(ending, Lost)
            assert (ending.phase, ending.begun) == (phase, phase == "dot")

    run(main)


class Dripping(asyncio.Protocol):
    """A server that sends line after line of a greeting that never ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.drip()

    def drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"220-still here\r\n")
            asyncio.get_running_loop().call_later(0.01, self.drip)


class Stalling(asyncio.Protocol):
    """A server that answers EHLO and then reads no more."""

    def __init__(self, made: list[Stalling]) -> None:
        made.append(self)
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"220 mx.test\r\n")

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()
        self.transport.write(b"250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def serve(protocol: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Server, Endpoint]:
    server = await asyncio.get_running_loop().create_server(protocol, HOST, 0)
    return server, Endpoint(host=HOST, port=server.sockets[0].getsockname()[1])


def test_half_a_reply_does_not_buy_time() -> None:
    async def main() -> None:
        server, endpoint = await serve(Dripping)
        owner = Owner()
        await connect(owner, endpoint, CONFIG, timeouts=Timeouts(greeting_ms=100))
        await owner.gone.wait()
        assert owner.closings[0].by == "timeout"
        server.close()

    run(main)


def test_a_peer_that_reads_nothing_is_given_up() -> None:
    async def main() -> None:
        made: list[Stalling] = []
        server, endpoint = await serve(lambda: Stalling(made))
        content = Content(b"z" * 20_000_000 + b"\r\n", dot_free=True, checked=True)
        owner = Owner(transaction(1), content=content)
        await connect(owner, endpoint, CONFIG, timeouts=Timeouts(block_ms=100))
        await owner.gone.wait()
        server.close()
        made[0].transport.abort()  # it reads nothing, so it doesn't hear of the end
        await made[0].gone.wait()
        ending = owner.endings[1]
        assert isinstance(ending, Lost)
        assert ending.begun
        assert owner.closings[0].by == "timeout"

    run(main)
