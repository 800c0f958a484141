"""A delivery over real sockets: endings become outcomes, the mark comes before the dot, idle connections close."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import pytest
import uvloop

from deliverability.egress import Egress
from deliverability.message.records import AttemptOutcome
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.delivery import Delivery
from deliverability.transport.smtp_client import Endpoint, Timeouts
from deliverability.transport.target import Rendered, Target, Verdict
from deliverability.transport.turns import SLICE_S, Turns
from engine.errors import InputError, StoreError
from engine.vocabulary import Message

ROUTE = "default/example.org"
BODY = b"Subject: x\r\n\r\nhello\r\n"


class Server:
    """A mail server of few words: replies by the local part of the recipient."""

    def __init__(self, greeting: str = "220 hello") -> None:
        self.greeting = greeting
        self.accepted: list[str] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.greeting.encode() + b"\r\n")
        recipient = ""
        while line := (await reader.readline()).decode().strip():
            word = line[:4].upper()
            if word == "RCPT":
                recipient = line.partition("<")[2].partition("@")[0]
            if word == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                try:
                    await reader.readuntil(b"\r\n.\r\n")
                except asyncio.IncompleteReadError:
                    break
                if recipient.startswith("silent"):
                    break
                self.accepted.append(recipient)
            writer.write(self._reply(word, recipient))
        writer.close()

    def _reply(self, word: str, recipient: str) -> bytes:
        if word == "EHLO":
            return b"250-here\r\n250 8BITMIME\r\n"
        if word == "RCPT" and recipient.startswith("grey"):
            return b"451 4.7.1 come back\r\n"
        if word == "RCPT" and recipient.startswith("gone"):
            return b"550 5.1.1 no such user\r\n"
        return b"250 2.0.0 fine\r\n"


class Marks:
    """A ledger in memory; can be full."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.full = ""

    def begin(self, message_id: bytes, attempt: int) -> None:
        if self.full == "begin":
            raise StoreError("no space for a mark")
        self.begun.append(message_id)

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        if self.full == "conclude":
            raise StoreError("no space for an outcome")

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        pass


class Letters:
    """Renders the same for everybody, but not for one."""

    def reverse_path(self, message: Message) -> bytes:
        return b"bounce@sender.example"

    def render(self, message: Message) -> Rendered:
        if message.address.startswith("broken"):
            raise InputError("the template has no subject")
        if message.address.startswith("unread"):
            raise StoreError("too many open files")
        return Rendered(BODY)


def _message(name: str, n: int) -> Message:
    return Message(
        message_id=n.to_bytes(16),
        tenant="t",
        attempt=1,
        route=ROUTE,
        message_class=2,
        template="welcome",
        address=f"{name}@example.org",
        display_name="",
        variables={},
        stream="marketing",
        scenario="",
        step="",
        date=0,
        not_after=1 << 50,
        incarnation=1,
        contact=b"0000c",
    )


class World:
    """A server, an egress and its delivery."""

    def __init__(self, server: Server, port: int, marks: Marks, **target: Any) -> None:
        self.server = server
        self.marks = marks
        self.egress = Egress(b"w0", 1, marks)
        self.told = asyncio.Event()
        self.target: Target | AttemptOutcome = Target(
            Endpoint(host="127.0.0.1", port=port),
            ClientConfig(ehlo_name="out.sender.test", tls="never"),
            Timeouts(),
            **target,
        )
        self.delivery = Delivery(
            self.egress, Letters(), lambda _: self.target, _classify, lambda: 77, self.told.set
        )

    def hand_over(self, *names: str) -> None:
        for n, name in enumerate(names):
            self.egress.accept(1, _message(name, n + 1), 0)
        self.delivery.pump()

    async def outcomes(self, number: int) -> dict[str, AttemptOutcome]:
        """Wait until so many are concluded."""
        got: dict[str, AttemptOutcome] = {}
        while len(got) < number:
            self.told.clear()
            for one in self.egress.outcomes():
                got[one.message.address.partition("@")[0]] = one.outcome
            if len(got) < number:
                await self.told.wait()
        return got


def _classify(code: int, enhanced: str, text: str, phase: str) -> Verdict:
    return Verdict(
        "greylisted" if code < 500 else "unknown-user", "retry" if code < 500 else "fail"
    )


