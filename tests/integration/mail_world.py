"""A small world of mail: hosts on 127.0.0.x, a name server, and an office that sends as a worker does, without Ray."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from actors.worker.assembly import classify
from actors.worker.ways import Ways, build_ways
from actors.worker.wire import WorkerSettings
from deliverability.dns.zone import parse_zone
from deliverability.egress import Egress
from deliverability.governor import Lease
from deliverability.message.records import AttemptOutcome
from deliverability.smtp.policy import ACCEPT, Decision, Envelope, Peer, reject
from deliverability.smtp.server import ServerConfig
from deliverability.transport.delivery import Delivery
from deliverability.transport.smtp_server import Decide, ServerConnection, SmtpListener
from deliverability.transport.target import Rendered
from engine.config import Config, parse
from engine.vocabulary import Message
from tests.integration.name_server import NameServer, serving

BODY = b"From: a@shop.example\r\nSubject: x\r\n\r\nhello\r\n"
DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates for names; `file` is its own, to be trusted."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self._name, self._key, "", DAY)
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def context(
        self, host: str, *, expired: bool = False
    ) -> tuple[ssl.SSLContext, x509.Certificate]:
        """Make a server's context with a new key, and the certificate; the chain is sent with it."""
        key = rsa.generate_private_key(65537, 2048)  # OpenSMTPD takes no other
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = self._build(name, key, host, -DAY / 2 if expired else DAY)
        file = self._folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + made.public_bytes(Encoding.PEM)
            + self.certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context, made

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        host: str,
        left: dt.timedelta,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + left)
            .add_extension(x509.BasicConstraints(ca=not host, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
            use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(use, critical=False)
        else:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
            ).add_extension(
                x509.KeyUsage(True, False, False, False, False, True, True, False, False), True
            )
        return builder.sign(self._key, hashes.SHA256())


Manner = Literal["good", "refuses", "hangs at the dot", "hangs at mail", "breaks TLS"]


class MailHost:
    """A mail server on one loopback address; its manner may change while it runs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.manner: Manner = "good"
        self.taken: list[tuple[bytes, bytes]] = []
        self.peers: list[Peer] = []
        self.logins: list[tuple[str, str]] = []
        self._listener: SmtpListener | None = None

    @property
    def recipients(self) -> list[str]:
        """Whom mail was taken for."""
        return [path.decode() for path, _ in self.taken]

    async def start(
        self, port: int, context: ssl.SSLContext | None = None, *, auth: bool = False
    ) -> None:
        config = ServerConfig(host_name="mx.test", starttls=context is not None, auth=auth)
        self._listener = SmtpListener(config, self._policy, lambda: 0, context=context)
        await self._listener.start(self.address, port)

    async def stop(self) -> None:
        """Die: all connections are cut."""
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._listener.connections) if self._listener is not None else 0

    def live(self) -> list[ServerConnection]:
        """List its connections."""
        return list(self._listener.connections) if self._listener is not None else []

    def _policy(self, peer: Peer, decide: Decide) -> _Policy:
        return _Policy(self)


class _Policy:
    def __init__(self, host: MailHost) -> None:
        self._host = host

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        if self._host.manner == "refuses":
            return reject(554, "5.3.2", "no service", disconnect="after")
        return ACCEPT

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        return ACCEPT

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        self._host.logins.append((username, password))
        return ACCEPT if password == "secret" else reject(535, "5.7.8", "no")

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return Decision(silent=self._host.manner == "hangs at mail")

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        return ACCEPT

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return ACCEPT

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        if self._host.manner == "hangs at the dot":
            return Decision(silent=True)
        self._host.peers.append(peer)
        self._host.taken += [(path, content) for path in envelope.forward_paths]
        return ACCEPT

    def closed(self, reason: str) -> None:
        pass


class Marks:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []

    def begin(self, message_id: bytes, attempt: int) -> None:
        self.begun.append(message_id)

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        pass

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        pass


class Letters:
    """The same content for everybody."""

    def reverse_path(self, message: Message) -> bytes:
        return b"bounce@shop.example"

    def render(self, message: Message) -> Rendered:
        return Rendered(BODY)


class Office:
    """Sends as a worker does: credits by the gate, hand-over, outcomes; and tries again as told."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.news = asyncio.Event()
        settings = WorkerSettings(
            index=0, count=1, config=config, data_dir=str(folder), twin_port=0
        )
        lease = Lease(5, None, 1000, None, 1, 5000)
        self.ways: Ways = build_ways(settings, lambda _: lease, classify, self.news.set)
        self.marks = Marks()
        self.egress = Egress(b"w0", 1, self.marks, queue_of=self.ways.queue_of)
        self.delivery = Delivery(
            self.egress,
            Letters(),
            self.ways.target_of,
            classify,
            lambda: 0,
            self.news.set,
            self.ways.look,
            self.ways.close,
        )
        self._attempts: dict[str, int] = {}

    async def send(self, *addresses: str, pool: str = "default") -> dict[str, AttemptOutcome]:
        """Hand messages over and give their outcomes."""
        for address in addresses:
            await self.hand_over(address, pool)
        return await self.outcomes(len(addresses))

    async def hand_over(self, address: str, pool: str = "default") -> None:
        """Wait until it is known where to, then hand one message over."""
        route = f"{pool}/{address.rpartition('@')[2]}"
        while self.ways.gate.available(route, 0) == 0:
            self.news.clear()
            await self.news.wait()
        attempt = self._attempts[address] = self._attempts.get(address, 0) + 1
        self.egress.accept(1, _message(address, attempt, route), 0)
        self.delivery.pump()

    async def outcomes(self, number: int) -> dict[str, AttemptOutcome]:
        """Wait until so many are concluded."""
        got: dict[str, AttemptOutcome] = {}
        while len(got) < number:
            self.news.clear()
            for one in self.egress.outcomes():
                got[one.message.address] = one.outcome
            if len(got) < number:
                await self.news.wait()
        return got

    async def ticking(self, until: Callable[[], bool]) -> None:
        """Tick as a worker's loop does, until something is so."""
        while not until():
            self.delivery.tick()
            await asyncio.sleep(0.01)


def _message(address: str, attempt: int, route: str) -> Message:
    number = int.from_bytes(address.encode()[-15:])
    return Message(
        message_id=number.to_bytes(16),
        tenant="default",
        attempt=attempt,
        route=route,
        message_class=2,
        template="welcome",
        address=address,
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


def free_port(addresses: Sequence[str]) -> int:
    """Give a port that is free on all these addresses."""
    while True:
        with socket.create_server((addresses[0], 0)) as first:
            port: int = first.getsockname()[1]
        try:
            for address in addresses:
                socket.create_server((address, port)).close()
        except OSError:
            continue
        return port


_LIVE = """
[delivery]
mode = "live"
allow = "any"
ehlo_name = "out.shop.example"
port = {port}
{networks}
attempt_log = "off"
[delivery.dns]
nameservers = ["127.0.0.1"]
port = {dns}
timeout_s = 2
validates = {validates}
[[tenant]]
from_domains = ["shop.example"]
[[tenant.dkim]]
domain = "shop.example"
selector = "s"
key_file = "k.pem"
[delivery.tls]
{tls}
{more}
"""


class World(msgspec.Struct):
    """Hosts by their last number, the name server, and the office."""

    hosts: dict[int, MailHost]
    names: NameServer
    office: Office
    port: int
    config: Config


@asynccontextmanager
async def live_world(
    folder: Path,
    zone: str,
    hosts: dict[int, ssl.SSLContext | None],
    *,
    tls: str = "",
    more: str = "",
    secure: bool = False,
    prohibited: bool = False,
) -> AsyncIterator[World]:
    """Give a world in mode `live`: hosts at 127.0.0.N, with TLS where they have a context."""
    made = {number: MailHost(f"127.0.0.{number}") for number in hosts}
    port = free_port([host.address for host in made.values()] or ["127.0.0.1"])
    async with AsyncExitStack() as stack:
        parsed = parse_zone(zone.replace("@PORT@", str(port)))
        names, dns = await stack.enter_async_context(serving(parsed, secure=secure))
        for number, host in made.items():
            await host.start(port, hosts[number])
            stack.push_async_callback(host.stop)
        text = _LIVE.format(
            port=port,
            dns=dns,
            tls=tls,
            more=more,
            validates="true" if secure else "false",
            networks="" if prohibited else "prohibited_networks = []",
        )
        config = parse(text)
        office = Office(config, folder)
        stack.push_async_callback(office.delivery.close, 1.0)
        yield World(made, names, office, port, config)


def in_world(
    main: Callable[[World], Any], folder: Path, zone: str, hosts: Any, **more: Any
) -> None:
    """Run a test in a world of its own."""

    async def run() -> None:
        async with live_world(folder, zone, hosts, **more) as world:
            await main(world)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@asynccontextmanager
async def relay_world(folder: Path, config: str, addresses: Sequence[str]) -> AsyncIterator[World]:
    """Give a world in mode `relay`: relays on these addresses, all on one port, @PORT@ in the configuration."""
    port = free_port(addresses)
    hosts = {number: MailHost(address) for number, address in enumerate(addresses)}
    async with AsyncExitStack() as stack:
        names, _ = await stack.enter_async_context(serving(parse_zone("")))
        for host in hosts.values():
            await host.start(port)
            stack.push_async_callback(host.stop)
        parsed = parse(config.replace("@PORT@", str(port)))
        office = Office(parsed, folder)
        stack.push_async_callback(office.delivery.close, 1.0)
        yield World(hosts, names, office, port, parsed)
