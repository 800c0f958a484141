"""The gateway on real sockets: beginning and end, TLS, the local socket, hostile connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from actors.gateway.protocol import HEAD_BYTES_MAX
from actors.gateway.server import Gateway
from actors.local_socket import connect
from engine.errors import ConfigError, RefusedError
from tests.actors.gateway.asking import EVENT, Stalling
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for, served
from tests.certificates import self_signed

FREE_PORT = "http.port = 0\n"


def run(gateway: Gateway, what: Callable[[Gateway], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), served(gateway):
            await what(gateway)

    asyncio.run(main())


def raised(gateway: Gateway) -> BaseException:
    """Serve, and give what that raised."""

    async def main() -> None:
        async with asyncio.timeout(20):
            stop = asyncio.Event()
            stop.set()
            await gateway.serve(asyncio.Event(), stop)

    with pytest.raises((ConfigError, RefusedError)) as caught:
        asyncio.run(main())
    return caught.value


async def ask_socket(path: Path, request: bytes) -> bytes:
    """Ask over the local socket, and read to the end."""
    connection = connect(path, None)
    connection.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_it_answers_on_both_ways(tmp_path: Path) -> None:
    """Network and local socket lead to the same instance; the socket is its owner's alone and goes at the end."""

    async def asked(gateway: Gateway) -> None:
        host, port = gateway.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert (await client.post("/v1/events", json=EVENT)).status_code == 200
            assert "server" not in (await client.get("/healthz")).headers
        mode = gateway.socket_path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        request = b"GET /v1/contacts/c1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert b'"order.placed":1' in await ask_socket(gateway.socket_path, request)

    gateway = gateway_for(FREE_PORT, MemoryBackend(), tmp_path / "data")
    run(gateway, asked)
    assert not gateway.socket_path.exists()


def test_a_long_data_directory_has_a_socket_too(tmp_path: Path) -> None:
    """A path longer than a socket address can be is no obstacle."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)

    async def asked(gateway: Gateway) -> None:
        answer = await ask_socket(
            gateway.socket_path, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        assert answer.endswith(b"ok\n")

    run(gateway_for(FREE_PORT, MemoryBackend(), folder), asked)


def test_a_second_instance_is_refused_and_a_dead_one_replaced(tmp_path: Path) -> None:
    """Somebody who answers on the socket isn't replaced; a socket file that nobody answers on is."""

    async def asked(gateway: Gateway) -> None:
        second = gateway_for(FREE_PORT, MemoryBackend(), tmp_path)
        with pytest.raises(
            RefusedError, match=f"another instance runs here, process {os.getpid()}"
        ):
            await second.serve(asyncio.Event(), asyncio.Event())

    run(gateway_for(FREE_PORT, MemoryBackend(), tmp_path), asked)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(tmp_path / "veredus.sock"))

    async def nothing(gateway: Gateway) -> None:
        assert gateway.address[1]

    run(gateway_for(FREE_PORT, MemoryBackend(), tmp_path), nothing)


