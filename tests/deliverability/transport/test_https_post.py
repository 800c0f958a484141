"""Posting to a TLS server of our own: what it is sent, its status, redirects, silence, nonsense."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from deliverability.policy.tags import Mistake
from deliverability.transport.https_post import HttpsUrl, parse_https_url, post
from tests.certificates import self_signed

BODY = b"\x1f\x8breport"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key that nobody vouches for."""
    return self_signed(tmp_path_factory.mktemp("tls"), "else.example")


def posted(
    certificate: Path, answer: bytes | None, *, verify: bool = False
) -> tuple[int | Mistake, list[bytes]]:
    """Serve one answer (None: silence) and post to it."""

    async def run() -> tuple[int | Mistake, list[bytes]]:
        heard: list[bytes] = []
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head + await reader.readexactly(len(BODY)))
            if answer is None:
                await ended.wait()
            else:
                writer.write(answer)
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        tls = ssl.create_default_context()
        if not verify:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        url = HttpsUrl("tls.example", server.sockets[0].getsockname()[1], "/report?x=1")
        try:
            timeout_s = 0.2 if answer is None else 10.0
            told = await post(url, ["127.0.0.1"], tls, BODY, "a/b", timeout_s=timeout_s)
        finally:
            ended.set()
            server.close()
        return told, heard

    return asyncio.run(run())


def test_a_report_is_posted_whole_and_its_status_told(certificate: Path) -> None:
    """One request, with type and length; the answer's body is nobody's business."""
    status, (heard,) = posted(certificate, b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\nx")
    assert status == 201
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /report?x=1 HTTP/1.1\r\nHost: tls.example:")
    assert b"Content-Type: a/b\r\n" in head + b"\r\n"
    assert body == BODY


def test_a_redirect_is_not_followed(certificate: Path) -> None:
    """Its status is the answer."""
    status, heard = posted(certificate, b"HTTP/1.1 302 Found\r\nLocation: https://other/\r\n\r\n")
    assert (status, len(heard)) == (302, 1)


@pytest.mark.parametrize(
    "answer", [None, b"", b"220 mx ESMTP\r\n", b"HTTP/1.1 200" + b"a" * 99_999]
)
def test_what_is_no_answer_is_a_value(certificate: Path, answer: bytes | None) -> None:
    """Silence, an early end, another protocol, an endless line."""
    assert isinstance(posted(certificate, answer)[0], Mistake)


def test_a_context_that_verifies_refuses_a_stranger(certificate: Path) -> None:
    """Nothing is posted then."""
    told, heard = posted(certificate, b"HTTP/1.1 200 OK\r\n\r\n", verify=True)
    assert isinstance(told, Mistake)
    assert heard == []


def test_urls_are_read_or_refused_whole() -> None:
    """Names of hosts alone; nothing that could end a line of a request."""
    assert parse_https_url("https://B.example:8443/r?a=1#f") == HttpsUrl(
        "b.example", 8443, "/r?a=1"
    )
    assert parse_https_url("https://b.example") == HttpsUrl("b.example", 443, "/")
    for text in (
        "http://b.example/",
        "https:///x",
        "https://a@b.example/",
        "https://b.example:99999/",
        "https://[::1]/",
        "https://127.0.0.1/",
        "https://b.example/a b",
        "https://b.example/\r\nX: y",
        "https://b.example/ż",
        "https://b.example/" + "a" * 2_000,
    ):
        assert isinstance(parse_https_url(text), Mistake), text
