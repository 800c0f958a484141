"""REQUIRETLS and DSN go from whoever submits to the remote server, or are refused where they come in."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.gateway.message_wire import MessageIn, _digest
from actors.gateway.server import Gateway
from actors.submission.demands import demands_of, mail_refusal, rcpt_refusal
from actors.submission.listener import Submission
from deliverability.smtp.envelope import DsnOptions
from tests.actors.gateway.serving import network_client
from tests.actors.submission.embedded import Embedded
from tests.actors.submission.test_content import RAW
from tests.actors.submission.test_listener import letter, run, self_signed_files, with_door


@pytest.mark.parametrize(
    ("mail", "tls", "dsn", "code"),
    [
        ({}, False, False, None),
        ({"RET": "hdrs", "ENVID": "a+2Bb"}, False, True, None),
        ({"RET": "HDRS"}, False, False, 555),
        ({"RET": "some"}, False, True, 501),
        ({"ENVID": "a+xx"}, False, True, 501),
        ({"ENVID": "a" * 101}, False, True, 501),
        ({"REQUIRETLS": ""}, True, False, None),
        ({"REQUIRETLS": ""}, False, True, 555),
        ({"REQUIRETLS": "yes"}, True, False, 501),
        ({"MT-PRIORITY": "3"}, True, True, 555),
    ],
)
def test_parameters_of_mail_are_taken_or_refused(
    mail: dict[str, str], tls: bool, dsn: bool, code: int | None
) -> None:
    """RFC 3461 §4.3, §4.4 and RFC 8689 §4.1: what wasn't offered isn't taken."""
    refusal = mail_refusal(mail, tls=tls, dsn=dsn)
    assert (refusal and refusal[0]) == code


@pytest.mark.parametrize(
    ("rcpt", "dsn", "code"),
    [
        ({}, False, None),
        ({"NOTIFY": "success,DELAY", "ORCPT": "rfc822;a+2Bb@c.example"}, True, None),
        ({"NOTIFY": "NEVER"}, True, None),
        ({"NOTIFY": "NEVER"}, False, 555),
        ({"NOTIFY": "NEVER,FAILURE"}, True, 501),
        ({"NOTIFY": ""}, True, 501),
        ({"ORCPT": "a@b.example"}, True, 501),
        ({"ORCPT": "x400;a"}, True, 501),
        ({"ORCPT": "rfc822;" + "a" * 501}, True, 501),
    ],
)
def test_parameters_of_rcpt_are_taken_or_refused(
    rcpt: dict[str, str], dsn: bool, code: int | None
) -> None:
    """RFC 3461 §4.1, §4.2."""
    refusal = rcpt_refusal(rcpt, dsn=dsn)
    assert (refusal and refusal[0]) == code


def test_demands_are_by_recipient() -> None:
    """Nobody who asks for nothing asks for the usual in words."""
    assert demands_of({}, [{}, {}]) == (False, ())
    assert demands_of({"REQUIRETLS": ""}, [{}]) == (True, ())
    tls, (one, other) = demands_of({"RET": "full"}, [{"NOTIFY": "delay"}, {}])
    assert not tls
    assert one == DsnOptions(ret="FULL", notify="DELAY")
    assert other == DsnOptions(ret="FULL")


def test_notifications_asked_for_reach_the_remote_server(tmp_path: Path) -> None:
    """Each recipient's own; an equal mail that asks for something else is another one."""
    config = with_door(tmp_path, dsn=True)
    text = letter(Message_ID="<1@shop.example>").as_bytes().replace(b"\n", b"\r\n")

    def submit(notify: str) -> None:
        with smtplib.SMTP("127.0.0.1", config.submission.port) as client:
            client.ehlo()
            assert client.has_extn("dsn")
            client.mail("hello@shop.example", ["RET=HDRS", "ENVID=order+2B7"])
            client.rcpt("ann@inbox.example", [f"NOTIFY={notify}", "ORCPT=rfc822;ann+2Bx@a.example"])
            client.rcpt("bob@inbox.example")
            assert client.data(text)[0] == 250

    async def act(here: Embedded, door: Submission) -> None:
        del door
        await asyncio.to_thread(submit, "SUCCESS,FAILURE")
        await asyncio.to_thread(submit, "SUCCESS,FAILURE")
        await here.until(lambda: len(here.mails) == 2)
        mails = {one.recipient: one for one in here.mails}
        ann, bob = mails["ann@inbox.example"], mails["bob@inbox.example"]
        assert (ann.parameters["RET"], ann.parameters["ENVID"]) == ("HDRS", "order+2B7")
        assert ann.asked == {"NOTIFY": "SUCCESS,FAILURE", "ORCPT": "rfc822;ann+2Bx@a.example"}
        assert (bob.parameters["RET"], bob.asked) == ("HDRS", {})
        await asyncio.to_thread(submit, "NEVER")
        await here.until(lambda: len(here.mails) == 4)
        assert {one.asked.get("NOTIFY") for one in here.mails} == {"SUCCESS,FAILURE", "NEVER", None}

    run(config, act)


