"""TLS between client and server of ours over real sockets: STARTTLS, and from the first octet."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import pytest

from deliverability.smtp.opening import Credentials
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_client import connect
from deliverability.transport.smtp_server import SmtpListener
from engine.errors import TransportError
from tests.certificates import self_signed
from tests.deliverability.smtp.wire import RecordingPolicy, transaction
from tests.deliverability.transport.sockets import (
    CONFIG,
    HOST,
    Owner,
    at,
    clock,
    listen,
    run,
    server_context,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for mx.test, signed by itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "mx.test")


def test_starttls_with_a_checked_certificate(certificate: Path) -> None:
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
            context=ssl.create_default_context(cafile=str(certificate)),
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


def test_a_certificate_that_does_not_fit_ends_the_session(certificate: Path) -> None:
    async def main() -> None:
        policy = RecordingPolicy()
        listener = await listen(policy, ServerConfig(starttls=True), server_context(certificate))
        owner = Owner(transaction(1))
        await connect(
            owner,
            msgspec.structs.replace(at(listener), tls_name="other.test"),
            msgspec.structs.replace(CONFIG, tls="required"),
            context=ssl.create_default_context(cafile=str(certificate)),
        )
        await owner.gone.wait()
        await listener.stop()
        (closed,) = owner.closings
        assert closed.phase == "tls"
        assert "certificate" in closed.reason
        assert owner.endings == {}
        assert policy.messages == []

    run(main)


def test_implicit_tls(certificate: Path) -> None:
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
        context = ssl.create_default_context(cafile=str(certificate))
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
