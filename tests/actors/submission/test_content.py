"""Content that comes with a message arrives as it was meant, signed, and only as its owner."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
from pathlib import Path
from typing import Any

import dkim
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from engine.config import Config, DkimKey
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded

RAW = (
    b"From: Shop <hello@shop.example>\r\nTo: ann@inbox.example\r\nBcc: eve@inbox.example,\r\n"
    b" bob@inbox.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@shop.example>\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + "Grüße\r\n.\r\n..zwei Punkte \r\n\r\n\r\n".encode()
)


def signed(folder: Path) -> tuple[Config, bytes]:
    config = config_of(folder)
    pem = generate_pem("ed25519-sha256")
    (folder / "key.pem").write_bytes(pem)
    key = DkimKey(domain="shop.example", selector="s1", key_file=str(folder / "key.pem"))
    tenant = msgspec.structs.replace(config.tenant[0], dkim=(key,))
    record = dns_record(load_key(pem, "shop.example", "s1")).encode()
    return msgspec.structs.replace(config, tenant=(tenant,)), record


async def post(here: Embedded, body: Any, key: str = "") -> tuple[int, Any]:
    gateway = Gateway(here.config, here.backend, CollectorRegistry(), injector=here.injector)
    headers = {"Idempotency-Key": key} if key else {}
    async with network_client(gateway, **headers) as client:
        response = await client.post("/v1/messages", json=body)
    return response.status_code, response.json()


def test_a_raw_message_goes_out_as_it_is(tmp_path: Path) -> None:
    """Byte for byte, but for Bcc; the signature holds; each recipient gets one; the reverse-path is ours."""
    config, record = signed(tmp_path)

    async def run() -> None:
        async with embedded(config) as here:
            body = {
                "raw": base64.b64encode(RAW).decode(),
                "to": [{"address": "ann@inbox.example"}, {"address": "eve@inbox.example"}],
            }
            status, told = await post(here, body, "k")
            assert (status, len(told["message_ids"])) == (202, 2)
            again, same = await post(here, body, "k")
            assert (again, same["message_ids"]) == (200, told["message_ids"])
            await here.until(lambda: len(here.mails) == 2)
            assert (await here.law())["delivered"] == 2
            assert {one.recipient for one in here.mails} == {
                "ann@inbox.example",
                "eve@inbox.example",
            }
            expected = RAW.replace(b"Bcc: eve@inbox.example,\r\n bob@inbox.example\r\n", b"")
            for one in here.mails:
                assert one.content.endswith(b"\r\n" + expected)
                assert one.content.startswith(b"DKIM-Signature:")
                assert dkim.verify(one.content, dnsfunc=lambda *_, **__: record)
                assert one.reverse_path.startswith("v-")
                assert one.parameters["BODY"] == "8BITMIME"

    asyncio.run(run())


def test_a_raw_message_may_keep_its_own_reverse_path(tmp_path: Path) -> None:
    """Of a domain of the tenant's, or none at all; nobody else's."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            raw = base64.b64encode(RAW).decode()
            body = {"raw": raw, "address": "ann@inbox.example", "reverse_path": "b@evil.example"}
            status, told = await post(here, body, "a")
            assert (status, told["errors"][0]["path"]) == (400, "reverse_path")
            for key, kept in (("b", "bounces@shop.example"), ("c", "<>")):
                assert (await post(here, body | {"reverse_path": kept}, key))[0] == 202
            await here.until(lambda: len(here.mails) == 2)
            assert {one.reverse_path for one in here.mails} == {"bounces@shop.example", ""}

    asyncio.run(run())