def test_without_the_setting_notifications_are_not_offered(tmp_path: Path) -> None:
    """And a client that asks all the same is told."""
    config = with_door(tmp_path)

    def submit() -> tuple[int, int]:
        with smtplib.SMTP("127.0.0.1", config.submission.port) as client:
            client.ehlo()
            assert not client.has_extn("dsn")
            refused = client.mail("hello@shop.example", ["RET=HDRS"])[0]
            client.mail("hello@shop.example")
            return refused, client.rcpt("ann@inbox.example", ["NOTIFY=NEVER"])[0]

    async def act(here: Embedded, door: Submission) -> None:
        del here, door
        assert await asyncio.to_thread(submit) == (555, 555)

    run(config, act)


def test_what_requires_tls_never_goes_in_clear(tmp_path: Path) -> None:
    """Offered over TLS alone; to a server without TLS it bounces with the code of the RFC, its fellow goes."""
    cert, key = self_signed_files(tmp_path)
    config = with_door(tmp_path, tls_cert_file=cert, tls_key_file=key)
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False

    def submit() -> None:
        with smtplib.SMTP("127.0.0.1", config.submission.port) as client:
            client.ehlo()
            assert not client.has_extn("requiretls")
            assert client.mail("hello@shop.example", ["REQUIRETLS"])[0] == 555
            client.starttls(context=context)
            client.ehlo()
            assert client.has_extn("requiretls")
            client.send_message(letter("open@inbox.example"), to_addrs=["open@inbox.example"])
            client.send_message(
                letter("secret@inbox.example"),
                to_addrs=["secret@inbox.example"],
                mail_options=["REQUIRETLS"],
            )

    async def act(here: Embedded, door: Submission) -> None:
        del door
        await asyncio.to_thread(submit)
        await here.until(lambda: sum(counts(here).values()) == 2 and "bounced" in counts(here))
        assert [one.recipient for one in here.mails] == ["open@inbox.example"]
        assert counts(here) == {"delivered": 1, "bounced": 1}

    run(config, act)


def counts(here: Embedded) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in here.worker.host.counts().values():
        for bucket in ("delivered", "bounced"):
            if one.get(bucket):
                found[bucket] = found.get(bucket, 0) + one[bucket]
    return found


def test_the_api_takes_both_and_says_what_cannot_be(tmp_path: Path) -> None:
    """`dsn` of a raw message alone, `require_tls` of any."""
    config = with_door(tmp_path)
    raw = base64.b64encode(RAW).decode()

    async def post(here: Embedded, key: str, **body: Any) -> tuple[int, str]:
        gateway = Gateway(here.config, here.backend, CollectorRegistry(), injector=here.injector)
        async with network_client(gateway) as client:
            asked = {"idempotency_key": key, "to": [{"address": "ann@inbox.example"}], **body}
            response = await client.post("/v1/messages", json=asked)
        return response.status_code, response.text

    async def act(here: Embedded, door: Submission) -> None:
        del door
        dsn = {"notify": ["success", "delay"], "ret": "headers", "envelope_id": "a=b"}
        assert (await post(here, "1", raw=raw, dsn=dsn))[0] == 202
        await here.until(lambda: len(here.mails) == 1)
        assert here.mails[0].asked == {"NOTIFY": "SUCCESS,DELAY"}
        assert here.mails[0].parameters["ENVID"] == "a+3Db"
        inline = {"subject": "Hi", "html": "<p>Hi</p>"}
        status, text = await post(here, "2", inline=inline, dsn=dsn)
        assert (status, "only a raw message" in text) == (400, True)
        status, text = await post(here, "3", raw=raw, dsn={"notify": ["never", "delay"]})
        assert (status, "NOTIFY is NEVER, or" in text) == (400, True)
        assert (await post(here, "4", inline=inline, require_tls=True))[0] == 202
        await here.until(lambda: counts(here).get("bounced") == 1)
        assert len(here.mails) == 1

    run(config, act)


def test_requests_of_before_keep_their_digest() -> None:
    """A key that was used before these fields were there still stands for the same request."""
    item = MessageIn(idempotency_key="k", template="hello", contact="ann")
    plain = msgspec.json.encode(msgspec.structs.replace(item, idempotency_key=None))
    assert plain.endswith(b',"require_tls":false,"dsn":null}')
    assert _digest(item) != _digest(msgspec.structs.replace(item, require_tls=True))
    from hashlib import sha256

    before = plain.removesuffix(b',"require_tls":false,"dsn":null}') + b"}"
    assert _digest(item) == sha256(before).digest()
