"""Client and server of ours over real sockets on uvloop: what arrives, what is refused, what stays in doubt."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Aborted, Accepted, Lost, Rejected
from deliverability.smtp.policy import PENDING, Decision, Peer, reject
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_client import Endpoint, connect
from deliverability.transport.smtp_server import Decide, SmtpListener
from engine.errors import TransportError
from tests.deliverability.smtp.wire import RecordingPolicy, transaction
from tests.deliverability.transport.sockets import (
    CONFIG,
    HOST,
    Owner,
    at,
    body,
    clock,
    listen,
    run,
)


@pytest.mark.parametrize(
    "config",
    [
        ServerConfig(),
        ServerConfig(chunking=False),
        ServerConfig(pipelining=False),
        ServerConfig(chunking=False, pipelining=False),
    ],
    ids=["window", "pipelined", "lock-step-bdat", "lock-step"],
)
def test_messages_arrive_once_and_unchanged(config: ServerConfig) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy, config)
        owner = Owner(*(transaction(number, b"u%d@mx.test" % number) for number in range(200)))
        connections = [await connect(owner, at(listener), CONFIG) for _ in range(3)]
        await owner.over.wait()
        for connection in connections:
            assert connection.idle
            connection.quit()
        while len(owner.closings) < 3:
            owner.gone.clear()
            await owner.gone.wait()
        await listener.stop()
        assert all(isinstance(ending, Accepted) for ending in owner.endings.values())
        assert {closed.by for closed in owner.closings} == {"quit"}
        received = dict(policy.accepted())
        assert len(policy.messages) == 200
        assert received == {b"u%d@mx.test" % number: body(number) for number in range(200)}

    run(main)


def test_large_messages_pass_flow_control_both_ways() -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy)
        line = b"y" * 998 + b"\r\n"
        content = Content(line * 3_000, dot_free=True, checked=True)
        owner = Owner(*(transaction(number) for number in range(6)), content=content)
        await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        await listener.stop()
        assert [len(data) for _, data in policy.accepted()] == [3_000_000] * 6

    run(main)


def test_an_idle_connection_wakes_by_a_kick() -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy)
        owner = Owner(transaction(1))
        connection = await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        owner.over.clear()
        owner.count = 2
        owner.waiting.append(transaction(2))
        connection.kick()
        await owner.over.wait()
        await listener.stop()
        assert len(policy.messages) == 2

    run(main)


def test_nobody_listening_is_a_transport_error() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        with pytest.raises(TransportError) as caught:
            await connect(Owner(), Endpoint(host=HOST, port=port), CONFIG)
        assert caught.value.phase == "connect"

    run(main)


def test_the_source_address_is_used() -> None:
    async def main() -> None:
        seen: list[Peer] = []

        def policy(peer: Peer, _decide: Decide) -> RecordingPolicy:
            seen.append(peer)
            return RecordingPolicy()

        listener = await SmtpListener(ServerConfig(), policy, clock).start(HOST)
        owner = Owner(transaction(1))
        endpoint = msgspec.structs.replace(at(listener), source="127.0.0.77")
        await connect(owner, endpoint, CONFIG)
        await owner.over.wait()
        await listener.stop()
        assert [peer.address for peer in seen] == ["127.0.0.77"]

    run(main)


@pytest.mark.parametrize("chunking", [True, False])
def test_an_abort_never_delivers(chunking: bool) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy, ServerConfig(chunking=chunking))
        owner = Owner(transaction(1), content=Abort("cancelled"))
        connection = await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        if chunking:
            assert connection.idle
            connection.quit()
        await owner.gone.wait()
        await listener.stop()
        assert owner.endings == {1: Aborted("cancelled")}
        assert policy.messages == []
        assert owner.closings[0].by == ("quit" if chunking else "aborted")

    run(main)


def test_content_of_ours_that_could_smuggle_is_withdrawn() -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy)
        owner = Owner(transaction(1), content=Content(b"a\n.\nb\r\n"))
        await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        await listener.stop()
        ending = owner.endings[1]
        assert isinstance(ending, Aborted)
        assert "bare CR or LF" in ending.reason
        assert policy.messages == []

    run(main)


def test_refusals_and_delays_reach_the_owner() -> None:
    async def main() -> None:
        policy = RecordingPolicy(
            rcpt=[reject(550, "5.1.1", "unknown"), Decision(delay_ms=20)],
            message=[Decision(delay_ms=20), reject(452, "4.2.2", "full")],
        )
        listener = await listen(policy, ServerConfig(chunking=False))
        owner = Owner(*(transaction(number) for number in range(3)))
        await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        await listener.stop()
        phases = [
            ending.phase if isinstance(ending, Rejected) else type(ending).__name__
            for ending in (owner.endings[number] for number in range(3))
        ]
        assert phases == ["rcpt", "Accepted", "dot"]

    run(main)


def test_a_dot_without_reply_and_a_hang_up_leave_the_message_in_doubt() -> None:
    async def main() -> None:
        policy = RecordingPolicy(message=Decision(silent=True, disconnect="after"))
        listener = await listen(policy)
        owner = Owner(transaction(1))
        await connect(owner, at(listener), CONFIG)
        await owner.gone.wait()
        await listener.stop()
        ending = owner.endings[1]
        assert isinstance(ending, Lost)
        assert ending.begun
        assert len(policy.messages) == 1

    run(main)


def test_a_pending_decision_is_answered_when_it_is_made() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Durable(RecordingPolicy):
            def __init__(self, decide: Decide) -> None:
                super().__init__(message=PENDING)
                self.later = decide

            def decide(self, phase: str) -> Decision:
                decision = super().decide(phase)
                if decision.pending:
                    loop.call_soon(self.later, Decision())
                return decision

        listener = SmtpListener(ServerConfig(), lambda _peer, decide: Durable(decide), clock)
        await listener.start(HOST)
        owner = Owner(*(transaction(number) for number in range(5)))
        await connect(owner, at(listener), CONFIG)
        await owner.over.wait()
        await listener.stop()
        assert all(isinstance(ending, Accepted) for ending in owner.endings.values())

    run(main)


def test_an_idle_client_is_told_and_closed() -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy, idle_ms=50)
        owner = Owner(transaction(1))
        await connect(owner, at(listener), CONFIG)
        await owner.gone.wait()
        await listener.stop()
        assert isinstance(owner.endings[1], Accepted)
        assert owner.closings[0].by == "service"
        assert policy.closings == ["idle for too long"]

    run(main)


def test_a_listener_that_stops_leaves_nothing_open() -> None:
    async def main() -> None:
        policy = RecordingPolicy(message=Decision(delay_ms=60_000))
        listener = await listen(policy)
        owner = Owner(transaction(1))
        await connect(owner, at(listener), CONFIG)
        while "message" not in policy.asked:
            await asyncio.sleep(0)
        await listener.stop()
        await owner.gone.wait()
        assert isinstance(owner.endings[1], Lost)
        assert len(policy.closings) == 1

    run(main)
