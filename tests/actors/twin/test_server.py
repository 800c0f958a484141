"""The twin's server over real sockets, with the clients of others and with hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiosmtplib
import dkim
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.twin.caught import Caught
from actors.twin.clock import SetClock
from actors.twin.record import Received, Recorder, RecorderOptions
from actors.twin.server import TwinServer, TwinServerOptions
from deliverability.twin.config import TwinConfig
from deliverability.twin.connections import Connections
from deliverability.twin.faults import DotWithoutReply, Faults
from deliverability.twin.greylist import Greylist
from deliverability.twin.pace import Pace, Tarpit
from deliverability.twin.presets import twin_of
from deliverability.twin.provider import ProviderConfig
from deliverability.twin.quota import Quota

MAIL = (
    b"From: <a@s.example>\r\nTo: <u@p.example>\r\nSubject: hi\r\nMessage-ID: <%s>\r\n\r\nHello\r\n"
)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    config: TwinConfig,
    options: TwinServerOptions | None = None,
    recorder: RecorderOptions | None = None,
    look_up: Callable[[str], bytes | None] | None = None,
) -> AsyncIterator[tuple[TwinServer, SetClock]]:
    clock = SetClock(1_000_000)
    server = TwinServer(config, clock, Recorder(folder, recorder), options, look_up)
    await server.start()
    try:
        yield server, clock
    finally:
        await server.close()


def one(provider: ProviderConfig, **rest: Any) -> TwinConfig:
    return TwinConfig(provider=(provider,), **rest)


def received(folder: Path) -> list[Received]:
    lines = (folder / "received.ndjson").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Received) for line in lines]


def connected(port: int) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)


async def send(port: int, message_id: str, reverse_path: str = "b@s.example") -> tuple[int, str]:
    """Send one mail over a connection of its own; code and text of the reply that ended it."""
    try:
        async with connected(port) as client:
            await client.sendmail(reverse_path, ["u@p.example"], MAIL % message_id.encode())
            return 250, ""
    except aiosmtplib.SMTPRecipientsRefused as error:
        return error.recipients[0].code, error.recipients[0].message
    except aiosmtplib.SMTPResponseException as error:
        return error.code, error.message


async def talk(port: int, *chunks: bytes) -> bytes:
    """Say all that, then read until the server closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    for chunk in chunks:
        writer.write(chunk)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0.3):
            while more := await reader.read(65536):
                heard += more
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return heard


def test_takes_mail_from_smtplib(tmp_path: Path) -> None:
    """The standard library's client delivers; the mail is on record and kept byte by byte."""

    async def run() -> None:
        async with serving(tmp_path, twin_of("plain")) as (server, clock):
            clock.set(1_234_567)

            def client() -> None:
                with smtplib.SMTP("127.0.0.1", server.port) as smtp:
                    smtp.sendmail("b+1@s.example", ["u@p.example", "v@p.example"], MAIL % b"1@s")

            await asyncio.to_thread(client)

    asyncio.run(run())
    assert received(tmp_path) == [
        Received("1@s", 1_234_567, "b+1@s.example", path, "plain", len(MAIL % b"1@s"))
        for path in ("u@p.example", "v@p.example")
    ]
    caught = Caught(tmp_path)
    assert caught.numbers() == range(1, 2)
    mail = caught.mail(1)
    assert mail is not None
    assert mail.content == MAIL % b"1@s"
    assert mail.head.recipients == (("u@p.example", "plain"), ("v@p.example", "plain"))


def test_starttls(tmp_path: Path) -> None:
    """With STARTTLS switched on a client gets a certificate for the twin's name."""

    async def run() -> None:
        options = TwinServerOptions(starttls=True)
        async with serving(tmp_path, twin_of("strict", every_mail_in_the_end=True), options) as (
            server,
            _,
        ):

            def client() -> None:
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                with smtplib.SMTP("127.0.0.1", server.port) as smtp:
                    smtp.starttls(context=context)
                    assert smtp.sock is not None
                    assert isinstance(smtp.sock, ssl.SSLSocket)
                    smtp.ehlo()
                    code, _ = smtp.mail("b@s.example")
                    assert code == 250
                    assert smtp.rcpt("u@p.example")[0] == 451

            await asyncio.to_thread(client)

    asyncio.run(run())


def test_greylist_follows_the_clock_that_is_set(tmp_path: Path) -> None:
    """Time is the owner's: a mail passes once the clock was set past the delay, not before."""

    async def run() -> list[int]:
        codes = []
        provider = ProviderConfig(name="p", greylist=Greylist(delay_s=300))
        async with serving(tmp_path, one(provider)) as (server, clock):
            for now in (2_000_000, 2_299_999, 2_300_000):
                clock.set(now)
                codes.append((await send(server.port, "1@s"))[0])
        return codes

    assert asyncio.run(run()) == [451, 451, 250]
    assert [line.at for line in received(tmp_path)] == [2_300_000]


