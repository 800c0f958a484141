"""Fetches MTA-STS policies over HTTPS: certificate verified, no redirects, bounded in size and time. RFC 8461 §3.3."""

from __future__ import annotations

__all__ = ("fetch_policy",)

import asyncio
import ssl
from collections.abc import Sequence

import httptools

from deliverability.policy.mta_sts import POLICY_OCTETS_MAX, StsPolicy, parse_policy, policy_url
from deliverability.policy.tags import Mistake

_HEADER_OCTETS_MAX = 65_536
_READ = 16_384


class _Reading:
    """What httptools tells of a response."""

    def __init__(self) -> None:
        self.content_type = ""
        self.body = bytearray()
        self.framed = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the type of the content, and whether it says where it ends."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.framed = True
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1").partition(";")[0].strip().lower()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True


async def fetch_policy(
    domain: str,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    *,
    port: int = 443,
    timeout_s: float = 60.0,
) -> StsPolicy | Mistake:
    """Fetch and read the policy of a domain from the addresses of `mta-sts.DOMAIN`, one after the other.

    `tls` verifies certificates; the name in it must be that host's. Every failure is a value, for the report.
    `timeout_s` (§3.3 suggests a minute) holds for all addresses together.
    """
    assert tls.verify_mode is ssl.CERT_REQUIRED, (
        "a policy from an unverified server is worth nothing"
    )
    failure = Mistake(f"mta-sts.{domain} has no address")
    try:
        async with asyncio.timeout(timeout_s):
            for address in addresses:
                try:
                    return await _fetch(domain, address, port, tls)
                except (OSError, httptools.HttpParserError) as error:
                    failure = Mistake(f"{address}: {error or type(error).__name__}")
    except TimeoutError:
        return Mistake(f"no answer within {timeout_s:g} s")
    return failure


async def _fetch(domain: str, address: str, port: int, tls: ssl.SSLContext) -> StsPolicy | Mistake:
    host = f"mta-sts.{domain}"
    reader, writer = await asyncio.open_connection(
        address, port, ssl=tls, server_hostname=host, limit=_READ
    )
    try:
        path = policy_url(domain).removeprefix(f"https://{host}")
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: veredus\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        reading = _Reading()
        parser = httptools.HttpResponseParser(reading)
        received = 0
        while not reading.complete:
            data = await reader.read(_READ)
            if not data:
                break  # a body without a length ends with the connection
            received += len(data)
            if received > _HEADER_OCTETS_MAX + POLICY_OCTETS_MAX:
                return Mistake("the answer is too long")
            parser.feed_data(data)
        return _read(parser, reading)
    finally:
        writer.transport.abort()  # nothing is left to be said, and a server can't hold us in closing


def _read(parser: httptools.HttpResponseParser, reading: _Reading) -> StsPolicy | Mistake:
    try:
        status = parser.get_status_code()
    except httptools.HttpParserError:
        status = 0
    if status != 200:
        return Mistake(f"the server answered {status or 'nothing'}, 200 is expected (no redirects)")
    if reading.framed and not reading.complete:
        return Mistake("the answer ended early")
    if reading.content_type != "text/plain":
        return Mistake(f"the content is {reading.content_type[:60]!r}, text/plain is expected")
    return parse_policy(bytes(reading.body))
