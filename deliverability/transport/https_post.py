"""Posts a document over HTTPS to a URL that a stranger named: to addresses chosen beforehand, no redirects, bounded.

The caller has looked the host up and left out what nobody may make us connect to; the answer's body isn't read.
"""

from __future__ import annotations

__all__ = ("HttpsUrl", "parse_https_url", "post")

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import httptools
import msgspec

from deliverability.compose.addresses import parse_domain
from deliverability.policy.tags import Mistake
from engine.errors import InputError

_ANSWER_OCTETS_MAX = 65_536
_READ = 16_384
_URL_MAX = 2_000


class HttpsUrl(msgspec.Struct, frozen=True):
    """Where to post: host in lower case as A-labels, port, and path with query as they stand in a request."""

    host: str
    port: int
    path: str


class _Status:
    """What httptools tells of a response: whether its header has ended."""

    def __init__(self) -> None:
        self.told = False

    def on_headers_complete(self) -> None:
        """Note that the status is known."""
        self.told = True


def parse_https_url(text: str) -> HttpsUrl | Mistake:
    """Read a URL; names of hosts alone, no user, no fragment, nothing that could end a line of a request."""
    if len(text) > _URL_MAX or not text.isascii() or not text.isprintable() or " " in text:
        return Mistake("it isn't a plain https: URL")
    try:
        found = urlsplit(text)
        port = found.port or 443
        host = parse_domain(found.hostname or "", "url")
    except (ValueError, InputError):
        return Mistake("it has no host that could be one")
    if found.scheme != "https" or found.username is not None or found.password is not None:
        return Mistake("it isn't a plain https: URL")
    if host.rpartition(".")[2].isdigit():
        return Mistake("its host is an address")
    path = f"{found.path or '/'}{'?' if found.query else ''}{found.query}"
    return HttpsUrl(host, port, path)


async def post(
    url: HttpsUrl,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    body: bytes,
    content_type: str,
    *,
    timeout_s: float = 60.0,
) -> int | Mistake:
    """Post once to the first of the addresses that answers. Returns the status; what came in its place is a value.

    A connection that broke behind the request may have delivered it; whoever posts again must be one that may.
    """
    failure = Mistake(f"{url.host} has no address")
    try:
        async with asyncio.timeout(timeout_s):
            for address in addresses:
                try:
                    return await _post(url, address, tls, body, content_type)
                except (OSError, httptools.HttpParserError) as error:
                    failure = Mistake(f"{address}: {error or type(error).__name__}")
    except TimeoutError:
        return Mistake(f"no answer within {timeout_s:g} s")
    return failure


async def _post(
    url: HttpsUrl, address: str, tls: ssl.SSLContext, body: bytes, content_type: str
) -> int | Mistake:
    reader, writer = await asyncio.open_connection(
        address, url.port, ssl=tls, server_hostname=url.host, limit=_READ
    )
    try:
        host = url.host if url.port == 443 else f"{url.host}:{url.port}"
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: veredus\r\nConnection: close\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        reading = _Status()
        parser = httptools.HttpResponseParser(reading)
        received = 0
        while not reading.told:
            data = await reader.read(_READ)
            received += len(data)
            if not data or received > _ANSWER_OCTETS_MAX:
                return Mistake("the answer is no answer of HTTP")
            parser.feed_data(data)
        return parser.get_status_code()
    finally:
        writer.transport.abort()  # nothing is left to be said, and a server can't hold us in closing