def test_quota_over_sockets_is_never_exceeded(tmp_path: Path) -> None:
    """Many connections side by side get exactly the limit through."""

    async def run() -> list[int]:
        provider = ProviderConfig(name="p", dialect="wp", quotas=(Quota(limit=7, window_s=60),))
        async with serving(tmp_path, one(provider)) as (server, _):
            sent = [send(server.port, f"{n}@s", f"b+{n}@s.example") for n in range(20)]
            return [code for code, _ in await asyncio.gather(*sent)]

    assert sorted(asyncio.run(run())) == [250] * 7 + [470] * 13
    assert len(received(tmp_path)) == 7


def test_faults_with_a_real_client_lose_and_double_nothing(tmp_path: Path) -> None:
    """Under the guarantee each mail arrives exactly once, with at most three failures on its way."""

    async def run() -> list[int]:
        faults = Faults(
            temporary_rate=0.3,
            closing_rate=0.3,
            hang_up_rate=0.4,
            phases=("mail", "rcpt", "data", "dot"),
        )
        provider = ProviderConfig(name="p", faults=faults)
        config = one(provider, every_mail_in_the_end=True)

        async def deliver(port: int, n: int) -> int:
            for tries in range(10):
                try:
                    code, _ = await send(port, f"{n}@s", f"b+{n}@s.example")
                except (aiosmtplib.SMTPException, ConnectionError):
                    continue
                if code == 250:
                    return tries
            raise AssertionError("never taken")

        async with serving(tmp_path, config) as (server, _):
            return [await deliver(server.port, n) for n in range(60)]

    assert asyncio.run(run()) == [3] * 60
    assert sorted(line.message_id for line in received(tmp_path)) == sorted(
        f"{n}@s" for n in range(60)
    )


def test_dot_without_reply_is_on_record(tmp_path: Path) -> None:
    """The connection ends without a reply, and yet the mail was taken; or it stays silent."""

    async def run(then: str) -> None:
        rule = DotWithoutReply(rate=1.0, then="hang_up" if then == "hang_up" else "silence")
        provider = ProviderConfig(name="p", dot_without_reply=rule)
        async with serving(tmp_path / then, one(provider)) as (server, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"EHLO c\r\nMAIL FROM:<b@s.example>\r\nRCPT TO:<u@p.example>\r\nDATA\r\n")
            await reader.readuntil(b"354 End data with <CR><LF>.<CR><LF>\r\n")
            writer.write(MAIL % b"1@s" + b".\r\n")
            if then == "hang_up":
                assert await reader.read() == b""
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
            writer.close()
            await writer.wait_closed()

    for then in ("hang_up", "silence"):
        asyncio.run(run(then))
        assert [line.message_id for line in received(tmp_path / then)] == ["1@s"]


def test_pace_and_tarpit_delay_real_replies(tmp_path: Path) -> None:
    """A slow twin takes its time before the reply, a tarpit more with every refusal."""

    async def run() -> tuple[float, float]:
        provider = ProviderConfig(
            name="p",
            domains=("p.example",),
            pace=Pace(at_least_ms=60, phases=("dot",)),
            tarpit=Tarpit(free=0, step_ms=50),
        )
        loop = asyncio.get_running_loop()
        async with serving(tmp_path, one(provider)) as (server, _):
            start = loop.time()
            await send(server.port, "1@s")
            slow = loop.time() - start
            start = loop.time()
            async with connected(server.port) as client:
                await client.mail("b@s.example")
                for _ in range(2):
                    with contextlib.suppress(aiosmtplib.SMTPResponseException):
                        await client.rcpt("u@elsewhere.example")
                await client.rcpt("u@p.example")
            return slow, loop.time() - start

    slow, tarpit = asyncio.run(run())
    assert slow >= 0.06
    assert tarpit >= 0.1


def test_own_ports(tmp_path: Path) -> None:
    """Each provider can have a port of its own, which greets in its own words and relays for nobody else."""

    async def run() -> tuple[bytes, bytes]:
        config = TwinConfig(
            provider=(
                ProviderConfig(name="a", domains=("a.test",), connections=Connections(open_max=1)),
                ProviderConfig(name="b", domains=("b.test",), dialect="microsoft"),
            )
        )
        options = TwinServerOptions(port_per_provider=True)
        async with serving(tmp_path, config, options) as (server, _):
            assert len({server.port, *server.ports.values()}) == 3
            other = await talk(
                server.ports["b"], b"EHLO c\r\nMAIL FROM:<b@s.example>\r\nRCPT TO:<u@a.test>\r\n"
            )
            _, holder = await asyncio.open_connection("127.0.0.1", server.ports["a"])
            refused = await talk(server.ports["a"])
            holder.close()
            await holder.wait_closed()
            return other, refused

    other, refused = asyncio.run(run())
    assert other.startswith(b"220 twin.localhost Microsoft")
    assert b"550 5.7.1 <u@a.test>" in other
    assert refused.startswith(b"421 4.7.0 Too many")


