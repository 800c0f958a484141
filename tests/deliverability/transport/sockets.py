"""Two ends of ours over real sockets: an owner of transactions, a listener, a certificate."""

from __future__ import annotations

__all__ = (
    "CONFIG",
    "HOST",
    "Owner",
    "at",
    "body",
    "clock",
    "listen",
    "run",
    "server_context",
)

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Closed, Ending
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_client import Connection, Endpoint
from deliverability.transport.smtp_server import SmtpListener
from tests.deliverability.smtp.wire import RecordingPolicy

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


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
