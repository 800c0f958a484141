"""The submission listener as clients meet it: smtplib and aiosmtplib, AUTH over TLS, limits, refusals, drain."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.backend import SendRequest, SendResult
from actors.gateway.keys import hash_key
from actors.submission.listener import Submission
from actors.twin.certificate import self_signed_pem
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from engine.config import Config
from engine.config import Submission as Door
from engine.errors import CapacityError, StoreError
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded, wall_ms
from tests.actors.submission.test_killed import free_port

KEY = "vk_test"


def with_door(folder: Path, **door: Any) -> Config:
    config = config_of(folder)
    tenant = msgspec.structs.replace(config.tenant[0], api_key_hashes=(hash_key(KEY),))
    made = Door(port=free_port(), **door)
    return msgspec.structs.replace(config, tenant=(tenant,), submission=made)


@contextlib.asynccontextmanager
async def opened(here: Embedded) -> AsyncIterator[Submission]:
    heads = letterheads(here.config, secret_of)
    door = Submission(here.config, here.backend, here.injector, heads, CollectorRegistry(), wall_ms)
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


def letter(to: str = "ann@inbox.example", **fields: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Shop <hello@shop.example>", to, "Grüße"
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Hello\n.\n..dots\n" + "long " * 30 + "\n")
    return mail


def run(config: Config, act: Callable[[Embedded, Submission], Any]) -> None:
    async def inside() -> None:
        async with embedded(config) as here, opened(here) as door:
            await act(here, door)

    asyncio.run(inside())


def test_a_program_moves_over_by_changing_a_host_name(tmp_path: Path) -> None:
    """smtplib on loopback: several recipients, each gets the mail as it was; sent again, it isn't sent twice."""
    config = with_door(tmp_path)
    mail = letter(Message_ID="<1@shop.example>", Veredus_Campaign="spring", Bcc="x@inbox.example")

    def submit() -> None:
        with smtplib.SMTP("127.0.0.1", config.submission.port) as client:
            client.send_message(mail, to_addrs=["ann@inbox.example", "bob@inbox.example"])
            client.send_message(mail, to_addrs=["bob@inbox.example", "ann@inbox.example"])

    async def act(here: Embedded, door: Submission) -> None:
        del door
        await asyncio.to_thread(submit)
        await here.until(lambda: len(here.mails) == 2)
        assert (await here.law()) == {"accepted": 2, "delivered": 2}
        body = mail.as_bytes().replace(b"\n", b"\r\n").partition(b"\r\n\r\n")[2]
        for one in here.mails:
            head, _, rest = one.content.partition(b"\r\n\r\n")
            assert rest == body
            assert b"Veredus-" not in head
            assert b"\r\nBcc:" not in head
            assert b"Received: from " in head
            assert b"\r\nMessage-ID: <1@shop.example>" in head
            assert one.reverse_path.startswith("v-")

    run(config, act)


@pytest.mark.parametrize("implicit", [False, True])
def test_auth_over_tls(tmp_path: Path, implicit: bool) -> None:
    """An API key is the password; without AUTH, with a wrong key or without TLS nothing is taken."""
    cert, key = self_signed_files(tmp_path)
    config = with_door(tmp_path, require_auth="always", tls_cert_file=cert, tls_key_file=key)
    if implicit:
        door = msgspec.structs.replace(config.submission, port=0, tls_port=free_port())
        config = msgspec.structs.replace(config, submission=door)
    port = config.submission.tls_port or config.submission.port
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False

    def client() -> smtplib.SMTP:
        if implicit:
            return smtplib.SMTP_SSL("127.0.0.1", port, context=context)
        made = smtplib.SMTP("127.0.0.1", port)
        made.ehlo()
        assert not made.has_extn("auth")
        assert made.docmd("AUTH", "PLAIN AHgAeA==")[0] == 503
        made.starttls(context=context)
        return made

    def submit() -> None:
        with client() as one:
            one.ehlo()
            assert one.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            assert one.mail("hello@shop.example")[0] == 530
            with pytest.raises(smtplib.SMTPAuthenticationError):
                one.login("default", "vk_wrong")
            one.login("default", KEY)
            one.send_message(letter())
        with client() as two, pytest.raises(smtplib.SMTPException):
            two.login("somebody", KEY)

    async def act(here: Embedded, door: Submission) -> None:
        del door
        await asyncio.to_thread(submit)
        await here.until(lambda: len(here.mails) == 1)
        assert b" with ESMTPSA id " in here.mails[0].content

    run(config, act)


