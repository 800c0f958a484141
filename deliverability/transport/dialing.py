"""TCP connections from a source: bound to an address, or through SOCKS5 (RFC 1928) or HAProxy on another machine.

A proxy that answers no, or not at all, is a fault of the source, not of the host: `SourceError` says so.
"""

from __future__ import annotations

__all__ = ("SourceError", "dial", "proxy_header")

import asyncio
import errno
import socket
import ssl
from ipaddress import ip_address

from deliverability.routing.hops import Hop
from deliverability.routing.sources import SourceSpec
from deliverability.smtp.opening import ClientConfig
from deliverability.transport.smtp_client import (
    Connection,
    ConnectionOwner,
    Endpoint,
    Tap,
    Timeouts,
    TlsCheck,
    connect,
)
from engine.errors import TransportError

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
_OF_THE_HOST = (3, 4, 5, 6)  # the proxy did its part


class SourceError(TransportError):
    """The source can't be used: its address isn't here, or its proxy fails."""


async def dial(
    owner: ConnectionOwner,
    source: SourceSpec,
    hop: Hop,
    config: ClientConfig,
    *,
    timeouts: Timeouts,
    context: ssl.SSLContext | None,
    check: TlsCheck | None = None,
    tap: Tap | None = None,
) -> Connection:
    """Open a connection to a hop from a source.

    Raises:
        SourceError: the source can't be used.
        TransportError: the hop can't be reached.
    """
    endpoint = Endpoint(host=hop.address, port=hop.port, source=source.address, tls_name=hop.name)
    sock = None
    if source.proxy != "none":
        sock = await _through_proxy(source, hop, timeouts.connect_ms / 1000)
    try:
        return await connect(
            owner,
            endpoint,
            config,
            timeouts=timeouts,
            context=context,
            sock=sock,
            check=check,
            tap=tap,
        )
    except TransportError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EADDRNOTAVAIL and source.address:
            raise SourceError(
                "connect", f"{source.address} isn't an address here", hop.address
            ) from error
        raise


async def _through_proxy(source: SourceSpec, hop: Hop, timeout_s: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    where = f"proxy {source.proxy_host}:{source.proxy_port}"
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(
                source.proxy_host, source.proxy_port, type=socket.SOCK_STREAM
            )
            family, kind, protocol, _, address = found[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            if source.proxy == "haproxy":
                await loop.sock_sendall(sock, proxy_header(source.address, hop.address, hop.port))
            else:
                await _socks(sock, source, hop)
    except TransportError:
        _close(sock)
        raise
    except (OSError, TimeoutError) as error:
        _close(sock)
        reason = f"{where}: {error or 'no answer in time'}"
        raise SourceError("connect", reason, hop.address) from error
    except BaseException:
        _close(sock)
        raise
    return sock


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


def proxy_header(source: str, target: str, port: int) -> bytes:
    """Make the header of the PROXY protocol, version 2: TCP, from the source (any port) to the target."""
    try:
        ours, theirs = ip_address(source), ip_address(target)
    except ValueError as error:  # relays may be named
        raise TransportError("connect", f"HAProxy needs addresses: {error}", target) from error
    if ours.version != theirs.version:
        reason = f"{source} can't reach {target}: one is IPv4, the other IPv6"
        raise TransportError("connect", reason, target)
    family = 0x11 if ours.version == 4 else 0x21
    addresses = ours.packed + theirs.packed + (0).to_bytes(2) + port.to_bytes(2)
    return _SIGNATURE + bytes((0x21, family)) + len(addresses).to_bytes(2) + addresses


async def _socks(sock: socket.socket, source: SourceSpec, hop: Hop) -> None:
    """CONNECT through SOCKS5. RFC 1928 §3 to §6; user name and password: RFC 1929."""
    loop = asyncio.get_running_loop()

    def failed(reason: str) -> SourceError:
        where = f"proxy {source.proxy_host}:{source.proxy_port}"
        return SourceError("connect", f"{where}: {reason}", hop.address)

    async def read(number: int) -> bytes:
        got = b""
        while len(got) < number:
            piece = await loop.sock_recv(sock, number - len(got))
            if not piece:
                raise failed("closed the connection")
            got += piece
        return got

    methods = b"\x00\x02" if source.username else b"\x00"
    await loop.sock_sendall(sock, bytes((5, len(methods))) + methods)
    version, method = await read(2)
    if version != 5 or method not in methods:
        raise failed("isn't SOCKS5, or wants another authentication")
    if method == 2:
        user, password = source.username.encode(), source.password.encode()
        told = bytes((1, len(user))) + user + bytes((len(password),)) + password
        await loop.sock_sendall(sock, told)
        if (await read(2))[1] != 0:
            raise failed("refuses user name or password")
    request = b"\x05\x01\x00" + _socks_address(hop.address) + hop.port.to_bytes(2)
    await loop.sock_sendall(sock, request)
    _, reply, _, bound = await read(4)
    if reply in _OF_THE_HOST:
        raise TransportError("connect", f"{_SOCKS_REPLIES[reply]} (told by the proxy)", hop.address)
    if reply:
        raise failed(_SOCKS_REPLIES.get(reply, f"reply {reply}"))
    length = {1: 4, 4: 16}.get(bound)
    await read((length if length is not None else (await read(1))[0]) + 2)


def _socks_address(host: str) -> bytes:
    """An address, or a name that the proxy resolves. RFC 1928 §5."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes((3, len(name))) + name
    return bytes((1 if address.version == 4 else 4,)) + address.packed
