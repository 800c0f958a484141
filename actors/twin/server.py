"""A twin's SMTP server: real sockets before the models, a record behind them.

A mail is taken, put on record and answered in one go of the event loop. The accept path looks into
the header for Message-ID and signature field and parses nothing else. A mail with several
recipients is kept once and has a line of the record for each.
"""

from __future__ import annotations

__all__ = ("TwinServer", "TwinServerOptions")

import time
from typing import Self

import msgspec

from actors.twin import signatures
from actors.twin.certificate import server_context
from actors.twin.clock import Clock
from actors.twin.desk import Desk
from actors.twin.record import MailHead, Recorder, header_of, signed
from deliverability.smtp.policy import ACCEPT, Decision, Envelope, Peer
from deliverability.smtp.reply import Reply
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_server import PolicyFactory, SmtpListener
from deliverability.twin.config import TwinConfig
from deliverability.twin.twin import Twin
from deliverability.twin.verdict import (
    GO_AHEAD,
    OK_MAIL,
    OK_RCPT,
    OK_TAKEN,
    Connection,
    Verdict,
)

_USUAL = (OK_RCPT, OK_MAIL, GO_AHEAD, OK_TAKEN)
_CROWDED = Decision(
    Reply(421, "4.3.2", ("Too many connections to this twin, closing",)), disconnect="after"
)


class TwinServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the server listens, and what it verifies."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any free one."""
    port_per_provider: bool = False
    """Besides the shared port one for each provider, where it can refuse at the greeting."""
    starttls: bool = False
    size_octets_max: int = 50 * 1024 * 1024
    connections_max: int = 1000
    """All ports together; one more is answered with 421."""
    verify_every: int = 0
    """Verify the signature of each nth mail, in a thread; 0 verifies none."""
    verify_pending_max: int = 200
    """Mails that wait for that at one time; those beyond go on record unverified."""


class TwinServer:
    """One twin on loopback: `start` it, read `port`, `close` it at the end.

    `look_up` gives the public keys for `verify_every`; without it nothing is verified.
    """

    def __init__(
        self,
        config: TwinConfig,
        clock: Clock,
        recorder: Recorder,
        options: TwinServerOptions | None = None,
        look_up: signatures.KeyLookup | None = None,
    ) -> None:
        self.options = options or TwinServerOptions()
        self.twin = Twin(config)
        self._clock = clock
        self._desk = Desk(
            recorder,
            look_up,
            verify_every=self.options.verify_every,
            verify_pending_max=self.options.verify_pending_max,
        )
        self._listeners: dict[str, SmtpListener] = {}

    @property
    def port(self) -> int:
        """The port that all providers share."""
        return self._listeners[""].port

    @property
    def ports(self) -> dict[str, int]:
        """The ports of single providers, by name; empty unless asked for."""
        return {name: listener.port for name, listener in self._listeners.items() if name}

    @property
    def unverified(self) -> int:
        """Count of mails that were to be verified, when too many were waiting already."""
        return self._desk.unverified

    async def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the address can't be listened on.
        """
        options, hostname = self.options, self.twin.config.hostname
        config = ServerConfig(
            host_name=hostname,
            size_octets_max=options.size_octets_max,
            starttls=options.starttls,
        )
        context = server_context(hostname, time.time()) if options.starttls else None
        names = ["", *self.twin.providers] if options.port_per_provider else [""]
        for name in names:
            policy = self._policy_of(name)
            listener = SmtpListener(config, policy, self._clock.now_ms, context=context)
            await listener.start(options.host, 0 if name else options.port)
            self._listeners[name] = listener
        return self

    async def close(self) -> None:
        """Close all connections, wait for signatures under verification, finish the record."""
        for listener in self._listeners.values():
            await listener.stop()
        await self._desk.close()

    def _policy_of(self, port_of: str) -> PolicyFactory:
        return lambda _peer, _decide: _ConnectionPolicy(self, self.twin, self._desk, port_of)

    def crowded(self) -> bool:
        """Tell whether there are more connections than `connections_max`."""
        count = sum(len(listener.connections) for listener in self._listeners.values())
        return count >= self.options.connections_max


class _ConnectionPolicy:
    """Binds one connection to the twin: the session's phases are the twin's, one to one."""

    __slots__ = ("_connection", "_desk", "_port_of", "_server", "_twin")

    def __init__(self, server: TwinServer, twin: Twin, desk: Desk, port_of: str) -> None:
        self._server = server
        self._twin = twin
        self._desk = desk
        self._port_of = port_of
        self._connection: Connection | None = None

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        if self._server.crowded():
            return _CROWDED
        self._connection, verdict = self._twin.opened(now_ms, peer.address, self._port_of)
        return _decision(verdict)

    def helo(self, peer: Peer, now_ms: int) -> Decision:  # noqa: ARG002
        return ACCEPT

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:  # noqa: ARG002
        return ACCEPT

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        connection = self._known()
        if peer.tls and not connection.tls:
            self._twin.secured(connection)
        return _decision(self._twin.mail(now_ms, connection, _text(envelope.reverse_path)))

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:  # noqa: ARG002
        return _decision(self._twin.rcpt(now_ms, self._known(), _text(forward_path)))

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:  # noqa: ARG002
        return _decision(self._twin.data(now_ms, self._known()))

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        connection = self._known()
        is_signed = signed(header_of(content))
        verdict, taken = self._twin.dot(now_ms, connection, signed=is_signed)
        if taken:
            head = MailHead(
                at=now_ms,
                reverse_path=_text(envelope.reverse_path),
                recipients=tuple((one.forward_path, one.provider) for one in taken),
                tls=peer.tls,
                source=peer.address,
            )
            self._desk.put(head, content)
        return _decision(verdict)

    def closed(self, reason: str) -> None:  # noqa: ARG002
        if self._connection is not None:
            self._twin.closed(self._connection)

    def _known(self) -> Connection:
        assert self._connection is not None, "a command before the greeting"
        return self._connection


def _decision(verdict: Verdict) -> Decision:
    """Say a verdict in the words of the server session."""
    # The usual words are known to the session, which needn't encode them anew.
    if any(verdict is usual for usual in _USUAL):
        return ACCEPT
    if verdict.reply is None and verdict.closes:
        return Decision(delay_ms=verdict.delay_ms, disconnect="before")
    return Decision(
        verdict.reply,
        verdict.delay_ms,
        "after" if verdict.closes else "no",
        silent=verdict.reply is None,
    )


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