def test_an_inline_template_with_attachments(tmp_path: Path) -> None:
    """Variables per recipient, a picture within the HTML, a file with a name outside ASCII; signed."""
    config, record = signed(tmp_path)
    picture, report = b"\x89PNG" + bytes(range(256)), b"%PDF" * 100
    body = {
        "inline": {"subject": "Hi {{ name }}", "html": "<p>Hi {{ name }}<img src='cid:p@x'></p>"},
        "attachments": [
            {
                "name": "p.png",
                "type": "image/png",
                "content": base64.b64encode(picture).decode(),
                "content_id": "p@x",
            },
            {
                "name": "Bericht für \U0001f41d" + "x" * 80,
                "content": base64.b64encode(report).decode(),
            },
        ],
        "variables": {"name": "you"},
        "to": [
            {"address": "ann@inbox.example", "variables": {"name": "Ann <3"}},
            {"contact": "bob", "address": "bob@inbox.example"},
        ],
        "campaign": "spring",
        "idempotency_key": "k",
    }

    async def run() -> None:
        async with embedded(config) as here:
            assert (await post(here, body))[0] == 202
            await here.until(lambda: len(here.mails) == 2)
            texts = {}
            for one in here.mails:
                assert dkim.verify(one.content, dnsfunc=lambda *_, **__: record)
                assert max(map(len, one.content.split(b"\r\n"))) <= 998
                mail = email.message_from_bytes(one.content, policy=email.policy.default)
                assert not mail.defects
                kinds = [part.get_content_type() for part in mail.walk()]
                assert kinds == [
                    "multipart/mixed",
                    "multipart/related",
                    "multipart/alternative",
                    "text/plain",
                    "text/html",
                    "image/png",
                    "application/octet-stream",
                ]
                parts = list(mail.walk())
                assert parts[5].get_payload(decode=True) == picture
                assert parts[5]["Content-ID"] == "<p@x>"
                assert parts[6].get_payload(decode=True) == report
                assert parts[6].get_filename() == "Bericht für \U0001f41d" + "x" * 80
                assert "spring" in str(mail["Feedback-ID"])
                texts[one.recipient] = (mail["Subject"], parts[4].get_content())
            assert texts["ann@inbox.example"][0] == "Hi Ann <3"
            assert "Hi Ann &lt;3" in texts["ann@inbox.example"][1]
            assert "Hi you" in texts["bob@inbox.example"][1]
            published = {
                "template": "hello",
                "variables": {"contact": {"first_name": "Cy"}},
                "attachments": [{"name": "a.txt", "content": "YQ=="}],
                "address": "cy@inbox.example",
            }
            assert (await post(here, published, "k2"))[0] == 202
            await here.until(lambda: len(here.mails) == 3)
            assert b"multipart/mixed" in here.mails[-1].content

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "template"),
        ({"template": "hello", "raw": "YQ=="}, "raw"),
        ({"template": "raw:x"}, "template"),
        ({"raw": "YQ=="}, "raw"),
        ({"raw": base64.b64encode(RAW.replace(b"hello@shop", b"hello@evil")).decode()}, "raw.From"),
        (
            {
                "raw": base64.b64encode(
                    RAW.replace(b"Shop <hello@", b"x@evil.example, <h@")
                ).decode()
            },
            "raw.From",
        ),
        ({"inline": {"subject": "x", "html": "{{ name"}}, "inline.html"),
        (
            {"inline": {"subject": "x", "text": "x", "from_address": "a@evil.example"}},
            "inline.from_address",
        ),
        (
            {
                "template": "hello",
                "attachments": [{"name": "x", "content": "", "type": "a\r\nb/c"}],
            },
            "attachments[0].type",
        ),
    ],
)
def test_content_with_a_mistake(tmp_path: Path, body: dict[str, Any], path: str) -> None:
    """Each mistake names its field, within its item when it is one of a list; nothing is taken."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            item = {"address": "ann@inbox.example", "idempotency_key": "k"} | body
            status, told = await post(here, item)
            assert (status, told["errors"][0]["path"]) == (400, path)
            good = {"address": "bob@inbox.example", "template": "hello", "idempotency_key": "j"}
            status, told = await post(here, [good, item])
            assert (status, told["errors"][0]["path"]) == (400, f"items[1].{path}")
            assert await here.law() == {}

    asyncio.run(run())


def test_a_list_is_answered_item_by_item(tmp_path: Path) -> None:
    """Accepted, repeated, in conflict, refused: each for itself; a key of the header is numbered."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            items = [
                {
                    "address": f"a{n}@inbox.example",
                    "template": "hello",
                    "variables": {"contact": {"first_name": "x"}},
                }
                for n in range(3)
            ]
            status, told = await post(here, items, "batch")
            assert status == 200
            assert [one["status"] for one in told["results"]] == ["accepted"] * 3
            assert (await post(here, items, "batch"))[1]["results"][0]["status"] == "repeated"
            other = [
                items[0],
                items[1] | {"stream": "marketing"},
                items[2] | {"idempotency_key": "n", "template": "none"},
            ]
            told = (await post(here, other, "batch"))[1]
            assert [one["status"] for one in told["results"]] == ["repeated", "conflict", "refused"]
            await here.until(lambda: len(here.mails) == 3)
            assert await here.law() == {"accepted": 3, "delivered": 3}

    asyncio.run(run())


def test_many_recipients_are_told_over_several_units(tmp_path: Path) -> None:
    """A thousand recipients of one item, in partitions near and far: each gets one mail."""

    async def run() -> None:
        async with embedded(config_of(tmp_path)) as here:
            to = [{"address": f"r{n}@inbox.example"} for n in range(1000)]
            body = {"inline": {"subject": "s", "text": "t"}, "to": to, "idempotency_key": "k"}
            status, told = await post(here, body)
            assert (status, len(set(told["message_ids"]))) == (202, 1000)
            await here.until(lambda: len(here.mails) >= 1000)
            assert len({one.recipient for one in here.mails}) == 1000
            assert await here.law() == {"accepted": 1000, "delivered": 1000}

    asyncio.run(run())