def self_signed_files(folder: Path) -> tuple[str, str]:
    path = folder / "both.pem"
    path.write_bytes(self_signed_pem("localhost", dt.datetime.now(dt.UTC)))
    return str(path), str(path)


def test_an_asynchronous_client(tmp_path: Path) -> None:
    """aiosmtplib, many connections at a time: transactions share syncs, each is answered for itself."""
    config = with_door(tmp_path)

    async def act(here: Embedded, door: Submission) -> None:
        del door

        async def one(number: int) -> None:
            async with aiosmtplib.SMTP(
                hostname="127.0.0.1", port=config.submission.port, start_tls=False
            ) as client:
                for n in range(5):
                    mail = letter(f"r{number}-{n}@inbox.example")
                    _, said = await client.send_message(mail)
                    assert "queued as" in said

        await asyncio.gather(*(one(number) for number in range(10)))
        await here.until(lambda: len(here.mails) == 50)
        assert (await here.law()) == {"accepted": 50, "delivered": 50}

    run(config, act)


async def replies(port: int, *commands: bytes) -> list[str]:
    """Send raw commands one after the other. Returns the last line of each reply, the greeting first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for command in (b"", *commands):
        writer.write(command)
        while (line := await reader.readline())[3:4] == b"-":
            pass
        found.append(line.decode().strip())
    writer.close()
    return found


FROM = b"From: hello@shop.example\r\n"


NULL = b"MAIL FROM:<>\r\n"
RCPT = b"RCPT TO:<a@b.example>\r\n"


def content(octets: bytes) -> list[bytes]:
    return [NULL, RCPT, b"DATA\r\n", octets + b"\r\n.\r\n"]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([b"MAIL FROM:<a@b.example> SIZE=99999999\r\n"], "552 5.3.4"),
        ([b"MAIL FROM:<a@b.example> REQUIRETLS\r\n"], "555 5.5.4"),
        ([NULL, b"RCPT TO:<nobody>\r\n"], "553 5.1.3"),
        (content(b"From: x\n.\r\n"), "550 5.5.2"),
        (content(b"From: a@evil.example\r\n"), "550 5.7.1"),
        (content(b"no field\r\n"), "554 5.6.0"),
        (content(FROM + b"Veredus-Steam: x\r\n"), "554 5.6.0"),
        (content(FROM + b"Received: x\r\n" * 101), "554 5.6.0"),
        ([NULL, RCPT, b"BDAT 28 LAST\r\n" + FROM + b"\r\n"], "250 2.0.0"),
    ],
)
def test_what_is_not_taken(tmp_path: Path, commands: list[bytes], expected: str) -> None:
    """Each refusal has its codes."""
    config = with_door(tmp_path)

    async def act(here: Embedded, door: Submission) -> None:
        del door
        said = await replies(config.submission.port, b"EHLO app.example\r\n", *commands)
        assert said[-1].startswith(expected), said
        taken = 1 if expected.startswith("250") else 0
        await here.until(lambda: len(here.mails) == taken)

    run(config, act)


def test_limits_and_failures_of_the_engine(tmp_path: Path) -> None:
    """Too many connections, too much content, an engine that is full or fails: try again, each by its code."""
    config = with_door(tmp_path, connections_per_address_max=1, held_bytes_max=1 << 20)
    port = config.submission.port
    whole = (b"EHLO a\r\n", *content(FROM))

    async def act(here: Embedded, door: Submission) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        assert (await replies(port))[0].startswith("421 4.7.0")
        writer.write(
            b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n" + b"x" * 3_000_000
        )
        said = await reader.read()
        assert b"\r\n421 4.3.1" in said
        writer.close()
        await here.until(lambda: not door.listeners[0].connections)
        assert door.listeners[0].held_octets == 0
        for error, code in ((CapacityError("x"), "452 4.3.1"), (StoreError("x"), "451 4.3.0")):
            await here.until(lambda: not door.listeners[0].connections)
            here.backend.send = failing(error)  # type: ignore[method-assign, assignment]
            assert (await replies(port, *whole))[-1].startswith(code)

    run(config, act)


def failing(error: Exception) -> Callable[[Any], Any]:
    async def send(requests: list[SendRequest]) -> list[SendResult]:
        raise error

    return send
