"""Sources on other machines: SOCKS5 (RFC 1928, 1929) and the PROXY protocol, each by a proxy of our own on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from deliverability.transport.dialing import proxy_header
from tests.integration.mail_world import World, free_port, live_world
from tests.integration.test_live_routes import ZONE

Talk = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, tuple[str, int] | None]
]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


class Proxy:
    """Learns from `talk` where to, then passes octets on."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.targets: list[tuple[str, int]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await self._talk(reader, writer)
        if target is None:
            writer.close()
            return
        self.targets.append(target)
        there = await asyncio.open_connection(*target)
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))


async def _socks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, int] | None:
    version, number = await reader.readexactly(2)
    assert version == 5
    assert 2 in await reader.readexactly(number)
    writer.write(b"\x05\x02")
    assert await reader.readexactly(2) == b"\x01\x04"
    user = await reader.readexactly(4)
    password = await reader.readexactly((await reader.readexactly(1))[0])
    if (user, password) != (b"user", b"secret"):
        writer.write(b"\x01\x01")
        return None
    writer.write(b"\x01\x00")
    assert await reader.readexactly(4) == b"\x05\x01\x00\x01"
    address = socket.inet_ntoa(await reader.readexactly(4))
    port = int.from_bytes(await reader.readexactly(2))
    writer.write(b"\x05\x00\x00\x01" + bytes(6))
    return address, port


async def _haproxy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, int] | None:
    head = await reader.readexactly(16)
    assert head[:12] == b"\r\n\r\n\x00\r\nQUIT\n"
    assert head[12:14] == b"\x21\x11"
    body = await reader.readexactly(int.from_bytes(head[14:16]))
    assert socket.inet_ntoa(body[:4]) == "192.0.2.50"
    return socket.inet_ntoa(body[4:8]), int.from_bytes(body[10:12])


_SOURCE = """
[[source]]
name = "far"
ehlo_name = "far.shop.example"
proxy_host = "127.0.0.1"
proxy_port = {port}
{more}
"""


def _run(talk: Talk, folder: Path, more: str, main: Callable[[World, Proxy], Any]) -> None:
    async def run() -> None:
        proxy = Proxy(talk)
        port = free_port(["127.0.0.1"])
        server = await asyncio.start_server(proxy, "127.0.0.1", port)
        source = _SOURCE.format(port=port, more=more)
        async with live_world(folder, ZONE, {11: None, 12: None}, more=source) as world:
            await main(world, proxy)
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def _arrives(world: World, proxy: Proxy) -> None:
    got = await world.office.send("x@a.test")
    assert got["x@a.test"].kind == "delivered"
    assert proxy.targets == [("127.0.0.11", world.port)]
    assert [peer.helo_name for peer in world.hosts[11].peers] == ["far.shop.example"]


async def _refused(world: World, proxy: Proxy) -> None:
    got = await world.office.send("x@a.test")
    assert got["x@a.test"].kind == "deferred"
    assert not world.hosts[11].taken
    assert not world.hosts[12].taken, (
        "a source that fails is no reason to use the machine's own address"
    )


def _password(folder: Path, text: str) -> str:
    file = folder / "password"
    file.write_text(f"{text}\n")
    return f'proxy = "socks5"\nproxy_username = "user"\nproxy_password_file = "{file}"'


def test_mail_goes_through_socks5(tmp_path: Path) -> None:
    """With user name and password."""
    _run(_socks, tmp_path, _password(tmp_path, "secret"), _arrives)


def test_a_proxy_that_refuses_holds_the_mail(tmp_path: Path) -> None:
    """The source is at fault, not the host."""
    _run(_socks, tmp_path, _password(tmp_path, "wrong"), _refused)


def test_mail_goes_through_haproxy(tmp_path: Path) -> None:
    """Which is told the wanted source and the target."""
    _run(_haproxy, tmp_path, 'proxy = "haproxy"\naddress = "192.0.2.50"', _arrives)


def test_the_header_of_version_2() -> None:
    """Octet by octet, IPv6."""
    header = proxy_header("2001:db8::1", "2001:db8::2", 25)
    assert header[12:16] == b"\x21\x21\x00\x24"
    assert header[16:32] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert header[-2:] == b"\x00\x19"
