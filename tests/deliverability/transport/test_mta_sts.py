"""Fetching policies from a TLS server of our own: good ones, redirects, wrong names, sizes, silence."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from deliverability.policy.mta_sts import Mode, StsPolicy
from deliverability.policy.tags import Mistake
from deliverability.transport.mta_sts import fetch_policy
from tests.certificates import self_signed

POLICY = b"version: STSv1\nmode: enforce\nmx: mx.shop.example\nmax_age: 86400\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for mta-sts.shop.example, which signs itself."""
    return self_signed(tmp_path_factory.mktemp("tls"), "mta-sts.shop.example")


def fetch(
    certificate: Path, answer: bytes | None, domain: str = "shop.example", trusted: bool = True
) -> StsPolicy | Mistake:
    """Serve one answer (None: silence) and fetch it."""

    async def run() -> StsPolicy | Mistake:
        asked: list[bytes] = []
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is None:
                await ended.wait()
            else:
                writer.write(answer)
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        tls = ssl.create_default_context()
        if trusted:
            tls.load_verify_locations(certificate)
        try:
            timeout_s = 0.2 if answer is None else 10.0
            result = await fetch_policy(domain, ["127.0.0.1"], tls, port=port, timeout_s=timeout_s)
        finally:
            ended.set()
            server.close()
        if asked:
            assert asked[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.")
        return result

    return asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: %d\r\n\r\n" % len(POLICY) + POLICY,
        OK + b"Connection: close\r\n\r\n" + POLICY,
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(POLICY) + POLICY + b"\r\n0\r\n\r\n",
    ],
    ids=["length", "until the end", "chunked"],
)
def test_policies_are_fetched(certificate: Path, answer: bytes) -> None:
    """However the body is framed."""
    assert fetch(certificate, answer) == StsPolicy(Mode.ENFORCE, ("mx.shop.example",), 86_400)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://x.example/\r\nContent-Length: 0\r\n\r\n", "301"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "404"),
        (OK.replace(b"text/plain", b"text/html") + b"Content-Length: 0\r\n\r\n", "text/html"),
        (OK + b"Content-Length: 3\r\n\r\nabc", "line 1"),
        (OK + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000, "too long"),
        (b"SMTP ready\r\n\r\n", "127.0.0.1"),
        (OK + b"Content-Length: %d\r\n\r\n" % (len(POLICY) + 9) + POLICY, "ended early"),
        (b"", "nothing"),
        (None, "no answer within 0.2 s"),
    ],
)
def test_failures_are_told(certificate: Path, answer: bytes | None, why: str) -> None:
    """Redirects aren't followed; types, sizes and time are bounded."""
    result = fetch(certificate, answer)
    assert isinstance(result, Mistake)
    assert why in result.why


@pytest.mark.parametrize("change", ["name", "trust"])
def test_the_certificate_must_be_right(certificate: Path, change: str) -> None:
    """Another name, or nobody we trust: no policy."""
    good = OK + b"Content-Length: %d\r\n\r\n" % len(POLICY) + POLICY
    change_to: dict[str, Callable[[], StsPolicy | Mistake]] = {
        "name": lambda: fetch(certificate, good, domain="other.example"),
        "trust": lambda: fetch(certificate, good, trusted=False),
    }
    result = change_to[change]()
    assert isinstance(result, Mistake)
    assert "certificate" in result.why.lower()


def test_a_host_without_addresses_has_no_policy() -> None:
    """Nothing to connect to is a failure like others."""
    result = asyncio.run(fetch_policy("shop.example", [], ssl.create_default_context()))
    assert isinstance(result, Mistake)