def _in_world(
    main: Callable[[World], Coroutine[Any, Any, None]], greeting: str = "220 hello", **target: Any
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            server = Server(greeting)
            listening = await asyncio.start_server(server, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            world = World(server, port, Marks(), **target)
            try:
                await main(world)
            finally:
                await world.delivery.close(1)
                listening.close()

    uvloop.run(bounded())


def test_each_ending_becomes_its_outcome() -> None:
    """Accepted, refused for now and for good, lost after the dot, not composed: one each, with its phase and reply."""

    async def main(world: World) -> None:
        world.hand_over("ada", "grey", "gone", "silent", "broken", "unread")
        got = await world.outcomes(6)
        assert {name: (o.kind, o.cause) for name, o in got.items()} == {
            "ada": ("delivered", ""),
            "grey": ("deferred", "greylisted"),
            "gone": ("bounced", "unknown-user"),
            "silent": ("in_doubt", "connection"),
            "broken": ("bounced", "content"),
            "unread": ("deferred", "content"),
        }
        assert (got["gone"].code, got["gone"].phase, got["gone"].at) == (550, "rcpt", 77)
        assert world.marks.begun == [(1).to_bytes(16), (4).to_bytes(16)]
        assert world.server.accepted == ["ada"]
        assert world.egress.in_hand == 0

    _in_world(main, connections_max=1)


def test_a_connection_carries_many_messages() -> None:
    """No more connections than the lease allows, no more messages on each than the target likes."""

    async def main(world: World) -> None:
        world.hand_over(*(f"p{n}" for n in range(30)))
        got = await world.outcomes(30)
        assert {o.kind for o in got.values()} == {"delivered"}
        assert world.server.connections >= 3
        assert world.delivery.open_connections <= 2

    _in_world(main, connections_max=2, messages_per_connection=10)


def test_a_route_that_nobody_uses_is_forgotten_and_made_again() -> None:
    """Its messages stay counted; one with a connection, or used lately, is kept."""

    async def main(world: World) -> None:
        world.delivery.routes_kept = 0
        world.hand_over("ada", "bob")
        assert len(await world.outcomes(2)) == 2
        world.delivery.tick()
        assert list(world.delivery.routes) == [ROUTE], "its connection is open"
        await world.delivery.close(1)
        world.delivery.tick()
        assert list(world.delivery.routes) == [ROUTE], "it was used lately"
        world.delivery.forget_s = 0.0
        world.delivery.tick()
        assert world.delivery.routes == {}
        assert world.delivery.sent() == {"": 2}
        world.delivery.closing = False
        world.delivery.emptied.clear()
        world.egress.accept(1, _message("eve", 3), 0)
        world.delivery.pump()
        assert (await world.outcomes(1))["eve"].kind == "delivered"
        assert world.delivery.sent() == {"": 2, ROUTE: 1}

    _in_world(main)


def test_a_route_without_a_target_defers_what_waits_for_it() -> None:
    """Nobody can say where it leads."""

    async def main(world: World) -> None:
        world.target = AttemptOutcome(0, "deferred", "routing", text="no target for the route")
        world.hand_over("ada", "bob")
        got = await world.outcomes(2)
        assert {(o.kind, o.cause) for o in got.values()} == {("deferred", "routing")}

    _in_world(main)


def test_a_server_that_wont_have_us_defers_all_and_is_asked_less_often() -> None:
    """Its greeting is classified; the route backs off."""

    async def main(world: World) -> None:
        world.hand_over("ada", "bob")
        got = await world.outcomes(2)
        assert {o.kind for o in got.values()} == {"deferred"}
        assert world.marks.begun == []
        world.hand_over("cyd")
        assert world.delivery.routes[ROUTE].opening == 0

    _in_world(main, greeting="421 4.3.2 not now", connections_max=1)


@pytest.mark.parametrize(("full", "kind"), [("begin", "unattempted"), ("conclude", "delivered")])
def test_a_full_ledger_lets_nothing_leave_and_loses_no_outcome(full: str, kind: str) -> None:
    """Without a mark the transaction is given up; without room for the outcome it is told all the same."""

    async def main(world: World) -> None:
        world.marks.full = full
        world.hand_over("ada")
        got = await world.outcomes(1)
        assert got["ada"].kind == kind
        assert world.server.accepted == ([] if full == "begin" else ["ada"])
        assert world.delivery.ledger_failures == (full == "conclude")

    _in_world(main, connections_max=1)


def test_a_cancelled_message_is_withdrawn_before_its_mark() -> None:
    """While it waits; the delivery then has nothing to do."""

    async def main(world: World) -> None:
        world.egress.accept(1, _message("ada", 1), 0)
        world.egress.cancel((1).to_bytes(16), 1)
        world.delivery.tick()
        got = await world.outcomes(1)
        assert got["ada"].kind == "cancelled"
        assert world.server.connections == 0

    _in_world(main)


class Slow(Server):
    """Takes several mails at once, and answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = asyncio.Event()
        self.came = asyncio.Event()
        self.wanted = 0
        self.begun: list[int] = []  # mails that came, by connection

    def await_mails(self, number: int) -> None:
        """Have `came` set when so many mails are here that aren't answered."""
        self.wanted = number
        self.begun = [0] * len(self.begun)
        self.came.clear()
        self.answer.clear()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = len(self.begun)
        self.begun.append(0)
        writer.write(b"220 hello\r\n")
        pending: list[asyncio.Task[None]] = []
        while line := (await reader.readline()).decode().strip():
            word = line[:4].upper()
            if word == "EHLO":
                writer.write(b"250-here\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
            elif word == "BDAT":
                await reader.readexactly(int(line.split()[1]))
                self.begun[me] += 1
                if sum(self.begun) == self.wanted:
                    self.came.set()
                pending.append(asyncio.ensure_future(self._answer(writer)))
            elif word == "QUIT":
                break
        for task in pending:
            task.cancel()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        await self.answer.wait()
        writer.write(b"250 a\r\n250 b\r\n250 c\r\n")


def _before_a_slow_one(
    main: Callable[[World, Slow], Coroutine[Any, Any, None]], connections: int
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            server = Slow()
            listening = await asyncio.start_server(server, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            world = World(server, port, Marks(), connections_max=connections)
            try:
                await main(world, server)
            finally:
                await world.delivery.close(1)
                listening.close()

    uvloop.run(bounded())


async def _grow_windows(world: World, server: Slow) -> None:
    """Let every connection's window open, and let the server be known for slow."""
    server.answer.set()
    for number in range(60):
        world.egress.accept(1, _message(f"w{number}", 1000 + number), 0)
    world.delivery.pump()
    assert len(await world.outcomes(60)) == 60
    route = world.delivery.routes[ROUTE]
    for _ in range(20_000):  # as if all had taken long
        route.filling.accepted(1.0)
    assert route.filling.spreads


def test_mails_for_a_slow_server_fill_connections_before_windows() -> None:
    """Each of four connections has two of eight mails, though one window could take more."""

    async def main(world: World, server: Slow) -> None:
        await _grow_windows(world, server)
        assert max(one.session.window for one in world.delivery.routes[ROUTE].connections) > 2
        server.await_mails(8)
        world.hand_over(*(f"p{n}" for n in range(8)))
        await server.came.wait()
        assert server.begun == [2, 2, 2, 2]
        server.answer.set()
        assert {one.kind for one in (await world.outcomes(8)).values()} == {"delivered"}

    _before_a_slow_one(main, connections=4)


def test_a_slow_server_is_given_more_connections_before_deeper_windows() -> None:
    """As many as are allowed; mails don't wait for them to open, which may never be."""

    async def main(world: World, server: Slow) -> None:
        await _grow_windows(world, server)
        route = world.delivery.routes[ROUTE]
        assert len(route.connections) == 1
        route.target = msgspec.structs.replace(route.target, connections_max=3)
        server.await_mails(2)
        world.hand_over("ada", "bob")
        await server.came.wait()
        assert 2 <= len(route.connections) + route.opening <= 3
        server.answer.set()
        assert len(await world.outcomes(2)) == 2

    _before_a_slow_one(main, connections=1)


def test_an_urgent_message_is_composed_at_hand_over_on_the_emptiest_connection() -> None:
    """However much bulk waits for its turn."""

    async def main(world: World, server: Slow) -> None:
        await _grow_windows(world, server)
        server.answer.clear()
        ticking = itertools.count()  # a look at the clock takes as long as a signature
        loop = asyncio.get_running_loop()
        world.delivery.turns = Turns(loop.call_soon, lambda: next(ticking) * SLICE_S / 2)
        for number in range(200):
            world.egress.accept(1, _message(f"b{number}", 3000 + number), 0)
        world.delivery.pump()
        assert len(world.marks.begun) < 60 + 8, "the slice of this turn is used up"
        code = msgspec.structs.replace(_message("code", 1), message_class=1)
        world.egress.accept(1, code, 0)
        world.delivery.pump()
        assert code.message_id in world.marks.begun, "before the loop turned"
        server.answer.set()
        assert len(await world.outcomes(201)) == 201

    _before_a_slow_one(main, connections=4)
