"""Client and server over real sockets on uvloop: both ours, then against aiosmtpd."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest
import uvloop
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Aborted, Accepted, Closed, Ending, Lost, Rejected
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig, Credentials
from deliverability.smtp.policy import PENDING, Decision, Peer, reject
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_client import Connection, Endpoint, Timeouts, connect
from deliverability.transport.smtp_server import Decide, SmtpListener
from engine.errors import TransportError
from tests.deliverability.smtp.wire import RecordingPolicy, transaction

HOST = "127.0.0.1"
CONFIG = ClientConfig(ehlo_name="out.sender.test", tls="never")
T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await main()

    return uvloop.run(bounded())


class Owner:
    """Gives its transactions to whoever asks; `over` is set when all have ended or all is closed."""

    def __init__(self, *transactions: Transaction, content: Content | Abort | None = None) -> None:
        self.waiting = deque(transactions)
        self.count = len(transactions)
        self.fixed = content
        self.endings: dict[object, Ending] = {}
        self.closings: list[Closed] = []
        self.asked: list[object] = []
        self.over = asyncio.Event()
        self.gone = asyncio.Event()

    def next_transaction(self, connection: Connection) -> Transaction | None:
        return self.waiting.popleft() if self.waiting else None

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort:
        self.asked.append(transaction.token)
        return self.fixed if self.fixed is not None else Content(body(transaction.token))

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        assert transaction.token not in self.endings
        self.endings[transaction.token] = ending
        if len(self.endings) == self.count:
            self.over.set()

    def closed(self, connection: Connection, closed: Closed) -> None:
        self.closings.append(closed)
        self.gone.set()


def body(token: object) -> bytes:
    return f"Subject: {token}\r\n\r\n.dot\r\n.\r\n{'x' * 70}\r\n".encode()


def clock() -> int:
    return 1_700_000_000_000


async def listen(
    policy: RecordingPolicy,
    config: ServerConfig | None = None,
    context: ssl.SSLContext | None = None,
    idle_ms: int = 60_000,
) -> SmtpListener:
    listener = SmtpListener(
        config or ServerConfig(),
        lambda _peer, _decide: policy,
        clock,
        context=context,
        idle_ms=idle_ms,
    )
    return await listener.start(HOST)


def at(listener: SmtpListener) -> Endpoint:
    return Endpoint(host=HOST, port=listener.port)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for mx.test, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mx.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


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


def test_starttls_with_a_checked_certificate(certificate: tuple[Path, Path]) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        config = ServerConfig(starttls=True, requiretls=True, auth=True)
        listener = await listen(policy, config, server_context(certificate))
        owner = Owner(*(transaction(number) for number in range(50)))
        connection = await connect(
            owner,
            msgspec.structs.replace(at(listener), tls_name="mx.test"),
            msgspec.structs.replace(
                CONFIG, tls="required", credentials=Credentials(username="ann", password="pw")
            ),
            context=ssl.create_default_context(cafile=str(certificate[0])),
        )
        await owner.over.wait()
        assert connection.session.tls
        assert connection.session.capabilities.requiretls
        connection.quit()
        await owner.gone.wait()
        await listener.stop()
        assert len(policy.messages) == 50
        assert [peer.tls for peer in policy.peers] == [False, True]
        assert policy.logins == [("ann", "pw")]

    run(main)


def test_a_certificate_that_does_not_fit_ends_the_session(certificate: tuple[Path, Path]) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy, ServerConfig(starttls=True), server_context(certificate))
        owner = Owner(transaction(1))
        await connect(
            owner,
            msgspec.structs.replace(at(listener), tls_name="other.test"),
            msgspec.structs.replace(CONFIG, tls="required"),
            context=ssl.create_default_context(cafile=str(certificate[0])),
        )
        await owner.gone.wait()
        await listener.stop()
        (closed,) = owner.closings
        assert closed.phase == "tls"
        assert "certificate" in closed.reason
        assert owner.endings == {}
        assert policy.messages == []

    run(main)


def test_implicit_tls(certificate: tuple[Path, Path]) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = SmtpListener(
            ServerConfig(),
            lambda _peer, _decide: policy,
            clock,
            context=server_context(certificate),
            implicit_tls=True,
        )
        await listener.start(HOST)
        config = msgspec.structs.replace(CONFIG, tls="implicit")
        endpoint = msgspec.structs.replace(at(listener), tls_name="mx.test")
        context = ssl.create_default_context(cafile=str(certificate[0]))
        owner = Owner(transaction(1))
        connection = await connect(owner, endpoint, config, context=context)
        await owner.over.wait()
        assert connection.session.tls
        assert [peer.tls for peer in policy.peers] == [True]
        wrong = msgspec.structs.replace(endpoint, tls_name="other.test")
        with pytest.raises(TransportError) as caught:
            await connect(Owner(), wrong, config, context=context)
        assert caught.value.phase == "tls"
        connection.quit()
        await owner.gone.wait()
        await listener.stop()

    run(main)


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


class Sink:
    """Handler of aiosmtpd that keeps what it takes."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:
        if "no" in envelope.rcpt_tos[0]:
            return "550 5.1.1 no such user"
        self.taken[envelope.rcpt_tos[0]] = envelope.original_content
        return "250 2.0.0 taken"