def test_crowded(tmp_path: Path) -> None:
    """More connections than the server holds are answered with 421 and closed."""

    async def run() -> bytes:
        options = TwinServerOptions(connections_max=2)
        async with serving(tmp_path, twin_of("plain"), options) as (server, _):
            holders = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
            for reader, _ in holders:
                await reader.readline()
            heard = await talk(server.port)
            for _, writer in holders:
                writer.close()
                await writer.wait_closed()
            return heard

    assert asyncio.run(run()).startswith(b"421 4.3.2")


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff\xfe" * 1000,
        b"MAIL FROM:<" + b"a" * 100_000,
        b"EHLO c\r\nMAIL FROM:<b@s>\r\nRCPT TO:<{0.__class__}@p>\r\nRCPT TO:<%s%n@[::1]>\r\n",
        b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@p>\r\nDATA\r\n\r\n.\r\n" * 30,
        b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@p>\r\nDATA\r\nMessage-ID: <a\r\n" + b"x" * 300_000,
        b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@p>\r\nBDAT 99999999999999999999 LAST\r\n",
        b"EHLO c\r\nRCPT TO:<u@p>\r\nDATA\r\nDATA\r\nQUIT\r\nNOOP\r\n",
    ],
)
def test_hostile_clients_harm_nobody_else(tmp_path: Path, said: bytes) -> None:
    """Whatever one client says, the next one is served."""

    async def run() -> int:
        async with serving(tmp_path, twin_of("plain")) as (server, _):
            await talk(server.port, said)
            return (await send(server.port, "after@s"))[0]

    assert asyncio.run(run()) == 250
    assert received(tmp_path)[-1].message_id == "after@s"


def test_a_connection_cut_in_the_content_leaves_nothing(tmp_path: Path) -> None:
    """Content without its dot is no mail, and the quota isn't charged for it."""

    async def run() -> int:
        provider = ProviderConfig(name="p", quotas=(Quota(limit=1, window_s=60),))
        async with serving(tmp_path, one(provider)) as (server, _):
            begin = b"EHLO c\r\nMAIL FROM:<b@s.example>\r\nRCPT TO:<u@p.example>\r\nDATA\r\nhalf"
            assert b"354" in await talk(server.port, begin)
            return (await send(server.port, "1@s"))[0]

    assert asyncio.run(run()) == 250
    assert len(received(tmp_path)) == 1


def test_signatures_are_verified_beside_the_accept_path(tmp_path: Path) -> None:
    """Verified mails carry pass, fail, none or unknown; `close` waits for those that were pending."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = b"".join(line for line in public.splitlines() if b"-----" not in line)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )

    def signature(content: bytes, selector: bytes) -> bytes:
        signed: bytes = dkim.sign(content, selector, b"s.example", private)
        return signed

    mails = {
        "pass": signature(MAIL % b"pass", b"k1") + MAIL % b"pass",
        "fail": signature(MAIL % b"fail", b"k1") + MAIL % b"fail" + b"altered\r\n",
        "none": MAIL % b"none",
        "unknown": signature(MAIL % b"unknown", b"k2") + MAIL % b"unknown",
    }

    async def run() -> None:
        options = TwinServerOptions(verify_every=1)
        keys = {"k1._domainkey.s.example": b"v=DKIM1; k=rsa; p=" + body}
        async with (
            serving(tmp_path, twin_of("plain"), options, None, keys.get) as (server, _),
            connected(server.port) as client,
        ):
            for content in mails.values():
                await client.sendmail("b@s.example", ["u@p.example"], content)

    asyncio.run(run())
    verdicts = {line.message_id: line.signature for line in received(tmp_path)}
    assert verdicts == {name: name for name in mails}


def test_unverified_when_too_many_wait(tmp_path: Path) -> None:
    """Verification never holds mail up: beyond its bound mails go on record without a verdict."""

    async def run() -> int:
        options = TwinServerOptions(verify_every=1, verify_pending_max=0)
        async with serving(tmp_path, twin_of("plain"), options, None, lambda _: None) as (
            server,
            _,
        ):
            await send(server.port, "1@s")
            return server.unverified

    assert asyncio.run(run()) == 1
    assert received(tmp_path)[0].signature is msgspec.UNSET