def test_what_can_not_be_used_is_named(tmp_path: Path) -> None:
    """A port that is taken, an address that isn't ours, a certificate that isn't one: one line each."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        error = raised(gateway_for(f"http.port = {port}", MemoryBackend(), tmp_path))
        assert f"can't listen on 127.0.0.1:{port}: Address already in use" in str(error)
    (tmp_path / "bad.pem").write_text("nonsense")
    for name, reason in (
        ("bad.pem", "certificate or key can't be used"),
        ("none.pem", "No such file"),
    ):
        text = (
            f'http.tls_cert_file = "{tmp_path / name}"\nhttp.tls_key_file = "{tmp_path / name}"\n'
        )
        assert reason in str(raised(gateway_for(FREE_PORT + text, MemoryBackend(), tmp_path)))


def test_tls_by_certificate_files(tmp_path: Path) -> None:
    """With certificate and key the network speaks TLS 1.2 or later; the local socket stays plain."""
    pem = self_signed(tmp_path, "localhost")
    text = f'http.tls_cert_file = "{pem}"\nhttp.tls_key_file = "{pem}"\n'

    async def asked(gateway: Gateway) -> None:
        trust = ssl.create_default_context(cafile=str(pem))
        url = f"https://localhost:{gateway.address[1]}"
        async with httpx.AsyncClient(base_url=url, verify=trust) as client:
            assert (await client.post("/v1/events", json=[EVENT])).status_code == 200
        answer = await ask_socket(
            gateway.socket_path, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        assert answer.endswith(b"ok\n")

    run(gateway_for(FREE_PORT + text, MemoryBackend(), tmp_path / "data"), asked)


def test_requests_under_way_are_finished_at_the_end(tmp_path: Path) -> None:
    """After `stop` a request that was taken gets its answer before the gateway returns."""

    async def main() -> None:
        backend = Stalling()
        gateway = gateway_for(FREE_PORT, backend, tmp_path)
        ready, stop = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            serving = group.create_task(gateway.serve(ready, stop))
            await ready.wait()
            host, port = gateway.address
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
                request = group.create_task(client.post("/v1/events", json=EVENT))
                await backend.entered.wait()
                stop.set()
                assert not serving.done()
                backend.go.set()
                assert (await request).status_code == 200
            await serving

    asyncio.run(main())


@pytest.mark.parametrize(
    "poison",
    [
        b"GET / HTTP/1.1\r\nx: " + b"a" * (2 * HEAD_BYTES_MAX),
        b"GET /" + b"a" * (2 * HEAD_BYTES_MAX),
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * HEAD_BYTES_MAX,
        b"\x16\x03\x01\x02\x00nonsense\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    ],
    ids=["header", "path", "headers", "tls", "negative", "huge"],
)
def test_hostile_heads_end_the_connection(tmp_path: Path, poison: bytes) -> None:
    """A head without end, or none at all, ends its connection; the next one is served."""

    async def asked(gateway: Gateway) -> None:
        host, port = gateway.address
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(poison), 16_384):
                writer.write(poison[start : start + 16_384])
                await writer.drain()
            answer = await reader.read()
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert (await client.get("/healthz")).status_code == 200

    run(gateway_for(FREE_PORT, MemoryBackend(), tmp_path), asked)


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """After `body_timeout_s` the request is answered with 408, and nothing is held any more."""

    async def asked(gateway: Gateway) -> None:
        host, port = gateway.address
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert "veredus_http_in_flight_bytes 0.0" in (await client.get("/metrics")).text

    run(gateway_for(FREE_PORT + "http.body_timeout_s = 1", MemoryBackend(), tmp_path), asked)


def test_a_body_in_many_pieces_is_no_head(tmp_path: Path) -> None:
    """Large bodies, one after the other on one connection, are bounded as bodies, not as heads."""
    body = b'{"contact": "c", "attributes": {"x": "' + b"x" * (4 * HEAD_BYTES_MAX) + b'"}}'

    async def asked(gateway: Gateway) -> None:
        host, port = gateway.address
        reader, writer = await asyncio.open_connection(host, port)
        for last in (False, False, True):
            close = b"connection: close\r\n" if last else b""
            writer.write(
                b"PUT /v1/contacts HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\n" + close
            )
            writer.write(b"content-length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), 50_000):
                writer.write(body[start : start + 50_000])
                await writer.drain()
        answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200 OK") == 3
        writer.close()
        await writer.wait_closed()

    run(gateway_for(FREE_PORT, MemoryBackend(), tmp_path), asked)


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Two requests in one write get two answers."""

    async def asked(gateway: Gateway) -> None:
        host, port = gateway.address
        reader, writer = await asyncio.open_connection(host, port)
        one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
        last = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        writer.write(one + last)
        answer = await reader.read()
        assert answer.index(b"ok\n") < answer.index(b'"ready":true')
        writer.close()
        await writer.wait_closed()

    run(gateway_for(FREE_PORT, MemoryBackend(), tmp_path), asked)