@pytest.fixture
def aiosmtpd(certificate: tuple[Path, Path]) -> Iterator[tuple[Sink, int]]:
    sink = Sink()

    def authenticate(
        _server: SMTP, _session: Any, _envelope: Any, _mechanism: str, login: Any
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        success = (login.login, login.password) == (b"ann", b"pw")
        return AuthResult(success=success, handled=False)

    controller = Controller(
        sink,
        hostname=HOST,
        port=0,
        tls_context=server_context(certificate),
        authenticator=authenticate,
        enable_SMTPUTF8=True,
    )
    with socket.socket() as free:
        free.bind((HOST, 0))
        controller.port = free.getsockname()[1]
    controller.start()
    yield sink, controller.port
    controller.stop()


def test_aiosmtpd_takes_what_we_send(
    aiosmtpd: tuple[Sink, int], certificate: tuple[Path, Path]
) -> None:
    """A server that others wrote: byte-exact, in clear, with STARTTLS and AUTH, refusals told apart."""
    sink, port = aiosmtpd

    async def main() -> None:
        for number, config in enumerate(
            (
                CONFIG,
                msgspec.structs.replace(CONFIG, tls="required"),
                msgspec.structs.replace(
                    CONFIG, tls="required", credentials=Credentials(username="ann", password="pw")
                ),
            )
        ):
            names = [f"u{number}-{index}@mx.test" for index in range(20)] + [f"no{number}@mx.test"]
            owner = Owner(*(transaction(name, name.encode()) for name in names))
            connection = await connect(
                owner,
                Endpoint(host=HOST, port=port, tls_name="mx.test"),
                config,
                context=ssl.create_default_context(cafile=str(certificate[0])),
            )
            await owner.over.wait()
            assert connection.session.tls == (config.tls == "required")
            connection.quit()
            await owner.gone.wait()
            assert owner.closings[0].by == "quit"
            assert isinstance(owner.endings.pop(names[-1]), Rejected)
            assert all(isinstance(ending, Accepted) for ending in owner.endings.values())
            for name in names[:-1]:
                assert sink.taken[name] == body(name)

    run(main)


def test_aiosmtpd_refuses_wrong_credentials(
    aiosmtpd: tuple[Sink, int], certificate: tuple[Path, Path]
) -> None:
    _, port = aiosmtpd

    async def main() -> None:
        owner = Owner(transaction(1))
        await connect(
            owner,
            Endpoint(host=HOST, port=port, tls_name="mx.test"),
            msgspec.structs.replace(
                CONFIG, tls="required", credentials=Credentials(username="ann", password="wrong")
            ),
            context=ssl.create_default_context(cafile=str(certificate[0])),
        )
        await owner.gone.wait()
        (closed,) = owner.closings
        assert (closed.by, closed.phase) == ("refused", "auth")
        assert closed.reply is not None
        assert closed.reply.code == 535

    run(main)
