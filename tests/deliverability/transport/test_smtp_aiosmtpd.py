"""Our client against aiosmtpd over real sockets, with TLS and AUTH."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from deliverability.smtp.endings import Accepted, Rejected
from deliverability.smtp.opening import Credentials
from deliverability.transport.smtp_client import Endpoint, connect
from tests.certificates import self_signed
from tests.deliverability.smtp.wire import transaction
from tests.deliverability.transport.sockets import (
    CONFIG,
    HOST,
    Owner,
    body,
    run,
    server_context,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for mx.test, signed by itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "mx.test")


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
def aiosmtpd(certificate: Path) -> Iterator[tuple[Sink, int]]:
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


def test_aiosmtpd_takes_what_we_send(aiosmtpd: tuple[Sink, int], certificate: Path) -> None:
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
                context=ssl.create_default_context(cafile=str(certificate)),
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


def test_aiosmtpd_refuses_wrong_credentials(aiosmtpd: tuple[Sink, int], certificate: Path) -> None:
    _, port = aiosmtpd

    async def main() -> None:
        owner = Owner(transaction(1))
        await connect(
            owner,
            Endpoint(host=HOST, port=port, tls_name="mx.test"),
            msgspec.structs.replace(
                CONFIG, tls="required", credentials=Credentials(username="ann", password="wrong")
            ),
            context=ssl.create_default_context(cafile=str(certificate)),
        )
        await owner.gone.wait()
        (closed,) = owner.closings
        assert (closed.by, closed.phase) == ("refused", "auth")
        assert closed.reply is not None
        assert closed.reply.code == 535

    run(main)
